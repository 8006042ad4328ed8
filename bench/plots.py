"""`python -m bench.plots`: draw docs/plots/*.svg from the figures in .umbel/bench.

Drawing is left to matplotlib, which is installed with the peers: nothing else of Umbel needs it.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import click

from bench.peers import venv

ROOT = Path(__file__).resolve().parent.parent
FIGURES, PLOTS = ROOT / ".umbel" / "bench", ROOT / "docs" / "plots"
_PROGRAM = Path(__file__).parent / "peers" / "matplotlib_plots.py"


def draw(figures: Path, plots: Path) -> None:
    """Draw one picture for every benchmark that has figures."""
    plots.mkdir(parents=True, exist_ok=True)
    subprocess.run([str(venv.python()), str(_PROGRAM), str(figures), str(plots)], check=True)


@click.command()
@click.option("--figures", type=click.Path(exists=True, file_okay=False, path_type=Path), default=FIGURES)
@click.option("--plots", type=click.Path(path_type=Path), default=PLOTS, help="Folder for the pictures.")
def main(figures: Path, plots: Path) -> None:
    """Draw docs/plots/*.svg from what `python -m bench` measured."""
    draw(figures, plots)


if __name__ == "__main__":
    main()
