"""What an account's tasks have used, summed up. A child counts as the task it is, never again with its parent."""

from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from sqlalchemy import Connection

from models.scope import AccountScope

# A task's usage is written whole each time its run is let go of, so a sum over rows is right at any moment.
_SPENT = """
SELECT workflow, count(*)::bigint,
    count(*) FILTER (WHERE usage->>'synthetic' = 'true')::bigint,
    coalesce(sum((usage->>'input_tokens')::bigint), 0)::bigint,
    coalesce(sum((usage->>'output_tokens')::bigint), 0)::bigint,
    coalesce(sum((usage->>'cache_read_tokens')::bigint), 0)::bigint,
    coalesce(sum((usage->>'cache_write_tokens')::bigint), 0)::bigint,
    coalesce(sum((usage->>'steps')::bigint), 0)::bigint,
    coalesce(sum((usage->>'tool_calls')::bigint), 0)::bigint,
    coalesce(sum((usage->>'unpriced_steps')::bigint), 0)::bigint,
    coalesce(sum((usage->>'usd')::numeric), 0)
FROM tasks WHERE account_id = %(account)s
  AND (%(since)s::timestamptz IS NULL OR created_at >= %(since)s)
  AND (%(until)s::timestamptz IS NULL OR created_at < %(until)s)
GROUP BY workflow ORDER BY workflow
"""


class Spent(NamedTuple):
    """What the tasks of one workflow used.

    Attributes:
        workflow: its name.
        tasks: how many were submitted.
        synthetic_tasks: those among them whose model was a script.
        input_tokens, output_tokens, cache_read_tokens, cache_write_tokens: as the providers counted.
        steps: calls of models.
        tool_calls: calls of tools.
        unpriced_steps: calls of models whose price nobody knows; they are not in `usd`.
        usd: what the others cost.
    """

    workflow: str
    tasks: int
    synthetic_tasks: int
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    steps: int
    tool_calls: int
    unpriced_steps: int
    usd: Decimal


def spent(connection: Connection, scope: AccountScope, since: datetime | None, until: datetime | None) -> list[Spent]:
    """Return what tasks submitted from `since` and before `until` have used so far, by workflow."""
    asked = {"account": scope.account_id, "since": since, "until": until}
    return [Spent(*row) for row in connection.exec_driver_sql(_SPENT, asked)]
