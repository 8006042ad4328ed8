"""Programs that are sent into a sandbox as text; they use nothing of Umbel.

Each reads what it is to do as JSON from its stdin, and writes what it found to ANSWER: what code prints is its own.
"""
