"""The graph of facts: who used which tool in which run, what a pattern uses and solves, what failed on what."""
