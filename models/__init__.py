"""Rows, and the wire both halves share. The only room that speaks SQL."""
