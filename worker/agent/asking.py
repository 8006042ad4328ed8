"""The call of `ask_human`: not a step with an effect, but a question that parks the run."""

from typing import Any

from models.repositories.approvals import INPUT
from worker.approvals import Request
from worker.context import RunContext
from worker.tools.ask_human import TEXT, AskArguments


async def ask_person(ctx: RunContext, key: str, args: AskArguments, expires_s: float) -> Any:
    """Return what the model is told: the answer's text, its fields, or why there is none.

    Args:
        ctx: the run.
        key: the call's step.
        args: the question.
        expires_s: seconds until nobody is waited for any more.

    Raises:
        Parked: nobody has answered yet.
    """
    schema = args.answer_schema or TEXT
    shown = {"question": args.question}
    # The schema is part of what is hashed: an answer given to other fields must not fill these.
    asked = shown if args.answer_schema is None else shown | {"answer_schema": args.answer_schema}
    title = " ".join(args.question.split())[:200]
    said = await ctx.approval(key, Request(title, asked, "ask_human", schema, expires_s, kind=INPUT))
    if said.verdict == "answer":
        return said.args if args.answer_schema else said.args["text"]
    if said.by == "expiry":
        return _error("not_answered", "Nobody answered in time. Go on without the answer, or say what is missing.")
    why = f": {said.comment}" if said.comment else ""
    return _error("rejected", f"A person would not answer this{why}")


def _error(code: str, message: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": message}}
