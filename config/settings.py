"""The only reader of the environment.

Every setting is an environment variable ``UMBEL_<NAME>`` (upper case) and is described here once;
``docs/settings.md`` repeats these lines and a test keeps the two equal.
"""

from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from config.reach import allowed

DEVELOPMENT_PEPPER = "development-only-pepper"


class _Declared(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class PriceSetting(_Declared):
    """What a model costs, in USD per million tokens; `cached` is a read from the prompt cache."""

    input: float = Field(ge=0)
    output: float = Field(ge=0)
    cached: float | None = Field(None, ge=0)


class LimitsSetting(_Declared):
    """What each key of a provider may use a minute, all worker processes together."""

    requests: int | None = Field(None, ge=1)
    tokens: int | None = Field(None, ge=1)


class ProviderSetting(_Declared):
    """A place models are called at; see docs/models.md."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_-]{0,31}$")
    kind: Literal["openai", "anthropic", "compatible"]
    base_url: str | None = Field(None, pattern=r"^https?://[^\s@]+$")
    keys: list[SecretStr] = []
    models: list[str] | None = None
    prices: dict[str, PriceSetting] = {}
    limits: LimitsSetting = LimitsSetting()

    @model_validator(mode="after")
    def _reachable(self) -> "ProviderSetting":
        if self.kind == "compatible" and not self.base_url:
            raise ValueError(f"the provider {self.name} needs a base_url, such as http://127.0.0.1:11434/v1")
        if self.kind != "compatible" and not self.keys:
            raise ValueError(f"the provider {self.name} needs at least one key")
        if self.name == "offline":
            raise ValueError("the name offline is taken by the provider that plays scenario files")
        return self


class Settings(BaseSettings):
    """One frozen tree of values; times are in seconds unless the name says otherwise."""

    model_config = SettingsConfigDict(
        env_prefix="UMBEL_", frozen=True, extra="ignore", populate_by_name=True, hide_input_in_errors=True
    )

    environment: Literal["development", "production"] = Field(
        "production", description="`development` allows the built-in pepper; `production` refuses it."
    )
    database_url: SecretStr = Field(
        SecretStr("postgresql://umbel@127.0.0.1:5432/umbel"), description="PostgreSQL, the record."
    )
    database_pool: int = Field(10, ge=1, le=200, description="Connections a web process may hold.")
    database_connect_timeout_s: int = Field(3, ge=1, description="Give up connecting to PostgreSQL after this long.")
    statement_timeout_s: int = Field(15, ge=1, description="A statement running longer is cancelled by PostgreSQL.")
    redis_url: SecretStr = Field(
        SecretStr("redis://127.0.0.1:6379/0"), description="Redis: Celery's broker and the push channel. Expendable."
    )
    redis_timeout_s: float = Field(1.0, gt=0, description="How long a request waits for Redis before going on without.")
    redis_pause_s: float = Field(5.0, gt=0, description="After a Redis failure, do not try again for this long.")
    key_pepper: SecretStr = Field(
        SecretStr(DEVELOPMENT_PEPPER),
        description="Secret mixed into stored API key digests. Keep it out of the database.",
    )
    secret_keys: SecretStr = Field(
        SecretStr(""),
        description="Keys sealing secrets kept in rows; the first seals, all open: `openssl rand -base64 32`.",
    )

    web_host: str = Field("127.0.0.1", description="Address the front binds.")
    web_port: int = Field(8080, ge=0, le=65535, description="Port of REST, WebSockets and the docs page.")
    web_workers: int = Field(1, ge=1, description="gunicorn worker processes.")
    web_connections: int = Field(6000, ge=10, description="Open connections one web process accepts.")
    allowed_origins: list[str] = Field(
        [], description="Origins a browser may open a WebSocket from, besides the server's own (a JSON list)."
    )
    max_body_bytes: int = Field(10 * 1024 * 1024, ge=1024, description="A larger request body is refused with 413.")
    ticket_ttl_s: int = Field(30, ge=1, description="Life of a WebSocket ticket.")
    heartbeat_s: float = Field(
        30, gt=0, description="Heartbeat on every stream; a peer silent for twice this is dropped."
    )
    stream_queue: int = Field(256, ge=1, description="Frames buffered for one reader before it falls back to rows.")
    stream_sweep_s: float = Field(5, gt=0, description="How often watched tasks are compared with their rows.")
    long_poll_max_s: float = Field(30, ge=0, description="Upper bound of `?wait=`.")

    lease_s: float = Field(30, gt=0, description="A run not renewed for this long may be claimed by another worker.")
    debounce_s: float = Field(
        2,
        ge=0,
        le=3600,
        description="A person's newer request for the same file and mode takes an older one's place within this time; "
        "0: never.",
    )
    result_cache_s: float = Field(
        3600, ge=0, le=86400, description="An equal task of the account is given a result again for so long; 0: never."
    )
    worker_concurrency: int = Field(
        200, ge=1, description="Runs a worker process holds at once, unless `-c` says otherwise."
    )
    control_every_s: float = Field(
        1, gt=0, description="How often a worker asks PostgreSQL for cancel and pause requests."
    )
    max_attempts: int = Field(
        4, ge=1, description="Tries of a run whose errors are retryable, unless the task says otherwise."
    )
    max_crashes: int = Field(
        5, ge=1, description="A run that lost its worker this often in a row, without finishing a step, becomes dead."
    )
    max_child_depth: int = Field(3, ge=0, le=20, description="How deep tasks may start tasks that start tasks.")
    max_children: int = Field(50, ge=0, le=1000, description="Tasks one run may start.")
    retry_base_s: float = Field(1, gt=0, description="First retry delay; doubles each time.")
    retry_max_s: float = Field(300, gt=0, description="Longest retry delay, and longest `retry_after` honoured.")
    step_timeout_s: float = Field(300, gt=0, description="A step running longer fails with `step_timeout`.")
    timer_inline_s: float = Field(2, ge=0, description="Shorter waits stay in memory; longer ones free their slot.")
    drain_s: float = Field(20, gt=0, description="On SIGTERM, how long running steps may take to reach a boundary.")
    store_threads: int = Field(2, ge=1, le=16, description="Database connections a worker process commits through.")
    delta_every_ms: int = Field(50, ge=1, description="Text deltas of a step are pushed at most this often.")

    model: str = Field(
        "",
        description="The model of tasks that name none, or several to fall back along: `openai:gpt-5.2,ollama:qwen3`.",
    )
    openai_api_key: SecretStr = Field(
        SecretStr(""),
        validation_alias="OPENAI_API_KEY",
        description="Makes the provider `openai`; several keys by comma.",
    )
    anthropic_api_key: SecretStr = Field(
        SecretStr(""),
        validation_alias="ANTHROPIC_API_KEY",
        description="Makes the provider `anthropic`; several keys by comma.",
    )
    providers: list[ProviderSetting] = Field(
        [], description="Further providers of models, as a JSON list; see [Models](models.md)."
    )
    offline_scenario: str = Field("", description="File played by the provider `offline`, for tests and shows.")
    model_retries: int = Field(
        2, ge=0, le=10, description="How often one call of a model is tried again with the same key before going on."
    )
    model_timeout_s: float = Field(
        180, gt=0, description="A model that sends nothing for this long is given up; the step's own limit stays."
    )
    model_wait_max_s: float = Field(
        10, ge=0, description="Longest wait a provider asks for that is waited inside the step; else the task waits."
    )
    model_answer_max_bytes: int = Field(
        20 * 1024 * 1024, ge=1024, description="A larger answer of a model fails the step."
    )
    model_cache_s: float = Field(
        0, ge=0, description="How long answers to calls with temperature 0 are kept for identical calls; 0 keeps none."
    )
    model_cache_max_bytes: int = Field(256 * 1024, ge=1024, description="A larger answer of a model is not kept.")
    model_window: int = Field(
        32_000,
        ge=1000,
        description="Tokens a model reads at most, if nobody says how many; see [Agents](agents.md).",
    )

    reconcile_every_s: float = Field(1, gt=0, description="Beat's interval for the reconciler.")
    ring_again_s: float = Field(10, gt=0, description="A queued run nobody claimed is rung again after this long.")
    ring_queue_max: int = Field(
        500, ge=1, description="Runs already rung are not rung again while the queue is longer."
    )

    home: Path = Field(Path(".umbel"), description="Where the local stack keeps data, logs and secrets.")
    blob_store: str = Field(
        "",
        description="Where the bytes of files are: a directory shared by all processes, or `s3://bucket/prefix`; "
        "empty: `blobs` in the home.",
    )
    s3_endpoint: str = Field(
        "", pattern=r"^(https?://[^\s@]+)?$", description="An S3-compatible service other than Amazon's."
    )
    file_max_bytes: int = Field(100 * 1024 * 1024, ge=1024, description="A larger file is refused.")
    storage_max_bytes: int = Field(
        10 * 1024**3, ge=0, description="What an account's files and artifacts may hold; equal ones count once."
    )
    storage_max_files: int = Field(10_000, ge=0, description="Files an account may keep.")
    file_keep_days: int = Field(0, ge=0, description="Delete files this long after their upload; 0: keep them.")
    artifact_keep_days: int = Field(
        0, ge=0, description="Delete artifacts this long after their last version; 0: keep."
    )
    blob_grace_s: float = Field(3600, ge=0, description="Bytes no row refers to are deleted after this long.")

    flower_port: int = Field(5555, ge=0, le=65535, description="Port of Flower in the local stack.")
    mcp_port: int = Field(8090, ge=0, le=65535, description="Port of the MCP server in the local stack.")
    mcp_hosts: list[str] = Field(
        [], description="Names the MCP server may be called by, besides loopback's (a JSON list)."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Least severe level logged.")
    extra_workflows: list[str] = Field(
        [], description="Import paths (`package.module:WORKFLOW`) of private workflows kept outside this repository."
    )
    probe_hosts: list[str] = Field(
        [], description="Hosts the probe workflow may call, besides loopback in development (a JSON list)."
    )
    tool_http_hosts: list[str] = Field(
        [],
        description="`host:port` pairs tools and accounts' providers may reach although not public (a JSON list).",
    )
    tool_cache_s: int = Field(
        300, ge=0, le=86_400, description="How long results of tools that may be cached are given again; 0: never."
    )
    telemetry_url: str = Field(
        "",
        pattern=r"^(https?://[^\s@]+)?$",
        description="Where spans are sent with OTLP over HTTP: `http://127.0.0.1:4318/v1/traces`; empty for nowhere.",
    )
    telemetry_headers: SecretStr = Field(
        SecretStr(""), description="Headers sent along with spans: `Authorization=Bearer ...`; several by comma."
    )
    telemetry_sample: float = Field(1.0, ge=0, le=1, description="Share of the tasks whose spans are sent.")
    telemetry_content: bool = Field(
        False, description="Send along what models and tools are told and answer. It may be private."
    )
    mcp_servers: str = Field("", description="File of `mcpServers` JSON whose tools agents may use; see [MCP](mcp.md).")
    mcp_row_commands: bool = Field(
        False, description="Let accounts declare MCP servers that are commands, which then run on the workers."
    )
    search_url: str = Field(
        "",
        pattern=r"^(https?://[^\s@]+)?$",
        description="Where web_search asks: `https://api.tavily.com/search`, or whatever speaks its protocol.",
    )
    search_key: SecretStr = Field(SecretStr(""), description="Key of the search service.")
    neo4j_url: str = Field(
        "",
        pattern=r"^((bolt|neo4j)(\+s|\+ssc)?://[^\s@]+)?$",
        description="Neo4j server that keeps the graph of patterns, `bolt://127.0.0.1:7687`; empty: PostgreSQL does.",
    )
    neo4j_user: str = Field("neo4j", min_length=1, description="User of the Neo4j server.")
    neo4j_password: SecretStr = Field(SecretStr(""), description="The user's password.")
    neo4j_database: str = Field("", description="Database on the Neo4j server; empty: the user's own.")
    graph_timeout_s: float = Field(5, gt=0, description="Longest wait for an answer of the store of the graph.")
    sandbox: Literal["auto", "e2b", "bubblewrap", "landlock", "none"] = Field(
        "auto",
        description="How code of users and models is kept in; `none`: it is refused. See [Sandboxes](sandboxes.md).",
    )
    sandbox_max: int = Field(16, ge=1, le=900, description="Sandboxes a worker process may have at once.")
    sandbox_warm: int = Field(1, ge=0, le=64, description="Sandboxes started ahead, once a worker has needed one.")
    sandbox_idle_s: float = Field(300, gt=0, description="A task's sandbox unused for this long is ended.")
    sandbox_memory_mb: int = Field(512, ge=32, description="MiB the processes of a sandbox may use together.")
    sandbox_disk_mb: int = Field(128, ge=1, description="MiB the work directory of a sandbox may hold, in memory.")
    sandbox_first_uid: int = Field(
        1_990_000_000, ge=1, description="A worker that is root starts sandboxes as a thousand users from this one on."
    )
    recall: bool = Field(True, description="Index messages of sessions and artifacts; see [Patterns](patterns.md).")
    patterns_held_out: float = Field(
        0.1, ge=0, le=1, description="Share of the runs that are given no patterns, by lot, so that their worth shows."
    )
    patterns_tokens: int = Field(800, ge=0, le=10_000, description="Tokens of patterns a run is given at most.")
    patterns_timeout_s: float = Field(2, gt=0, description="Longest wait for each store that is asked for patterns.")
    pattern_learning: bool = Field(True, description="Learn from finished tasks; see [Patterns](patterns.md).")
    pattern_keep_days: int = Field(
        90, ge=0, description="Days the graph keeps runs and their like that no pattern was learned from; 0: for ever."
    )
    embedder: str = Field(
        "auto",
        description="What makes texts vectors: `minilm`, `lexical` or `provider:model`; see [Patterns](patterns.md).",
    )
    embedder_weights: str = Field(
        "", description="Directory with `model.safetensors` and `vocab.txt` of all-MiniLM-L6-v2; empty: the package's."
    )
    embedder_dimension: int = Field(
        0, ge=0, le=16_384, description="Numbers in a vector to ask a model for; 0: as usual for the content."
    )
    qdrant_url: str = Field(
        "",
        pattern=r"^(https?://[^\s@]+)?$",
        description="Qdrant server that keeps vectors, `http://127.0.0.1:6333`; empty: PostgreSQL does, by pgvector.",
    )
    qdrant_key: SecretStr = Field(SecretStr(""), description="API key of the Qdrant server.")
    qdrant_prefix: str = Field(
        "umbel", pattern=r"^[a-z][a-z0-9_]{0,31}$", description="What names of collections on the server begin with."
    )
    qdrant_quantized: bool = Field(
        False, description="Let new collections of Qdrant keep vectors in memory as bytes: a quarter of the room."
    )
    qdrant_timeout_s: int = Field(5, ge=1, description="Longest wait for an answer of Qdrant.")
    sandbox_network: list[str] = Field(
        [],
        description="Hosts agents may let their code reach: `name`, `name:port`, `*.name`, `*` (a JSON list).",
    )
    sandbox_network_mb: int = Field(256, ge=1, description="MiB a sandbox may send and receive while it lives.")
    biome: str = Field(
        "", description="Biome's program, with which `lint_fix` works on JavaScript; empty: `biome` on the PATH."
    )
    e2b_api_key: SecretStr = Field(SecretStr(""), description="Key of E2B, whose machines are then the sandboxes.")
    e2b_template: str = Field("", description="Template of the machines at E2B; empty for E2B's own.")
    e2b_domain: str = Field("", description="Where E2B is, if it is run by others.")
    crash_point: str = Field(
        "", description="Development only: kill the worker at this point, or at its n-th: `after_call:2`."
    )

    @field_validator("sandbox_network")
    @classmethod
    def _are_hosts(cls, hosts: list[str]) -> list[str]:
        return [str(allowed(each)) for each in hosts]

    @field_validator("providers")
    @classmethod
    def _names_differ(cls, providers: list[ProviderSetting]) -> list[ProviderSetting]:
        names = [each.name for each in providers]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"two providers are named {', '.join(sorted(twice))}")
        return providers

    @model_validator(mode="after")
    def _refuse_unsafe_production(self) -> "Settings":
        if self.environment == "production" and self.key_pepper.get_secret_value() == DEVELOPMENT_PEPPER:
            msg = "set UMBEL_KEY_PEPPER to a long random secret, or UMBEL_ENVIRONMENT=development on your own machine"
            raise ValueError(msg)
        if self.environment == "production" and self.crash_point:
            raise ValueError("UMBEL_CRASH_POINT is for fault tests; it needs UMBEL_ENVIRONMENT=development")
        return self


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """Return the process's settings, read once.

    Raises:
        pydantic.ValidationError: a value is malformed or unsafe; the message names the variable.
    """
    return Settings()
