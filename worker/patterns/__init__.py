"""Patterns: what finished runs teach the next ones. PostgreSQL is the record; vectors and graph are indexes over it."""
