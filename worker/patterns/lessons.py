"""What a run teaches: the calls that led to its end, how work was divided, what failed, and how that was put right.

The same run always teaches the same. No model is asked, and nothing of what was asked or answered is kept: names of
tools and arguments, roles of values, codes of errors, and those words of the request that the tools' own descriptions
have, too.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from models.patterns import PatternKind
from models.repositories.lessons import RunTold
from models.repositories.patterns import NewPattern
from worker.patterns.definitions import Definition, toolset_hash, words
from worker.patterns.roles import Answers, answers_of, arguments_of, flat
from worker.patterns.trace import Call, Ended
from worker.tools.spawn_task import PREFIX, SPAWN_TASK

#: Longer sequences say how one run went, not how such runs go.
STEPS_MAX = 20
CONCEPTS_MAX = 8
NAMED_MAX = 4
#: Calls between a failed one and its repetition that can be its cure.
BETWEEN_MAX = 5
#: Parts of a task's input that say what it is about.
SAID = ("prompt", "instructions", "mode")
#: Words that say nothing of what a text is about.
_COMMON_TEXT = """
about after again all also and any are because been before being both but can could did does each else for from
get give given gives had has have her here him his how into its just like made make many may more most must not
now off one only other our out over own per put same say says see she should some such than that the their them
then there these they this those through too under until use used very was way were what when where which while
who why will with within without would yes yet you your
"""
_COMMON = frozenset(words([_COMMON_TEXT]))
_ENDING = re.compile(
    r"\.(csv|tsv|json|xml|yaml|toml|txt|md|pdf|html|py|js|ts|go|rs|java|sql|xlsx|docx|png|jpg)$", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Taught:
    """What one run taught, and what it was about."""

    patterns: tuple[NewPattern, ...]
    concepts: tuple[str, ...]
    agent: str


def agent_of(run: RunTold) -> str:
    """Return the agent a run's patterns belong to: empty without a name, `workflow:name` for other workflows."""
    if run.workflow != "agent":
        return f"workflow:{run.workflow}"
    named = run.input.get("agent") if isinstance(run.input, dict) else None
    return named if isinstance(named, str) else ""


def taught_by(run: RunTold, calls: Sequence[Call], tools: Mapping[str, Definition], succeeded: bool) -> Taught:
    """Return the lessons of a run.

    Args:
        run: the run.
        calls: what its agent called; tools it did not have are left out, for their names may be anybody's words.
        tools: those it had.
        succeeded: whether what it did led anywhere; otherwise only its failures teach.
    """
    known = [call for call in calls if call.tool in tools]
    given = _given(run)
    answers = answers_of(known)
    steps = [_step(call, given, answers[:at], tools) for at, call in enumerate(known)]
    concepts = concepts_of(run, tools)
    writer = _Writer(agent_of(run), _situation(run, concepts), tools)
    found = [*_whole(known, steps, writer)] if succeeded else []
    found += _failures(known, steps, writer)
    return Taught(tuple({each.digest: each for each in found}.values()), tuple(concepts), writer.agent)


def _given(run: RunTold) -> str:
    """Return what the task was given, the request first: a large file must not push it out of what is looked at."""
    if not isinstance(run.input, dict):
        return flat(run.input)
    first = [run.input[name] for name in SAID if name in run.input]
    return flat([first, {name: value for name, value in run.input.items() if name not in SAID}])


def concepts_of(run: RunTold, tools: Mapping[str, Definition]) -> list[str]:
    """Return the words of a request that are also words of the tools: what it is about, in words that are no secret."""
    given = run.input if isinstance(run.input, dict) else {}
    vocabulary = frozenset().union(*(tool.words for tool in tools.values()))
    said = words(given[name] for name in SAID if isinstance(given.get(name), str))
    return [word for word in said if word in vocabulary and word not in _COMMON][:CONCEPTS_MAX]


def _situation(run: RunTold, concepts: Sequence[str]) -> str:
    files = run.input.get("files") if isinstance(run.input, dict) else None
    listed = [each for each in files if isinstance(each, dict)] if isinstance(files, list) else []
    names = [str(each.get("name") or each.get("path") or "") for each in listed]
    kinds = sorted({found[1].lower() for name in names if (found := _ENDING.search(name))})
    about = f"a task about {', '.join(concepts)}" if concepts else "a task"
    return about + (f", with files of the kinds {', '.join(kinds)}" if kinds else "")


