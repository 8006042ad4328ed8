"""The first process of a sandbox: runs what it is told to, within limits, and ends whatever that started.

It is sent into the sandbox as text and is all there is of Umbel there: standard library, nothing of this package.
As process 1 of its own process namespace it can't be signalled from inside, and everything in there ends with it. What
it says is not trusted outside: code in the sandbox could at most lie about itself.

A message is its length, that of its head, the head, and bytes. What is heard here is a literal of Python, what is
said is JSON. On file 0 comes the other side's word; its end is the end of everything.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import select
import stat
import struct
import sys
import time

TYPE_CHECKING = False  # loading typing would take longer than all the rest
if TYPE_CHECKING:
    from typing import Any

    Head = dict[str, Any]
    Answer = tuple[Head, bytes]

WORK = "/work"
HEADER = struct.Struct("!II")
CHUNK = 65536
TICK_S = 0.02
ENTRIES_MAX = 10_000
PR_SET_DUMPABLE = 4
LIBC = ctypes.CDLL(None)
SIGINT, SIGKILL, SIGPIPE, SIGXFSZ = 2, 9, 13, 25
SIG_DFL, SIG_IGN = ctypes.c_void_p(0), ctypes.c_void_p(1)
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGESIZE")
MOUNTS = (WORK, "/tmp", "/dev/shm")  # noqa: S108  # those of the sandbox
BASE = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": WORK, "TMPDIR": "/tmp", "LANG": "C.UTF-8"}  # noqa: S108
CODE = "/tmp/main.py"  # noqa: S108


class Refused(Exception):
    """What was asked for can't be done; told to the other side."""


class Peer:
    """The other side."""

    def __init__(self, file: int) -> None:
        self.file = file

    def send(self, head: Head, body: bytes = b"") -> None:
        """Send a message."""
        encoded = told(head)
        rest = memoryview(HEADER.pack(len(encoded) + len(body), len(encoded)) + encoded + body)
        while rest:
            rest = rest[os.write(self.file, rest) :]

    def receive(self) -> tuple[Head, bytes]:
        """Return the next message; without one this process ends, and all others with it."""
        total, head = HEADER.unpack(self._exactly(HEADER.size))
        message = self._exactly(total)
        # The other side may be believed; a parser of JSON would take longer to load than all the rest.
        return eval(message[:head], {}), message[head:]  # noqa: S307

    def _exactly(self, size: int) -> bytes:
        parts = []
        while size:
            part = os.read(self.file, min(size, 1 << 20))
            if not part:
                os._exit(0)
            parts.append(part)
            size -= len(part)
        return b"".join(parts)


def told(head: Head) -> bytes:
    """Return a flat head as JSON."""
    words = {None: "null", True: "true", False: "false"}
    parts = []
    for name, value in head.items():
        if isinstance(value, str):
            plain = value.isascii() and value.isprintable() and not {*value} & {'"', "\\"}
            value = value if plain else "".join(f"\\u{min(ord(each), 0xFFFD):04x}" for each in value)
            parts.append(f'"{name}":"{value}"')
        else:
            known = value is None or isinstance(value, bool)
            parts.append(f'"{name}":{words[value] if known else repr(value)}')
    return f"{{{','.join(parts)}}}".encode()


