"""Agents are kept by name, and a task takes a copy of the one it names."""

from typing import Any

import pytest
from flask import Flask

from tests.web.conftest import Caller, Client
from worker.workflows.agent.schemas import AgentInput
from worker.workflows.agent.templates import TEMPLATES

pytestmark = pytest.mark.stack

CLERK = {"description": "adds", "instructions": "Add.", "tools": ["calculator"], "limits": {"max_steps": 3}}


def submit(client: Client, **given: Any) -> Any:
    return client.post("/v1/tasks", json={"workflow": "agent", "input": given})


def test_an_agent_is_put_read_listed_and_deleted(client: Client) -> None:
    made = client.put("/v1/agents/clerk", json=CLERK)
    assert (made.status_code, made.json["version"], made.json["description"]) == (200, 1, "adds")
    assert made.json["definition"] == {name: value for name, value in CLERK.items() if name != "description"}
    again = client.put("/v1/agents/clerk", json=CLERK).json
    assert (again["version"], again["updated_at"]) == (1, made.json["updated_at"]), "nothing was changed"
    assert client.put("/v1/agents/clerk", json=CLERK | {"temperature": 0}).json["version"] == 2
    client.put("/v1/agents/abacus", json={})
    first = client.get("/v1/agents?limit=1").json
    assert ([each["name"] for each in first["agents"]], first["next"]) == (["abacus"], "abacus")
    rest = client.get(f"/v1/agents?after={first['next']}").json
    assert ([each["name"] for each in rest["agents"]], rest["next"]) == (["clerk"], None)
    assert client.delete("/v1/agents/clerk").status_code == 204
    assert client.get("/v1/agents/clerk").status_code == client.delete("/v1/agents/clerk").status_code == 404


def test_a_put_on_a_condition_replaces_no_other_version(client: Client) -> None:
    assert client.put("/v1/agents/clerk?version=3", json=CLERK).status_code == 409
    assert client.get("/v1/agents/clerk").status_code == 404
    assert client.put("/v1/agents/clerk?version=0", json=CLERK).status_code == 200
    assert client.put("/v1/agents/clerk?version=0", json={}).status_code == 409
    assert client.put("/v1/agents/clerk?version=1", json={}).json["version"] == 2
    assert client.put("/v1/agents/clerk?version=1", json=CLERK).status_code == 409
    assert client.get("/v1/agents/clerk").json["definition"] == {}


def test_a_wrong_definition_is_refused_by_field(client: Client) -> None:
    for body, field in (
        ({"tools": ["hammer"]}, "tools"),
        ({"approve": ["calculator"]}, ""),
        ({"prompt": "x"}, "prompt"),
        ({"output_schema": {"type": "string"}}, "output_schema"),
        ({"sandbox": {"network": ["127.0.0.1"]}}, "sandbox.network"),
        ({"sandbox": {"network": ["elsewhere.test"]}}, "sandbox.network"),
    ):
        refused = client.put("/v1/agents/clerk", json=body)
        assert refused.status_code == 422, body
        assert field in refused.json["errors"][0]["field"], refused.json
    assert client.put("/v1/agents/No_Name!", json={}).status_code == 404


def test_a_task_takes_a_copy_of_its_agent_and_its_own_fields_win(client: Client) -> None:
    client.put("/v1/agents/clerk", json=CLERK)
    task = submit(client, agent="clerk", prompt="1 + 1", instructions="Add slowly.").json
    client.put("/v1/agents/clerk", json={})
    kept = client.get(f"/v1/tasks/{task['id']}").json["input"]
    assert kept == {
        "agent": "clerk",
        "prompt": "1 + 1",
        "instructions": "Add slowly.",
        "tools": ["calculator"],
        "limits": {"max_steps": 3},
    }


def test_an_unknown_agent_is_refused_naming_those_there_are(client: Client) -> None:
    client.put("/v1/agents/clerk", json=CLERK)
    refused = submit(client, agent="clark", prompt="1 + 1")
    assert refused.status_code == 422
    (error,) = refused.json["errors"]
    assert (error["field"], error["allowed"]) == ("input.agent", ["clerk"])
    assert submit(client, agent=7, prompt="1 + 1").status_code == 422


def test_agents_of_another_account_are_not_there(client: Client, app: Flask, other_account: Caller) -> None:
    client.put("/v1/agents/clerk", json=CLERK)
    stranger = {"headers": other_account.headers}
    assert client.get("/v1/agents/clerk", **stranger).status_code == 404
    assert client.delete("/v1/agents/clerk", **stranger).status_code == 404
    assert client.get("/v1/agents", **stranger).json["agents"] == []
    body = {"workflow": "agent", "input": {"agent": "clerk", "prompt": "x"}}
    assert client.post("/v1/tasks", json=body, **stranger).status_code == 422
    assert client.put("/v1/agents/clerk", json={}, **stranger).status_code == 200
    assert client.get("/v1/agents/clerk").json["definition"]["tools"] == ["calculator"]


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda template: template["name"])
def test_every_template_can_be_put_and_used(client: Client, template: dict[str, Any]) -> None:
    assert template in client.get("/v1/agent-templates").json["templates"]
    body = template["definition"] | {"description": template["description"]}
    assert client.put(f"/v1/agents/{template['name']}", json=body).status_code == 200
    AgentInput.model_validate(template["definition"] | {"prompt": "go"})
