"""What can go wrong when a text is to become a vector.

EmbedderError              the root; nothing is raised with this code alone
├── EmbedderUnknown        the settings name an embedder there is not
├── EmbedderUnavailable    an embedder's files are missing or are not what they should be
└── TextRefused            a text that can't be embedded: empty, too long, or broken
"""

from worker.errors import StepFailed


class EmbedderError(StepFailed):
    """A text could not be made a vector."""

    code = "embedder_error"


class EmbedderUnknown(EmbedderError):
    """There is no such embedder. Set UMBEL_EMBEDDER to auto, minilm, lexical or `provider:model`."""

    code = "embedder_unknown"


class EmbedderUnavailable(EmbedderError):
    """The embedder's files are missing. Run `make embeddings`, or set UMBEL_EMBEDDER_WEIGHTS."""

    code = "embedder_unavailable"


class TextRefused(EmbedderError):
    """This text can't be embedded."""

    code = "embedding_text_refused"