class Run:
    """One program and whatever it starts."""

    def __init__(self, peer: Peer, asked: Head, stdin: bytes) -> None:
        self.peer = peer
        self.asked = asked
        self.stdin = memoryview(stdin)
        self.left = asked["output"]
        self.stopped: Any = None
        self.memory = 0
        self.code = 0
        self.began = time.monotonic()
        self.cpu_before = _children_cpu()
        self.files_before = _inodes()  # what was too many before may still be looked at, and deleted
        self.cpu_s = 0.0

    def carry_out(self) -> Head:
        """Run it to its end and say how it ended."""
        argv, env = self._program()
        stdin, self.feed = os.pipe()
        self.out, stdout = os.pipe()
        self.err, stderr = os.pipe()
        self.pid = self._fork(argv, env, (stdin, stdout, stderr))
        for end in (stdin, stdout, stderr):
            os.close(end)
        for end in (self.feed, self.out, self.err):
            os.set_blocking(end, False)
        self._attend()
        return {
            "code": self.code,
            "stopped": self.stopped,
            "wall_s": time.monotonic() - self.began,
            "cpu_s": self.cpu_s,
            "memory": self.memory,
        }

    def _program(self) -> tuple[list[str], dict[str, str]]:
        env = {**BASE, **self.asked["env"]}
        if self.asked.get("code") is None:
            return self.asked["argv"], env
        with open(CODE, "w", encoding="utf-8", errors="surrogatepass") as file:
            file.write(self.asked["code"])
        return [sys.executable, CODE], {"PYTHONPATH": WORK, "PYTHONUNBUFFERED": "1", **env}

    def _fork(self, argv: list[str], env: dict[str, str], ends: tuple[int, int, int]) -> int:
        pid = os.fork()
        if pid:
            return pid
        try:
            os.setsid()
            for number, end in enumerate(ends):
                os.dup2(end, number)
            for number in (SIGPIPE, SIGXFSZ, SIGINT):
                LIBC.signal(number, SIG_DFL)
            os.chdir(WORK)
            self._limit()
            os.execvpe(argv[0], argv, env)  # noqa: S606  # nothing passes through a shell on purpose
        except BaseException as error:
            why = getattr(error, "strerror", None) or error
            os.write(2, f"{argv[0]}: {why}\n".encode(errors="replace"))
        finally:
            os._exit(127)

    def _limit(self) -> None:
        cpu = int(self.asked["cpu_s"]) + 1
        wanted = {
            resource.RLIMIT_CPU: cpu,
            resource.RLIMIT_AS: self.asked["process_memory"],
            resource.RLIMIT_FSIZE: self.asked["file"],
            resource.RLIMIT_NOFILE: self.asked["open_files"],
            resource.RLIMIT_NPROC: self.asked["processes"],
            resource.RLIMIT_CORE: 0,
            resource.RLIMIT_MEMLOCK: 65536,
            resource.RLIMIT_MSGQUEUE: 0,
            resource.RLIMIT_SIGPENDING: 1024,
        }
        for kind, value in wanted.items():
            hard = resource.getrlimit(kind)[1]
            value = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(kind, (value, value))

    def _attend(self) -> None:
        watched = select.poll()
        watched.register(self.peer.file, select.POLLIN)
        ended = os.pidfd_open(self.pid)
        watched.register(ended, select.POLLIN)
        for end in (self.out, self.err):
            watched.register(end, select.POLLIN)
        if self.stdin:
            watched.register(self.feed, select.POLLOUT)
        else:
            os.close(self.feed)
        looked = 0.0
        while True:
            ready = {number for number, _ in watched.poll(TICK_S * 1000)}
            if ended in ready:
                break
            self._serve(ready, watched)
            if time.monotonic() - looked >= TICK_S:
                self._look()
                looked = time.monotonic()
            if self.stopped:
                break
        self._end(ended)

    def _serve(self, ready: set[int], watched: select.poll) -> None:
        if self.peer.file in ready:
            self.peer.receive()  # nothing is said during a run but to end it
            os._exit(0)
        for end, name in ((self.out, "stdout"), (self.err, "stderr")):
            if end in ready and not self._forward(end, name):
                watched.unregister(end)
        if self.stdin and self.feed in ready:
            self._feed(watched)

    def _feed(self, watched: select.poll) -> None:
        try:
            self.stdin = self.stdin[os.write(self.feed, self.stdin[:CHUNK]) :]
        except BrokenPipeError:
            self.stdin = self.stdin[:0]
        if not self.stdin:
            watched.unregister(self.feed)
            os.close(self.feed)

    def _forward(self, end: int, name: str) -> bool:
        try:
            piece = os.read(end, CHUNK)
        except BlockingIOError:
            return True
        if piece and self.left > 0:
            self.peer.send({"stream": name}, piece[: self.left])
        self.left -= len(piece)
        if self.left < 0:
            self.stopped = self.stopped or "output"
        return bool(piece)

    def _look(self) -> None:
        asked, (cpu, memory) = self.asked, _used()
        if memory > asked["memory"]:
            memory = _used(exactly=True)[1]
        self.cpu_s = _children_cpu() - self.cpu_before + cpu
        self.memory = max(self.memory, memory)
        if time.monotonic() - self.began > asked["wall_s"]:
            self.stopped = "wall"
        elif self.cpu_s > asked["cpu_s"]:
            self.stopped = "cpu"
        elif memory > asked["memory"]:
            self.stopped = "memory"
        elif _inodes() > max(asked["files"], self.files_before):
            self.stopped = "files"

    def _end(self, ended: int) -> None:
        self._kill_all()
        for end, name in ((self.out, "stdout"), (self.err, "stderr")):
            while self.left > 0 and self._forward(end, name) and not _is_empty(end):
                pass
            os.close(end)
        os.close(ended)
        if self.stdin:
            os.close(self.feed)
        self.cpu_s = _children_cpu() - self.cpu_before
        if self.stopped is None and self.cpu_s > self.asked["cpu_s"]:
            self.stopped = "cpu"

    def _kill_all(self) -> None:
        while True:
            # From process 1 this is everybody else in here, and nobody outside.
            try:  # noqa: SIM105  # contextlib takes long to load
                os.kill(-1, SIGKILL)
            except ProcessLookupError:
                pass
            try:
                pid, status = os.waitpid(-1, 0)
            except ChildProcessError:
                return
            if pid == self.pid:
                self.code = os.waitstatus_to_exitcode(status)
                self.code = 128 - self.code if self.code < 0 else self.code


