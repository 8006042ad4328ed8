"""The door to PostgreSQL: one engine per process, short transactions, errors in our own words."""

from collections.abc import Callable
from typing import TypeVar, cast

import psycopg2
from psycopg2 import extensions
from sqlalchemy import Connection, Engine, PoolProxiedConnection, create_engine, exc, text
from sqlalchemy.engine import make_url

from config.settings import Settings
from models import errors
from models.direct import Direct

T = TypeVar("T")

#: SQLSTATE classes that mean "not now": connection trouble, resources, operator intervention.
_UNAVAILABLE = ("08", "53", "57")
_TRY_AGAIN = frozenset({"40001", "40P01", "55P03"})  # serialization failure, deadlock, lock timeout


class _LostError(Exception):
    """A connection turned out to be dead."""


class Database:
    """Runs functions in transactions.

    A function given to :meth:`run` may be called again when the connection turned out to be dead
    before anything was committed, so it must only touch the database.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def run(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in one transaction and return its result after the commit.

        Raises:
            errors.Unavailable: PostgreSQL can't be reached, is shutting down or overloaded.
            errors.Malformed: a value has characters PostgreSQL can't store.
        """
        try:
            return self._run_again_if_stale(work)
        except (exc.TimeoutError, exc.DBAPIError) as error:
            raise translate(error) from error

    def read(self, work: Callable[[Connection], T]) -> T:
        """Run queries straight on the driver and without a transaction, which saves most of the work around them.

        Raises:
            errors.Unavailable: as for :meth:`run`.
        """
        try:
            return self._directly(work)
        except _LostError:
            return self.run(work)

    def write(self, work: Callable[[Connection], T]) -> T:
        """Run `work`, which writes with one statement, straight on the driver: the statement is the transaction.

        When the connection breaks nobody knows whether that was committed, and `work` is run again: it must find
        what it wrote the first time.

        Raises:
            errors.Unavailable: as for :meth:`run`.
            errors.Malformed: as for :meth:`run`.
        """
        try:
            return self._directly(work)
        except _LostError:
            return self.run(work)

    def _directly(self, work: Callable[[Connection], T]) -> T:
        """Run `work` on a pooled connection in autocommit.

        Raises:
            _LostError: the connection broke, or had been dead for long; then others in the pool may be dead too.
        """
        try:
            pooled = self.engine.raw_connection()
        except (exc.TimeoutError, psycopg2.Error) as error:
            raise translate(error) from error
        try:
            return self._in_autocommit(pooled, work)
        except psycopg2.Error as error:
            raise translate(error) from error
        finally:
            pooled.close()

    def _in_autocommit(self, pooled: PoolProxiedConnection, work: Callable[[Connection], T]) -> T:
        driver = cast(extensions.connection, pooled.dbapi_connection)
        try:
            driver.autocommit = True  # known to the driver only: no round trip
            # Direct has what repositories use of a connection.
            result = work(cast(Connection, Direct(driver, pooled.info)))
        except BaseException as error:
            lost = driver.closed or self.engine.dialect.is_disconnect(error, pooled, None)  # type: ignore[arg-type]
            if lost or not isinstance(error, Exception):
                pooled.invalidate(error)
            else:
                driver.autocommit = False
            # A server that does not answer in time would not answer in twice the time either.
            if lost and isinstance(error, psycopg2.Error) and not isinstance(error.__cause__, TimeoutError):
                raise _LostError from error
            raise
        driver.autocommit = False
        return result

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


def translate(error: exc.SQLAlchemyError | psycopg2.Error) -> Exception:
    """Map SQLAlchemy's or the driver's error to ours; unknown ones are returned unchanged."""
    if isinstance(error, exc.TimeoutError):
        return errors.Unavailable("no free database connection; try again in a moment")
    cause, lost = (error.orig, error.connection_invalidated) if isinstance(error, exc.DBAPIError) else (error, False)
    state = getattr(cause, "pgcode", None) or ""
    if state.startswith(_UNAVAILABLE) or state in _TRY_AGAIN:
        return errors.Unavailable()
    if lost or (isinstance(cause, psycopg2.OperationalError) and not state):
        return errors.Unavailable()
    # Only rows of blobs are referred to by hash: whoever collects unneeded ones was faster.
    if state == "23503" and "sha256" in (getattr(getattr(cause, "diag", None), "constraint_name", None) or ""):
        return errors.BlobGone()
    if state == "22P05" or "NUL" in str(cause):
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
    # A process that froze in a transaction keeps its rows locked: not for longer than it keeps its leases.
    idle = max(1, min(seconds * 2, int(settings.lease_s)))
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
            "options": f"-c statement_timeout={seconds}s -c idle_in_transaction_session_timeout={idle}s"
            f" -c plan_cache_mode=force_generic_plan -c timezone=UTC{_BY_KEY if by_key else ''}",
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": 15000,
        },
    )
    return Database(engine)
