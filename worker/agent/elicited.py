"""What a tool asks before it goes on with a call, as MCP servers may: put to a person, each question a step `ask:…`."""

import json
from typing import Any
from urllib.parse import urlsplit

from pydantic import ValidationError

from models.repositories.approvals import INPUT
from models.tasks import Waiting
from worker.approvals import Decision, Request
from worker.context import RunContext
from worker.errors import Parked
from worker.tools.ask_human import AskArguments
from worker.tools.base import Answers, ToolError
from worker.tools.chain import RESULT_MAX

#: How often one call may ask before it is given up, and how much at once.
ROUNDS_MAX = 5
QUESTIONS_MAX = 10
#: The kind of a recorded result that is a question.
ASKED = "asked"
#: A visited address is answered with nothing.
NOTHING = {"type": "object", "additionalProperties": False}


class NotAskable(ToolError):
    """The tool asks for something that no person can be asked."""

    code = "mcp_input_required"


def recorded(tool: str, requests: dict[str, Any], state: str | None) -> dict[str, Any]:
    """Return what is recorded of a call that ended with questions."""
    asked = {"kind": ASKED, "requests": requests, "state": state}
    if len(requests) > QUESTIONS_MAX or len(json.dumps(asked)) > RESULT_MAX:
        most = f"more than {QUESTIONS_MAX} questions, or {RESULT_MAX} characters, at once"
        return NotAskable(f"{tool} asks {most}").as_result().as_json()
    return asked


async def answers(ctx: RunContext, key: str, tool: str, asked: dict[str, Any], expires_s: float) -> Answers:
    """Return a person's answers to all that was asked, to be given with the same call.

    Args:
        ctx: the run.
        key: the step of the call that ended with the questions.
        tool: its name, shown to the person.
        asked: what that step recorded.
        expires_s: seconds until a question counts as not answered.

    Raises:
        Parked: nobody has answered all of them yet; all are open.
        NotAskable: something else than a form or an address is asked for.
    """
    names = sorted(asked["requests"])
    requests = {name: _request(tool, asked["requests"][name], expires_s) for name in names}
    said: dict[str, Any] = {}
    open_: list[Parked] = []
    for place, name in enumerate(names, 1):
        try:
            said[name] = _response(requests[name], await ctx.approval(f"ask:{key}:{place}", requests[name]))
        except Parked as parked:
            if parked.reason is not Waiting.INPUT:
                raise
            open_.append(parked)
    if open_:
        raise min(open_, key=lambda parked: parked.until.timestamp() if parked.until else 0.0)
    return Answers(said, asked["state"])


def _request(tool: str, asked: dict[str, Any], expires_s: float) -> Request:
    params = asked.get("params") or {}
    if asked.get("method") != "elicitation/create":
        raise NotAskable(f"{tool} asks for {asked.get('method')}, which nobody here can give")
    try:
        shown, schema = _visit(params) if params.get("mode") == "url" else _form(params)
    except (ValueError, ValidationError) as error:
        raise NotAskable(f"{tool} asks a person in a way nobody can answer: {str(error)[:500]}") from None
    title = " ".join(f"{tool} asks: {params['message']}".split())[:200]
    return Request(title, shown, tool, schema, expires_s, kind=INPUT)


def _form(params: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    # No field that was not asked for: the protocol has no place for it.
    schema = {"additionalProperties": False, **(params.get("requestedSchema") or {})}
    args = AskArguments(question=params.get("message") or "", answer_schema=schema)
    return {"question": args.question, "answer_schema": schema}, schema


def _visit(params: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    args = AskArguments(question=params.get("message") or "")
    url = str(params.get("url"))
    if urlsplit(url).scheme not in ("http", "https"):
        raise ValueError("it names no web address to open")
    return {"question": args.question, "open": url}, NOTHING


def _response(request: Request, said: Decision) -> dict[str, Any]:
    if said.verdict == "answer":
        return {"action": "accept"} | ({} if request.schema is NOTHING else {"content": said.args})
    return {"action": "cancel" if said.by == "expiry" else "decline"}
