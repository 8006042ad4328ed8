"""Goes into a sandbox where bubblewrap is missing: namespaces, a root of its own, Landlock, a filter of system calls.

Like the program inside it is handed over as text and needs the standard library only. What it is to do comes as JSON.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import signal
import socket
import struct
import sys

TYPE_CHECKING = False  # loading typing would take longer than all the rest
if TYPE_CHECKING:
    from typing import Any

LIBC = ctypes.CDLL(None, use_errno=True)
# User, mounts, processes, network, IPC, names, cgroups.
NAMESPACES = 0x10000000 | 0x00020000 | 0x20000000 | 0x40000000 | 0x08000000 | 0x04000000 | 0x02000000
NOBODY = 65534
RDONLY, NOSUID, NODEV, NOEXEC, REMOUNT, BIND, REC, PRIVATE = 1, 2, 4, 8, 32, 4096, 16384, 1 << 18
DETACH = 2
PR_SET_PDEATHSIG, PR_SET_SECCOMP, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 1, 22, 24, 38
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
#: Landlock's rights by the version of its interface that brought them: to read, to fill files there are, and all.
READ = 1 | 4 | 8
FILL = 2 | 1 << 14
RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
ROOT = "/tmp"  # noqa: S108  # any directory there surely is; it is covered in this namespace only
DEVICES = ("null", "zero", "full", "random", "urandom")


def check(result: int, what: str) -> int:
    """Return the result of a call, or end with what failed."""
    if result < 0:
        sys.exit(f"{what}: {os.strerror(ctypes.get_errno())}")
    return result


def mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    """Mount, or end."""
    given = (source.encode(), target.encode(), kind.encode() or None, ctypes.c_ulong(flags), data.encode() or None)
    check(LIBC.mount(*given), f"mount {target}")


def show(source: str, place: str) -> None:
    """Show a file or directory of the machine, read-only."""
    target = ROOT + place
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))
    mount(source, target, "", BIND | REC)
    # What the original mount forbids may not be allowed again; only these can't be told from its flags' names.
    kept = os.statvfs(target).f_flag & (NOSUID | NODEV | NOEXEC)
    mount("none", target, "", REMOUNT | BIND | RDONLY | NOSUID | NODEV | kept)


def memory(place: str, size: int, files: int) -> None:
    """Make a directory in memory, of a size."""
    os.makedirs(ROOT + place, exist_ok=True)
    mount("tmpfs", ROOT + place, "tmpfs", NOSUID | NODEV, f"size={size},nr_inodes={files},mode=755")


def build(asked: dict[str, Any]) -> None:
    """Make a root of its own and enter it."""
    mount("none", "/", "", REC | PRIVATE)
    mount("tmpfs", ROOT, "tmpfs", NOSUID | NODEV, "size=1m,nr_inodes=2000,mode=755")
    for link, target in asked["links"].items():
        os.symlink(target, ROOT + link)
    for place, source in asked["shown"].items():
        show(source, place)
    memory("/dev", 1 << 20, 200)
    for name in DEVICES:
        os.close(os.open(f"{ROOT}/dev/{name}", os.O_CREAT, 0o644))
        mount(f"/dev/{name}", f"{ROOT}/dev/{name}", "", BIND)
    os.symlink("/proc/self/fd", f"{ROOT}/dev/fd")
    for place, size in asked["memory"].items():
        memory(place, size, asked["files"])
    os.mkdir(f"{ROOT}/proc")
    mount("proc", f"{ROOT}/proc", "proc", NOSUID | NODEV | NOEXEC)
    os.chdir(ROOT)
    check(LIBC.pivot_root(b".", b"."), "pivot_root")
    check(LIBC.umount2(b".", DETACH), "umount")
    os.chdir("/")
    for place in ("/dev", "/"):
        mount("none", place, "", REMOUNT | BIND | RDONLY | NOSUID | NODEV)


def landlock(writable: list[str]) -> None:
    """Allow reading everywhere and writing in some directories; without Landlock the mounts alone decide."""
    version = LIBC.syscall(CREATE_RULESET, None, 0, 1)
    if version < 1:
        return
    rights = RIGHTS[max(known for known in RIGHTS if known <= version)]
    fill = READ | FILL & rights
    told = struct.pack("=Q", rights)
    ruleset = check(LIBC.syscall(CREATE_RULESET, told, len(told), 0), "landlock")
    for place, allowed in [("/", READ), ("/dev", fill), ("/proc", fill), *((each, rights) for each in writable)]:
        directory = os.open(place, os.O_PATH)
        rule = struct.pack("=Qi", allowed, directory)
        check(LIBC.syscall(ADD_RULE, ruleset, 1, rule, 0), "landlock")
        os.close(directory)
    check(LIBC.syscall(RESTRICT_SELF, ruleset, 0), "landlock")
    os.close(ruleset)


def forbid(filtered: int) -> None:
    """Take away capabilities for good, and all system calls but those of the filter."""
    for capability in range(64):
        LIBC.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
    with os.fdopen(filtered, "rb") as file:
        program = file.read()
    held = ctypes.create_string_buffer(program, len(program))
    told = struct.pack("@HP", len(program) // 8, ctypes.addressof(held))
    check(LIBC.prctl(PR_SET_SECCOMP, 2, told, 0, 0), "seccomp")


def loopback() -> None:
    """Bring up the network of its own, which leads nowhere."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sH22x", b"lo", 0x41))


def identity() -> None:
    """Be nobody inside, and whoever this is outside."""
    user, group = os.getuid(), os.getgid()
    check(LIBC.unshare(NAMESPACES), "namespaces")
    for file, text in (("setgroups", "deny"), ("uid_map", f"{NOBODY} {user} 1"), ("gid_map", f"{NOBODY} {group} 1")):
        with open(f"/proc/self/{file}", "w") as told:
            told.write(text)


def main(asked: dict[str, Any]) -> None:
    """Enter, and run what is inside as process 1."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    identity()
    child = os.fork()
    if child:
        os.write(asked["telling"], json.dumps({"child-pid": child}).encode())
        os.close(0)
        os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) & 255)
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    os.close(asked["telling"])
    socket.sethostname("umbel-sandbox")
    loopback()
    build(asked)
    check(LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no new privileges")
    landlock(list(asked["memory"]))
    forbid(asked["filter"])
    os.execve(asked["inside"][0], asked["inside"], {})  # noqa: S606  # nothing passes through a shell on purpose


main(json.loads(sys.argv[1]))
