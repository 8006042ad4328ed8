"""The catalogue of models."""

from typing import Any

from flask_openapi3.models.tag import Tag

from web.binding import Api
from web.catalogue import describe_models
from web.schemas.models import ModelList

api = Api("models", __name__, url_prefix="/v1", abp_tags=[Tag(name="models")])


@api.get("/models", summary="List providers and models", responses={200: ModelList})
def list_models() -> dict[str, Any]:
    """What the workers may be asked for, the default chain, and how each provider stands."""
    return describe_models()
