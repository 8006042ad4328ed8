"""The system calls code in a sandbox may make: those ordinary programs need, listed. All others do not exist for it.

Left out on purpose: whatever makes namespaces, mounts, traces or reads other processes, loads into the kernel, or
holds memory no limit counts (memfd, System V segments). ENOSYS is what programs expect of an older kernel, so they fall
back.
"""

import errno
import os
from functools import cache
from typing import Any

_ALLOWED = """
accept accept4 access alarm arch_prctl bind brk capget capset chdir chmod chown clock_getres clock_gettime
clock_nanosleep close close_range connect copy_file_range creat dup dup2 dup3 epoll_create epoll_create1 epoll_ctl
epoll_pwait epoll_pwait2 epoll_wait eventfd eventfd2 execve execveat exit exit_group faccessat faccessat2 fadvise64
fallocate fchdir fchmod fchmodat fchown fchownat fcntl fdatasync fgetxattr flistxattr flock fork fstat fstatfs fsync
ftruncate futex futex_waitv futimesat get_robust_list get_thread_area getcpu getcwd getdents getdents64 getegid geteuid
getgid getgroups getitimer getpeername getpgid getpgrp getpid getppid getpriority getrandom getresgid getresuid
getrlimit getrusage getsid getsockname getsockopt gettid gettimeofday getuid getxattr inotify_add_watch inotify_init
inotify_init1 inotify_rm_watch ioctl kill lchown lgetxattr link linkat listen listxattr llistxattr lseek lstat madvise
membarrier mincore mkdir mkdirat mlock mlock2 mlockall mmap mprotect mremap msync munlock munlockall munmap nanosleep
newfstatat open openat openat2 pause pidfd_open pidfd_send_signal pipe pipe2 poll ppoll prctl pread64 preadv preadv2
prlimit64 pselect6 pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv recvfrom recvmmsg recvmsg rename
renameat renameat2 restart_syscall rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn
rt_sigsuspend rt_sigtimedwait rt_tgsigqueueinfo sched_get_priority_max sched_get_priority_min sched_getaffinity
sched_getattr sched_getparam sched_getscheduler sched_rr_get_interval sched_setaffinity sched_setparam
sched_setscheduler sched_yield select sendfile sendmmsg sendmsg sendto set_robust_list set_tid_address setgid setgroups
setitimer setpgid setpriority setregid setresgid setresuid setreuid setrlimit setsid setsockopt setuid shutdown
sigaltstack signalfd signalfd4 socketpair splice stat statfs statx symlink symlinkat sync sync_file_range
syncfs sysinfo tee tgkill time timer_create timer_delete timer_getoverrun timer_gettime timer_settime timerfd_create
timerfd_gettime timerfd_settime times tkill truncate umask uname unlink unlinkat utime utimensat utimes vfork vmsplice
wait4 waitid write writev
"""
#: UNIX, INET and INET6. Others are not parted by a network namespace (VSOCK), or have had holes.
_FAMILIES = (1, 2, 10)
_CLONE_NAMESPACES = 0x7E020080


@cache
def program() -> bytes:
    """Return the filter for this machine, as the kernel takes it.

    Raises:
        OSError: libseccomp is not installed; the message names the package.
    """
    try:
        import pyseccomp
    except (ImportError, RuntimeError, OSError) as error:
        raise OSError(errno.ENOENT, "libseccomp is not installed; install libseccomp2") from error
    return _exported(_rules(pyseccomp))


def _rules(seccomp: Any) -> Any:
    rules = seccomp.SyscallFilter(seccomp.ERRNO(errno.ENOSYS))
    for name in _ALLOWED.split():
        _allow(rules, seccomp, name)
    for family in _FAMILIES:
        _allow(rules, seccomp, "socket", seccomp.Arg(0, seccomp.EQ, family))
    _allow(rules, seccomp, "clone", seccomp.Arg(0, seccomp.MASKED_EQ, _CLONE_NAMESPACES, 0))
    return rules


def _allow(rules: Any, seccomp: Any, name: str, *arguments: Any) -> None:
    # Machines differ in calls: a name that is none here can't be made either.
    if seccomp.resolve_syscall(seccomp.Arch.NATIVE, name) >= 0:
        rules.add_rule(seccomp.ALLOW, name, *arguments)


def _exported(rules: Any) -> bytes:
    with os.fdopen(os.memfd_create("filter"), "w+b") as file:
        rules.export_bpf(file)
        file.seek(0)
        return file.read()
