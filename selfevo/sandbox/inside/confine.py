"""What a process gives up before it runs a stranger's program: namespaces, capabilities, system calls, resources.

Standard library only. Numbers are those of Linux's headers.
"""

from __future__ import annotations

import ctypes
import os
import resource
import struct

LIBC = ctypes.PyDLL(None, use_errno=True)  # keeps the interpreter's lock: a process that is born in a call holds it too
MACHINE = os.uname().machine
NEW_MOUNT, NEW_USER, NEW_PID, NEW_IPC, NEW_ANY = 0x00020000, 0x10000000, 0x20000000, 0x08000000, 0x7E020000
READ_ONLY, NO_SUID, NO_DEVICES = 1, 2, 4
SIGCHLD = 17
NO_NEW_PRIVS, SET_SECCOMP, SET_DUMPABLE, SUBREAPER, NICE = 38, 22, 4, 36, 5

ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
"""Column of the tables below, and the name that seccomp knows it by."""
CLONE, CLONE3, CAPSET = (56, 220), (435, 435), (126, 91)
DENIED = {
    # looking into other processes or changing them
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "pidfd_getfd": (438, 438),
    # namespaces and mounts
    "unshare": (272, 97), "setns": (308, 268), "mount": (165, 40), "fsopen": (430, 430), "open_tree": (428, 428),
    # memory that no limit counts
    "memfd_create": (319, 279), "memfd_secret": (447, 447), "shmget": (29, 194), "semget": (64, 190), "msgget": (68, 186),
    "mq_open": (240, 180), "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219),
    # large corners of the kernel
    "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282), "io_uring_setup": (425, 425),
}  # fmt: skip
KILL, DENY, ABSENT, ALLOW = 0x80000000, 0x00050001, 0x00050026, 0x7FFF0000
"""Ends the process; fails with EPERM; fails with ENOSYS, so that libc tries the older call; goes through."""
LOAD, EQUAL, AT_LEAST, ANY_BIT, END = 0x20, 0x15, 0x35, 0x45, 0x06


def supported() -> bool:
    """Whether the system calls of this architecture are known here."""
    return MACHINE in ARCHITECTURES


def seccomp_filter() -> bytes:
    """The filter as the kernel reads it: 8 bytes an instruction (code, jump if true, jump if false, operand)."""
    column, arch = ARCHITECTURES[MACHINE]
    ops = [(LOAD, 0, 0, 4), (EQUAL, 1, 0, arch), (END, 0, 0, KILL), (LOAD, 0, 0, 0), (AT_LEAST, 0, 1, 0x40000000), (END, 0, 0, DENY)]
    for number in DENIED.values():
        ops += [(EQUAL, 0, 1, number[column]), (END, 0, 0, DENY)]
    ops += [(EQUAL, 0, 1, CLONE3[column]), (END, 0, 0, ABSENT)]
    ops += [(EQUAL, 0, 3, CLONE[column]), (LOAD, 0, 0, 16), (ANY_BIT, 0, 1, NEW_ANY), (END, 0, 0, DENY), (END, 0, 0, ALLOW)]
    return b"".join(struct.pack("HBBI", *op) for op in ops)


def fork_apart(alone: bool) -> int:
    """As os.fork, the child being the first process of new user, mount, process and IPC namespaces.

    When it ends, the kernel kills everything in them. It sees no process outside, and signals that it sends itself do not end it.
    `alone`: this thread is the only one, so there are no locks and threads in the child to put right (a millisecond for Python); hooks of
    `os.register_at_fork` are not called either.
    """
    number = CLONE[ARCHITECTURES[MACHINE][0]]
    pid = LIBC.syscall(ctypes.c_long(number), ctypes.c_ulong(NEW_USER | NEW_MOUNT | NEW_PID | NEW_IPC | SIGCHLD), None, None, None, None)
    if pid < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"clone: {os.strerror(error)}")
    if pid == 0 and not alone:
        ctypes.pythonapi.PyOS_AfterFork_Child()
    return pid


def same_user(uid: int, gid: int) -> None:
    """In a new user namespace: be who one was, so that files can be written."""
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        file = os.open(f"/proc/self/{name}", os.O_WRONLY)  # Python's own files would be slower by half a millisecond
        os.write(file, text.encode())
        os.close(file)


class Program(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def own_files(megabytes: int) -> None:
    """In a new mount namespace: a /tmp and a /dev/shm of its own, of that size together, and no sight of processes."""
    half = max(1, megabytes << 19)
    for where, flags, data in (("/tmp", NO_SUID | NO_DEVICES, f"size={half},mode=1777"),
                               ("/dev/shm", NO_SUID | NO_DEVICES, f"size={half},mode=1777"),
                               ("/proc", NO_SUID | NO_DEVICES | READ_ONLY, "size=4096")):  # fmt: skip
        _must(LIBC.mount(b"tmpfs", where.encode(), b"tmpfs", ctypes.c_ulong(flags), data.encode()), f"mount {where}")


def lock(rules: bytes) -> None:
    """No capabilities, no new ones, nobody may look in, and the system calls that `rules` allow. For good, and for all descendants."""
    number = CAPSET[ARCHITECTURES[MACHINE][0]]
    _must(LIBC.syscall(ctypes.c_long(number), struct.pack("Ii", 0x20080522, 0), bytes(24)), "capset")
    _must(LIBC.prctl(SET_DUMPABLE, 0, 0, 0, 0), "prctl")
    _must(LIBC.prctl(NO_NEW_PRIVS, 1, 0, 0, 0), "prctl")
    program = Program(len(rules) // 8, rules)
    _must(LIBC.prctl(SET_SECCOMP, 2, ctypes.byref(program), 0, 0), "seccomp")


def bound(limits: dict[str, float], apart: bool) -> None:
    """Resource limits of one process, inherited by what it starts; hard ones, so that nothing raises them again.

    The number of processes is the user's: without a user namespace it would count everything that the user runs.
    """
    size, files = int(limits["memory"]) << 20, int(limits["files"]) << 20
    cpu = max(1, round(limits["cpu"] + 0.499))
    most = int(limits["processes"]) if apart else resource.getrlimit(resource.RLIMIT_NPROC)[1]
    for what, value in (
        (resource.RLIMIT_AS, size), (resource.RLIMIT_FSIZE, files), (resource.RLIMIT_CPU, cpu), (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 64), (resource.RLIMIT_NPROC, most), (resource.RLIMIT_MEMLOCK, 0),
    ):  # fmt: skip
        resource.setrlimit(what, (value, value + 1 if what == resource.RLIMIT_CPU else value))  # XCPU first, then KILL
    os.nice(NICE)


def adopt() -> None:
    """Orphans among this process's descendants become its children."""
    _must(LIBC.prctl(SUBREAPER, 1, 0, 0, 0), "prctl")


def _must(result: int, what: str) -> None:
    if result != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{what}: {os.strerror(error)}")
