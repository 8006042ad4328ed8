"""A real Neo4j: the community edition from its published artifacts, on this machine's JDK.

Maven fetches it once into the user's cache, which all checkouts share. Where there is no JDK or no Maven, or it can't
be fetched, the reason is told instead.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import neo4j

HERE = Path(__file__).resolve().parent
POM, SOURCE = HERE / "pom.xml", HERE / "Neo4jServer.java"
FETCH_S, COMPILE_S = 600, 120
SMALL = ("-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")  # and quick to start
PASSWORD = "of-this-run-only"  # noqa: S105 - of a server on loopback that is thrown away


class Unobtainable(Exception):
    """This machine can't run Neo4j; the message says why."""


@contextmanager
def neo4j_server(options: Sequence[str] = SMALL, page_cache_mb: int = 32) -> Iterator[str]:
    """Start an empty server and yield its address; its user is `neo4j`, with `PASSWORD`.

    Args:
        options: for Java.
        page_cache_mb: how much of its files Neo4j keeps in memory.

    Raises:
        Unobtainable: see there.
    """
    program = _program()
    with tempfile.TemporaryDirectory(prefix="umbel-neo4j-") as home:
        log = Path(home, "log")
        classpath = f"{program}{os.pathsep}{program / 'lib' / '*'}"
        with log.open("wb") as errors:
            process = subprocess.Popen(
                ["java", *options, "-cp", classpath, SOURCE.stem, str(page_cache_mb), str(Path(home, "neo4j"))],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True,
            )  # fmt: skip
        assert process.stdout
        try:
            yield _ready(process.stdout.readline().strip(), log)
        finally:
            process.kill()  # nothing of it is needed again
            process.communicate()


def _ready(url: str, log: Path) -> str:
    if not url.startswith("bolt://"):
        raise Unobtainable(f"Neo4j did not start: {url} {log.read_text(errors='replace')[-500:]}")
    with neo4j.GraphDatabase.driver(url, auth=("neo4j", "neo4j")) as driver:
        change = "ALTER CURRENT USER SET PASSWORD FROM 'neo4j' TO $password"
        driver.execute_query(change, password=PASSWORD, database_="system")
    return url


def _program() -> Path:
    """Return the folder of the compiled starter and Neo4j's jars, made when first needed."""
    _check_java()
    name = hashlib.sha256(POM.read_bytes() + SOURCE.read_bytes()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "umbel")
    cache.mkdir(parents=True, exist_ok=True)
    program = cache / f"neo4j-{name}"
    with Path(cache, "neo4j.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists():
            _make(program)
    return program


def _check_java() -> None:
    for command in ("java", "javac", "mvn"):
        if not shutil.which(command):
            raise Unobtainable(f"{command} is not installed")
    said = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False).stderr
    found = re.search(r'version "(\d+)', said)
    if not found or int(found[1]) not in (17, 21):
        raise Unobtainable(f"Neo4j 5.26 runs on Java 17 or 21; here is {said.splitlines()[:1]}")


def _make(program: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="making-", dir=program.parent) as folder:
        made = Path(folder, "program")
        made.mkdir()
        jars = ["-DincludeScope=runtime", f"-DoutputDirectory={made / 'lib'}"]
        _run(["mvn", "-q", "-B", "-ntp", "-f", str(POM), "dependency:copy-dependencies", *jars], FETCH_S)
        _run(["javac", "-proc:none", "-cp", f"{made / 'lib'}/*", "-d", str(made), str(SOURCE)], COMPILE_S)
        made.rename(program)


def _run(command: list[str], seconds: float) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        raise Unobtainable(f"{command[0]} took longer than {seconds} s") from None
    if done.returncode:
        raise Unobtainable(f"{command[0]} failed: {(done.stdout + done.stderr)[-500:]}")
