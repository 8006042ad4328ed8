"""What can go wrong with a call of a model, as a task's error. Loads no SDK.

StepFailed
└── ModelFailed                a provider's client failed in a way that has no finer name
    ├── NoModelConfigured      nothing says which model to use
    ├── UnknownModel           a name that is not configured
    ├── ModelKeyRefused        401, 403: no key of the provider is accepted
    ├── ModelMissing           404: the provider has no such model
    ├── ModelRateLimited       429: too many requests; tried again later
    ├── ModelQuotaUsedUp       the provider's account has no credit left
    ├── ModelUnavailable       5xx, no connection, overloaded, or its circuit breaker is open; tried again later
    ├── ModelTimedOut          it sent nothing for too long; tried again later
    ├── ModelAnswerBroken      truncated, malformed or unreadable; tried again later
    ├── ModelAnswerTooLarge    more bytes than allowed
    ├── ModelContextExceeded   the conversation is longer than the model can read
    ├── ModelContentFiltered   the provider's filter stopped it
    ├── ModelAddressRefused    an account's provider is at an address workers may not connect to
    ├── ModelKeysSealed        the keys of an account's provider can't be opened
    ├── ModelRequestRefused    400, 413, 422: the same request will be refused again
    ├── EmbeddingsUnsupported  the model's provider has no embeddings
    ├── EmbeddingDimension     vectors of another dimension than asked for
    └── ScenarioInvalid        the offline scenario is missing, malformed, or has nothing to say
"""

from typing import ClassVar

from worker.errors import StepFailed


class ModelFailed(StepFailed):
    """The client of a model's provider failed. The worker's log names the exception."""

    code = "model_failed"
    #: Whether another try later may work.
    passes: ClassVar[bool] = False
    #: Whether the next model of the chain may be asked instead.
    falls_back: ClassVar[bool] = False
    #: What to do about it; the end of the message.
    cure: ClassVar[str] = "see the worker's log"


class NoModelConfigured(ModelFailed):
    """No model is configured. Set UMBEL_MODEL and a key, such as OPENAI_API_KEY, on the worker, or name a model."""

    code = "no_model_configured"


class UnknownModel(ModelFailed):
    """The model is not configured."""

    code = "model_unknown"


class ModelKeyRefused(ModelFailed):
    """The provider accepts none of its keys."""

    code = "model_key_refused"
    falls_back = True
    cure = "check the provider's keys and what they may use"


class ModelMissing(ModelFailed):
    """The provider has no such model."""

    code = "model_not_found"
    falls_back = True
    cure = "check the model's name and the provider's base_url"


class ModelRateLimited(ModelFailed):
    """The provider limits the rate of requests."""

    code = "model_rate_limited"
    passes = True
    falls_back = True
    cure = "it is tried again later; add keys or models if this happens often"


class ModelQuotaUsedUp(ModelFailed):
    """The provider's account has no credit left."""

    code = "model_quota_exceeded"
    falls_back = True
    cure = "top up the account, or add another key or model"


class ModelUnavailable(ModelFailed):
    """The provider can't be reached, or can't serve now."""

    code = "model_unavailable"
    passes = True
    falls_back = True
    cure = "it is tried again later"


class ModelTimedOut(ModelFailed):
    """The model sent nothing for too long."""

    code = "model_timeout"
    passes = True
    falls_back = True
    cure = "it is tried again later; UMBEL_MODEL_TIMEOUT_S is the limit"


class ModelAnswerBroken(ModelFailed):
    """The answer was cut short or can't be read."""

    code = "model_answer_broken"
    passes = True
    falls_back = True
    cure = "it is tried again later"


class ModelAnswerTooLarge(ModelFailed):
    """The answer is larger than allowed."""

    code = "model_answer_too_large"
    cure = "UMBEL_MODEL_ANSWER_MAX_BYTES is the limit"


class ModelContextExceeded(ModelFailed):
    """The conversation is longer than the model can read."""

    code = "model_context_exceeded"
    falls_back = True
    cure = "shorten it, or use a model that reads more"


class ModelContentFiltered(ModelFailed):
    """The provider's filter stopped the answer."""

    code = "model_content_filtered"
    falls_back = True
    cure = "change what is asked"


class ModelAddressRefused(ModelFailed):
    """The provider's base_url does not point to public addresses only."""

    code = "model_address_refused"
    falls_back = True
    cure = "its base_url must lead to public addresses, on port 80 or 443, or be allowed by UMBEL_TOOL_HTTP_HOSTS"


class ModelKeysSealed(ModelFailed):
    """The provider's keys can't be opened by this worker."""

    code = "model_keys_sealed"


class ModelRequestRefused(ModelFailed):
    """The provider refuses the request itself; it would refuse it again."""

    code = "model_request_refused"
    cure = "see what it says"


class EmbeddingsUnsupported(ModelFailed):
    """The model's provider has no embeddings."""

    code = "embeddings_unsupported"


class EmbeddingDimension(ModelFailed):
    """The vectors have another dimension than asked for."""

    code = "embedding_dimension"


class ScenarioInvalid(ModelFailed):
    """The offline scenario can't be played."""

    code = "scenario_invalid"
