"""The offline provider plays its script, and only that."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic_ai import Agent
from pydantic_ai.messages import ModelResponse, ToolCallPart

from tests.llm.asking import ASK, streamed, whole
from tests.llm.conftest import Make
from worker.llm.errors import ScenarioInvalid
from worker.llm.record import recording

BOTH = pytest.mark.parametrize("ask", ASK.values(), ids=ASK)
TURNS = [
    {"when": {"contains": "weather"}, "call": {"tool": "look_up", "args": {"q": "rain"}}},
    {"when": {"tool_result": "look_up"}, "say": "It rains."},
    {"say": "I have no lines for that."},
]


def written(tmp_path: Path, turns: Any) -> str:
    path = tmp_path / "scenario.json"
    path.write_text(turns if isinstance(turns, str) else json.dumps(turns))
    return str(path)


@BOTH
async def test_it_says_its_lines_and_whose_they_are(gateway_of: Make, tmp_path: Path, ask) -> None:
    model = gateway_of(offline_scenario=written(tmp_path, TURNS)).model("offline:demo")
    with recording() as call:
        response = await ask(model)
    assert (response.parts[0].content, response.provider_name) == ("I have no lines for that.", "offline")
    assert call.cost == {"usd": None, "source": "synthetic", "prices": None}
    assert call.as_json()["model"] == "offline:demo"
    assert set(call.usage.values()) == {0}


async def test_it_speaks_word_by_word(gateway_of: Make, tmp_path: Path) -> None:
    heard: list[str] = []
    await streamed(gateway_of(offline_scenario=written(tmp_path, TURNS)).model("offline:demo"), heard)
    assert [each for each in heard if each] == ["I ", "have ", "no ", "lines ", "for ", "that."]


async def test_an_agent_can_be_played_with_tools(gateway_of: Make, tmp_path: Path) -> None:
    agent = Agent(gateway_of(offline_scenario=written(tmp_path, TURNS)).model("offline:demo"))
    asked = []

    @agent.tool_plain
    def look_up(q: str) -> str:
        asked.append(q)
        return "rain"

    done = await agent.run("what is the weather?")
    assert (done.output, asked) == ("It rains.", ["rain"])
    answers = [each for each in done.all_messages() if isinstance(each, ModelResponse)]
    assert {each.provider_name for each in answers} == {"offline"}
    calls = [part for each in answers for part in each.parts if isinstance(part, ToolCallPart)]
    assert len({call.tool_call_id for call in calls}) == len(calls) == 1


@pytest.mark.parametrize(
    ("turns", "said"),
    [
        ("[{", "not JSON"),
        ([], "malformed"),
        ([{"say": "a", "call": {"tool": "x"}}], "exactly one of say, call"),
        ([{"when": {"contain": "a"}, "say": "b"}], "malformed at 0.when.contain"),
        ([{"when": {"contains": "never said"}, "say": "b"}], "no turn of the offline scenario fits"),
    ],
)
async def test_what_is_wrong_with_a_scenario_is_said(gateway_of: Make, tmp_path: Path, turns: Any, said: str) -> None:
    with pytest.raises(ScenarioInvalid, match=said) as failed:
        await whole(gateway_of(offline_scenario=written(tmp_path, turns)).model("offline:demo"))
    assert not failed.value.retryable


@pytest.mark.parametrize("path", ["", "/nowhere/at/all.json"])
async def test_without_a_file_it_says_nothing(gateway_of: Make, path: str) -> None:
    with pytest.raises(ScenarioInvalid, match=r"UMBEL_OFFLINE_SCENARIO|can't be read"):
        await whole(gateway_of(offline_scenario=path).model("offline:demo"))
