"""The fault proxy does to bytes what it says, and nothing when it says nothing."""

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress

import psycopg2
import pytest

from chaos.proxy import HOST, Proxy
from local.postgres import PostgresServer

BLOB = bytes(range(256)) * 4096


@pytest.fixture
def echo() -> Iterator[int]:
    server = socket.create_server((HOST, 0))

    def serve(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            while data := receive(connection):
                connection.sendall(data)

    def accept() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    yield server.getsockname()[1]
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join()


@pytest.fixture
def proxy(echo: int) -> Iterator[Proxy]:
    proxy = Proxy(echo)
    proxy.start()
    yield proxy
    proxy.stop()


def receive(connection: socket.socket) -> bytes:
    try:
        return connection.recv(65536)
    except OSError:
        return b""


def exchange(connection: socket.socket, data: bytes) -> bytes:
    """Send everything and read as much back, or until the connection ends."""

    def send() -> None:
        with suppress(OSError):
            connection.sendall(data)

    threading.Thread(target=send, daemon=True).start()
    got = b""
    while len(got) < len(data) and (piece := receive(connection)):
        got += piece
    return got


def through(proxy: Proxy) -> socket.socket:
    return socket.create_connection((HOST, proxy.port), timeout=20)


def test_what_passes_is_byte_for_byte_the_same(proxy: Proxy) -> None:
    with through(proxy) as connection:
        assert exchange(connection, BLOB) == BLOB


@pytest.mark.parametrize(("mode", "seconds"), [("latency", 0.01), ("trickle", 0.0)])
def test_slow_weather_changes_no_byte(proxy: Proxy, mode: str, seconds: float) -> None:
    with through(proxy) as connection:
        proxy.mode(mode, seconds=seconds)
        assert exchange(connection, BLOB[:20_000]) == BLOB[:20_000]


def test_a_reset_cuts_each_connection_in_the_middle(proxy: Proxy) -> None:
    proxy.mode("reset", most_bytes=5000)
    with through(proxy) as connection:
        got = exchange(connection, BLOB[:20_000])
    assert len(got) < 20_000
    assert BLOB.startswith(got)
    assert proxy.resets >= 1


def test_a_half_open_connection_is_silent_and_goes_on_once_healed(proxy: Proxy) -> None:
    with through(proxy) as connection:
        proxy.mode("half-open")
        connection.sendall(b"hello")
        connection.settimeout(0.2)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        proxy.heal()
        connection.settimeout(20)
        assert connection.recv(5) == b"hello"


def test_refusing_ends_connections_there_are_and_new_ones(proxy: Proxy) -> None:
    with through(proxy) as connection:
        assert exchange(connection, b"x") == b"x"
        proxy.mode("refuse")
        assert receive(connection) == b""
    with suppress(ConnectionResetError), through(proxy) as late:
        assert receive(late) == b""
    proxy.heal()
    with through(proxy) as healed:
        assert exchange(healed, b"y") == b"y"


def test_postgresql_works_through_it_and_notices_a_cut(postgres_server: PostgresServer) -> None:
    proxy = Proxy(postgres_server.port)
    proxy.start()
    url = postgres_server.url.replace(f":{postgres_server.port}/", f":{proxy.port}/")
    connection = psycopg2.connect(url)
    with connection.cursor() as cursor:
        cursor.execute("SELECT repeat('x', 100000)")
        assert len(cursor.fetchone()[0]) == 100_000
        assert proxy.cut() == 1
        with pytest.raises(psycopg2.OperationalError):
            cursor.execute("SELECT 1")
    proxy.stop()
