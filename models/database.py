"""The door to PostgreSQL: one engine per process, short transactions, errors in our own words."""

from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection, Engine, create_engine, exc, text
from sqlalchemy.engine import make_url

from config.settings import Settings
from models import errors

T = TypeVar("T")

#: SQLSTATE classes that mean "not now": connection trouble, resources, operator intervention.
_UNAVAILABLE = ("08", "53", "57")
_TRY_AGAIN = frozenset({"40001", "40P01", "55P03"})  # serialization failure, deadlock, lock timeout


class Database:
    """Runs functions in transactions.

    A function given to :meth:`run` may be called again when the connection turned out to be dead
    before anything was committed, so it must only touch the database.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._reading = engine.execution_options(isolation_level="AUTOCOMMIT")  # the same pool

    def run(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in one transaction and return its result after the commit.

        Raises:
            errors.Unavailable: PostgreSQL can't be reached, is shutting down or overloaded.
            errors.Malformed: a value has characters PostgreSQL can't store.
        """
        try:
            return self._run_again_if_stale(work)
        except exc.TimeoutError as error:
            raise errors.Unavailable("no free database connection; try again in a moment") from error
        except exc.DBAPIError as error:
            raise translate(error) from error

    def read(self, work: Callable[[Connection], T]) -> T:
        """Run queries without a transaction around them, which saves two of three round trips.

        Raises:
            errors.Unavailable: as for :meth:`run`.
        """
        try:
            return self._read_again_if_stale(work)
        except exc.TimeoutError as error:
            raise errors.Unavailable("no free database connection; try again in a moment") from error
        except exc.DBAPIError as error:
            raise translate(error) from error

    def _read_again_if_stale(self, work: Callable[[Connection], T]) -> T:
        for last in (False, True):
            try:
                with self._reading.connect() as connection:
                    return work(connection)
            except exc.DBAPIError as error:
                if last or not error.connection_invalidated:
                    raise
        raise AssertionError("unreachable")

    def _run_again_if_stale(self, work: Callable[[Connection], T]) -> T:
        committing = False

        def attempt() -> T:
            nonlocal committing
            with self.engine.connect() as connection:
                result = work(connection)
                committing = True
                connection.commit()
                return result

        try:
            return attempt()
        except exc.DBAPIError as error:
            # A pooled connection that died while idle fails on its first statement; once the commit
            # was sent nobody can know whether it happened, so that is reported, never repeated.
            if committing or not error.connection_invalidated:
                raise
            return attempt()

    def ping(self) -> None:
        """Raise errors.Unavailable unless PostgreSQL answers."""
        self.run(lambda connection: connection.execute(text("SELECT 1")))

    def close(self) -> None:
        """Close all pooled connections."""
        self.engine.dispose()


def translate(error: exc.DBAPIError) -> Exception:
    """Map a driver error to ours; unknown ones are returned unchanged."""
    state = getattr(error.orig, "pgcode", None) or ""
    if error.connection_invalidated or state.startswith(_UNAVAILABLE) or state in _TRY_AGAIN:
        return errors.Unavailable()
    if isinstance(error, exc.OperationalError) and not state:
        return errors.Unavailable()
    if state == "22P05" or "NUL" in str(error.orig):
        return errors.Malformed()
    return error


#: Plans made while a table was small are kept by a connection until its statistics change; these stay good.
_BY_KEY = "".join(f" -c enable_{way}=off" for way in ("seqscan", "hashjoin", "mergejoin"))


def connect(
    settings: Settings, *, pool_size: int | None = None, application: str = "umbel", by_key: bool = False
) -> Database:
    """Make the process's :class:`Database`; connects lazily.

    Args:
        settings: where PostgreSQL is, and limits of time.
        pool_size: most connections; the setting's by default.
        application: what PostgreSQL shows as the connections' name.
        by_key: every statement finds its rows by key, whatever the statistics say.
    """
    seconds = settings.statement_timeout_s
    url = make_url(settings.database_url.get_secret_value())
    engine = create_engine(
        url.set(drivername="postgresql+psycopg2"),
        pool_size=pool_size or settings.database_pool,
        max_overflow=0,
        pool_timeout=5,
        pool_recycle=1800,
        connect_args={
            "connect_timeout": settings.database_connect_timeout_s,
            "application_name": application,
            "options": f"-c statement_timeout={seconds}s -c idle_in_transaction_session_timeout={seconds * 2}s"
            f" -c plan_cache_mode=force_generic_plan -c timezone=UTC{_BY_KEY if by_key else ''}",
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": 15000,
        },
    )
    return Database(engine)
