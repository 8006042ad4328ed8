"""The peers, each a small program that runs in the peers' own virtual environment (`python()`)."""
