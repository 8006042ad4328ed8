"""Patterns: what finished runs taught, and where to find it again."""
