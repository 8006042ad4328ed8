"""`python -m chaos.mutants NAME module arguments...`: run a program of the product, broken in this process."""

from __future__ import annotations

import runpy
import sys

from chaos import mutants
from chaos.mutants import front

USAGE = f"usage: python -m chaos.mutants {{{','.join(mutants.MUTANTS)}}} module arguments..."


def main() -> None:
    """Break the product, then become `python -m module arguments...`."""
    if len(sys.argv) < 3 or sys.argv[1] not in mutants.MUTANTS:
        sys.exit(USAGE)
    name, sys.argv = sys.argv[1], sys.argv[2:]
    if front.APPLICATION in sys.argv:
        sys.argv[sys.argv.index(front.APPLICATION)] = front.application(name)
    else:
        mutants.apply(name)
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
