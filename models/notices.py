"""Names of the notices in Redis by which processes tell how providers of models and their keys stand."""

PREFIX = "umbel:llm:"
#: Beside the digests workers go by: the same by label, so that the front can count without knowing any key.
LABELS = "umbel:llm-keys:"
#: Answers of models kept for identical calls; the account's id follows.
ANSWERS = "umbel:llm-answers:"
#: What the keys' rate limits have left, by the same digests.
LEVELS = "umbel:llm-levels:"


def provider_down(provider: str) -> str:
    """Name of the notice that a provider is left alone for a while."""
    return f"{PREFIX}provider:{provider}"


def key_rests(label: str) -> str:
    """Name of the notice that the key of this label rests for all models."""
    return f"{LABELS}{label}"