@dataclass(frozen=True, slots=True)
class _Writer:
    agent: str
    situation: str
    tools: Mapping[str, Definition]

    def pattern(self, kind: PatternKind, title: str, steps: Sequence[Mapping[str, Any]]) -> NewPattern:
        hashes = {step["tool"]: self.tools[step["tool"]].hash for step in steps}
        essence = json.dumps([kind, self.agent, steps, hashes], sort_keys=True)
        digest = hashlib.sha256(essence.encode()).hexdigest()
        return NewPattern(kind, title[:200], self.situation, steps, hashes, self.agent, toolset_hash(hashes), digest)


def _step(call: Call, given: str, before: Answers, tools: Mapping[str, Definition]) -> dict[str, Any]:
    return {"tool": call.tool, "arguments": arguments_of(call, given, before, tools[call.tool])}


def _whole(calls: Sequence[Call], steps: Sequence[dict[str, Any]], writer: _Writer) -> list[NewPattern]:
    """Return what the whole run was: its calls that went well, in order, the same one after another as one."""
    went_well = [step for call, step in zip(calls, steps, strict=True) if call.ended is Ended.OK]
    each = [step for at, step in enumerate(went_well) if at == 0 or step != went_well[at - 1]]
    if not each or len(each) > STEPS_MAX:
        return []
    handed = sorted({step["tool"] for step in each if _hands_over(step["tool"])})
    if handed:
        return [writer.pattern(PatternKind.STRATEGY, f"Hand work to {_named(handed)}", each)]
    return [writer.pattern(PatternKind.WORKFLOW, _named([step["tool"] for step in each], ", then "), each)]


def _failures(calls: Sequence[Call], steps: Sequence[dict[str, Any]], writer: _Writer) -> list[NewPattern]:
    found = []
    for at, call in enumerate(calls):
        if call.ended is not Ended.FAILED:
            continue
        failed = {**steps[at], "error": call.error}
        again = next((n for n in range(at + 1, len(calls)) if calls[n].tool == call.tool and _settled(calls[n])), None)
        if again is None:
            title = f"{call.tool} fails with {call.error}"
            found.append(writer.pattern(PatternKind.PITFALL, title, [failed]))
        elif calls[again].ended is Ended.OK:
            found += _fixed(call, calls[at + 1 : again + 1], [failed, *steps[at + 1 : again + 1]], writer)
    return found


def _fixed(failed: Call, since: Sequence[Call], steps: Sequence[dict[str, Any]], writer: _Writer) -> list[NewPattern]:
    """Return how a failed call was put right: by other arguments, or by what was done before the same was tried again.

    Args:
        failed: the call.
        since: the calls after it, up to the one of its tool that went well.
        steps: of it and those.
        writer: makes the pattern.
    """
    title = f"When {failed.tool} fails with {failed.error}"
    if changed := _changed(failed, since[-1], writer.tools[failed.tool]):
        cure = [steps[0], {**steps[-1], "changed": changed}]
        return [writer.pattern(PatternKind.FIX, f"{title}, change {_named(changed)}", cure)]
    between = [step for call, step in zip(since[:-1], steps[1:-1], strict=True) if call.ended is Ended.OK]
    if not 0 < len(between) <= BETWEEN_MAX:
        return []
    done = _named([step["tool"] for step in between], ", then ")
    return [writer.pattern(PatternKind.FIX, f"{title}, {done}, and try it again", [steps[0], *between, steps[-1]])]


def _settled(call: Call) -> bool:
    return call.ended in (Ended.OK, Ended.FAILED)


def _changed(failed: Call, fixed: Call, tool: Definition) -> list[str]:
    """Return the names of the arguments that differ; none if it was only tried again."""
    one, other = failed.arguments, fixed.arguments
    missing = object()
    return sorted(name for name in tool.arguments if one.get(name, missing) != other.get(name, missing))


def _hands_over(tool: str) -> bool:
    return tool == SPAWN_TASK.name or tool.startswith(PREFIX)


def _named(names: Sequence[str], between: str = ", ") -> str:
    more = len(names) - NAMED_MAX
    return between.join(names[:NAMED_MAX]) + (f" and {more} more" if more > 0 else "")
