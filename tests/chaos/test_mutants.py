"""A checker that cannot fail would prove nothing: each mutant turns it red, the same scenario unbroken is green."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from chaos import mutants
from chaos.field import Field, open_field
from chaos.mutants.scenarios import SCENARIOS, play, seen
from local.rig import ROOT

pytestmark = pytest.mark.stack
SEED = 20260101


@pytest.fixture(scope="module")
def field() -> Iterator[Field]:
    with open_field(SEED, print) as field:
        yield field


def test_every_mutant_has_its_scenario() -> None:
    assert set(SCENARIOS) == set(mutants.MUTANTS)


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_product_broken_on_purpose_turns_the_checker_red(field: Field, name: str) -> None:
    broken = play(field, name, SEED, mutant=True)
    assert seen(name, broken), f"the checker did not notice {name}, it says: {broken or 'all is well'}"


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_same_scenario_is_green_when_nothing_is_broken(field: Field, name: str) -> None:
    assert play(field, name, SEED, mutant=False) == {}


def test_an_unknown_mutant_is_refused_with_the_names_there_are() -> None:
    command = [sys.executable, "-m", "chaos.mutants", "no-such", "celery", "--version"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "no-fence,no-doubt,no-ring" in done.stderr