def _is_empty(end: int) -> bool:
    return not select.select([end], [], [], 0)[0]


def _children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def everybody() -> list[str]:
    """All other processes in here."""
    return [name for name in os.listdir("/proc") if name.isdigit() and name != "1"]


def _used(exactly: bool = False) -> tuple[float, int]:
    """CPU seconds and bytes of memory of all others in here."""
    cpu = memory = 0
    for name in everybody():
        try:
            cpu += _cpu_of(name)
            memory += _exact_memory_of(name) if exactly else _memory_of(name)
        except (OSError, IndexError, ValueError):
            continue  # it ended meanwhile
    return cpu / TICKS, memory


def _cpu_of(name: str) -> int:
    with open(f"/proc/{name}/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    return sum(map(int, fields[11:15]))


def _memory_of(name: str) -> int:
    with open(f"/proc/{name}/statm", "rb") as file:
        _, resident, shared = file.read().split()[:3]
    return (int(resident) - int(shared)) * PAGE


def _exact_memory_of(name: str) -> int:
    # Pages of a forked process are counted once, not once for each.
    try:
        with open(f"/proc/{name}/smaps_rollup", "rb") as file:
            lines = dict(line.split()[:2] for line in file.read().splitlines()[1:])
        return (int(lines[b"Pss_Anon:"]) + int(lines.get(b"Pss_Shmem:", 0))) * 1024
    except (PermissionError, KeyError):
        return _memory_of(name)


def _inodes() -> int:
    mounts = {os.stat(mount).st_dev: mount for mount in MOUNTS}
    filled = [os.statvfs(mount) for mount in mounts.values()]
    return sum(each.f_files - each.f_ffree for each in filled)


def _inside(path: str) -> str:
    """The real place of a path of the work directory. Nothing runs meanwhile that could exchange it."""
    place = os.path.realpath(os.path.join(WORK, path))
    if place != WORK and not place.startswith(WORK + "/"):
        raise Refused(f"{path} is not in the work directory")
    return place


def write(asked: Head, body: bytes) -> Answer:
    """Write a file."""
    place = _inside(asked["path"])
    os.makedirs(os.path.dirname(place), exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NONBLOCK | os.O_NOFOLLOW
    with os.fdopen(os.open(place, flags, 0o755 if asked["executable"] else 0o644), "wb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise Refused(f"{asked['path']} is not a file")
        file.write(body)
        os.fchmod(file.fileno(), 0o755 if asked["executable"] else 0o644)
    return {}, b""


def read(asked: Head, body: bytes) -> Answer:
    """Give a part of a file."""
    with os.fdopen(os.open(_inside(asked["path"]), os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW), "rb") as file:
        about = os.fstat(file.fileno())
        if not stat.S_ISREG(about.st_mode):
            raise Refused(f"{asked['path']} is not a file")
        file.seek(asked["start"])
        return {"size": about.st_size}, file.read(asked["limit"])


def entries(asked: Head, body: bytes) -> Answer:
    """List a directory and what is below."""
    top, found = _inside(asked["path"]), []
    if not os.path.isdir(top):
        raise Refused(f"{asked['path']} is not a directory")
    for directory, directories, files in os.walk(top):
        directories.sort()
        for name in sorted(directories + files):
            place = os.path.join(directory, name)
            about = os.lstat(place)
            size = about.st_size if stat.S_ISREG(about.st_mode) else 0
            shown = os.fsencode(os.path.relpath(place, WORK)).decode(errors="replace")
            found.append([shown, size, stat.S_ISDIR(about.st_mode)])
        if len(found) >= ENTRIES_MAX:
            break
    import json

    return {}, json.dumps(sorted(found[:ENTRIES_MAX])).encode()


def snapshot(asked: Head, body: bytes) -> Answer:
    """Give the work directory as an archive."""
    import io
    import tarfile

    held = os.statvfs(WORK)
    if (held.f_blocks - held.f_bfree) * held.f_frsize > asked["limit"]:
        return {"too_large": True}, b""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as archive:
        archive.add(WORK, arcname=".", filter=lambda member: None if member.isdev() else member)
    content = buffer.getvalue()
    return ({"too_large": True}, b"") if len(content) > asked["limit"] else ({}, content)


def restore(asked: Head, body: bytes) -> Answer:
    """Put an archive in place of the work directory."""
    import io
    import shutil
    import tarfile

    for name in os.listdir(WORK):
        place = os.path.join(WORK, name)
        if os.path.isdir(place) and not os.path.islink(place):
            shutil.rmtree(place)
        else:
            os.unlink(place)
    with tarfile.open(fileobj=io.BytesIO(body), mode="r:gz") as archive:
        archive.extractall(WORK)  # noqa: S202  # wherever its members lead to is in the sandbox, too
    return {}, b""


ASKED = {"write": write, "read": read, "entries": entries, "snapshot": snapshot, "restore": restore}


def answer(peer: Peer, asked: Head, body: bytes) -> Answer:
    """Do what is asked."""
    if asked["do"] == "run":
        return Run(peer, asked, body).carry_out(), b""
    try:
        return ASKED[asked["do"]](asked, body)
    except OSError as error:
        refusal = f"{asked.get('path', asked['do'])}: {error.strerror}"
        return {"refused": "the work directory is full" if error.errno == errno.ENOSPC else refusal}, b""
    except (Refused, ValueError) as error:
        return {"refused": str(error)}, b""


def main() -> None:
    """Do what is asked until nobody is left to ask."""
    peer = Peer(os.dup(0))
    null = os.open("/dev/null", os.O_RDWR)
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")
    if LIBC.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0):
        os._exit(3)  # else code in here could write into this process
    LIBC.signal(SIGINT, SIG_IGN)
    os.chdir("/")
    os.umask(0o022)
    for number in (0, 1, 2):
        os.dup2(null, number)
    peer.send({"ready": True, "pid": os.getpid(), "python": sys.version.split()[0]})
    while True:
        asked, body = peer.receive()
        head, content = answer(peer, asked, body)
        peer.send({"done": True, **head}, content)


main()
