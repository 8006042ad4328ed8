"""What is known for a request, as an agent would be told."""

from typing import Any

from flask_openapi3.models.tag import Tag

from web.asking import retrieved
from web.binding import Api
from web.schemas.common import Problem
from web.schemas.patterns import Retrieve, Retrieved
from worker.patterns.passages.finding import Sought
from worker.patterns.retrieval import Question

api = Api("rag", __name__, url_prefix="/v1", abp_tags=[Tag(name="patterns")])
TOKENS = 4000


@api.post("/rag/retrieve", summary="Look up what is known", responses={200: Retrieved, 422: Problem})
def retrieve(body: Retrieve) -> dict[str, Any]:
    """Nothing is recorded, nobody is held out; what could not be asked is in `degraded`."""
    tools = None if body.tools is None else frozenset(body.tools)
    kinds, errors = frozenset(map(str, body.kinds)), frozenset(body.errors)
    patterns = Question(body.text, tools, body.agent, kinds, errors, body.limit, TOKENS)
    counts = (body.limit if "messages" in body.of else 0, body.limit if "artifacts" in body.of else 0)
    sought = Sought(body.text, *counts, body.agent, tokens=TOKENS) if any(counts) else None
    return retrieved(patterns if "patterns" in body.of else Question(""), sought)
