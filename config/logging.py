"""JSON logs: one object a line, static messages, values as fields. Secrets are masked by pattern and by value."""

import json
import logging
import re
from datetime import UTC, datetime
from typing import Any

from config import known
from config.settings import Settings

_KNOWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "data"}
_SECRET = re.compile(r"umb_[a-z0-9]{12}_[A-Za-z0-9_-]{20,}|(?<=://)[^\s/@:]*:[^\s/@]+(?=@)|(?i:bearer\s+)\S+")
MASK = "***"
#: What models and stores are asked is logged by their clients below this, so they stay above it whatever our level is.
_NOISY = (
    *("celery.worker.strategy", "celery.app.trace", "celery.beat", "kombu", "amqp", "alembic"),
    *("openai", "anthropic", "httpx2", "httpcore2", "neo4j"),
)
_encode = json.JSONEncoder(default=str, ensure_ascii=False).encode


class JsonFormatter(logging.Formatter):
    """Formats a record as JSON: time, level, logger, message, the record's extra fields, the traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line without secrets."""
        fields: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        fields |= {name: value for name, value in vars(record).items() if name not in _KNOWN}
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return mask(_encode(fields))


def mask(text: str) -> str:
    """Replace API keys, bearer tokens, passwords in URLs, and every secret known by value."""
    for secret in known.all_known():
        text = text.replace(secret, MASK)
    # Looking for what every secret has costs a tenth of looking for the secrets themselves.
    if "umb_" not in text and "://" not in text and "bearer" not in text.lower():
        return text
    return _SECRET.sub(MASK, text)


def set_up(settings: Settings) -> None:
    """Send all logs of this process to stderr as JSON; replaces handlers set up before."""
    # Nothing we write says where in the code, in which thread or process a line was logged: do not find out.
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level)
    for noisy in _NOISY:
        logging.getLogger(noisy).setLevel(logging.WARNING)
