"""Takes rights away from the calling process, for good, on Linux.

Two mechanisms of the kernel, neither of which needs a privilege:

- Landlock (Linux 5.13) says which files may be opened, and how;
- seccomp makes the system calls fail that reach beyond the process: sockets,
  new processes and programs, signals, other processes' memory, limits, modes
  and owners of files, mounts, namespaces.

This file imports nothing but the standard library: `jailed` runs it in a bare
interpreter.
"""

import contextlib
import ctypes
import os
import platform
import socket
import struct
from collections.abc import Iterator, Sequence

# The numbers of the calls that fail, by machine.
_DENIED = {
    "x86_64": (
        41, 57, 58, 59, 322,  # socket, fork, vfork, execve, execveat
        62, 200, 234, 129, 297,  # kill, tkill, tgkill, rt_(tg)sigqueueinfo
        101, 310, 311, 312,  # ptrace, process_vm_readv, _writev, kcmp
        76, 90, 91, 268,  # truncate, chmod, fchmod, fchmodat
        92, 93, 94, 260,  # chown, fchown, lchown, fchownat
        132, 235, 261, 280,  # utime, utimes, futimesat, utimensat
        188, 189, 190, 197, 198, 199,  # setxattr .. fremovexattr
        157, 160, 141,  # prctl, setrlimit, setpriority
        142, 144, 203, 314, 251,  # sched_set*, ioprio_set
        29, 30, 31, 64, 66, 68, 71, 240, 241,  # shm*, sem*, msg*, mq_*
        319, 272, 308, 165, 166, 155, 161,  # memfd_create, unshare .. chroot
        321, 298, 323,  # bpf, perf_event_open, userfaultfd
        248, 249, 250, 256, 279,  # keys, migrate_pages, move_pages
        303, 304,  # name_to_handle_at, open_by_handle_at
    ),
    "aarch64": (
        198, 221, 281,  # socket, execve, execveat
        129, 130, 131, 138, 240,  # kill .. rt_tgsigqueueinfo
        117, 270, 271, 272,  # ptrace, process_vm_readv, _writev, kcmp
        45, 52, 53, 54, 55, 88,  # truncate, fchmod .. fchown, utimensat
        5, 6, 7, 14, 15, 16,  # setxattr .. fremovexattr
        167, 164, 140,  # prctl, setrlimit, setpriority
        118, 119, 122, 274, 30,  # sched_set*, ioprio_set
        194, 195, 196, 190, 191, 186, 187, 180, 181,  # shm* .. mq_*
        279, 97, 268, 40, 39, 41, 51,  # memfd_create, unshare .. chroot
        280, 241, 282,  # bpf, perf_event_open, userfaultfd
        217, 218, 219, 238, 239,  # keys, migrate_pages, move_pages
        264, 265,  # name_to_handle_at, open_by_handle_at
    ),
}  # fmt: skip
# (call, argument, mask, value): fails if the masked argument is the value.
_THREAD = (0x10000, 0)  # clone: without CLONE_THREAD it makes a process
_EMPTY = (0x203, 0x200)  # open to read and truncate: Landlock 1, 2 let it pass
_SIGNALS = ((1, 0xFFFFFFFF, 8), (1, 0xFFFFFFFF, 10), (1, 0xFFFFFFFF, 15))
_OWNERS = ((1, 0xFFFFFFFF, 0x8901), (1, 0xFFFFFFFF, 0x8902))
_DENIED_IF = {
    "x86_64": (
        (56, 0, *_THREAD),
        (2, 1, *_EMPTY),
        (257, 2, *_EMPTY),
        *((72, *x) for x in _SIGNALS),  # fcntl: F_SETOWN, _SETSIG, _SETOWN_EX
        *((16, *x) for x in _OWNERS),  # ioctl: FIOSETOWN, SIOCSPGRP
    ),
    "aarch64": (
        (220, 0, *_THREAD),
        (56, 2, *_EMPTY),
        *((25, *x) for x in _SIGNALS),
        *((29, *x) for x in _OWNERS),
    ),
}
_PRLIMIT = {"x86_64": 302, "aarch64": 261}
_SECCOMP = {"x86_64": 317, "aarch64": 277}
_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
# The same on all machines: pidfd_send_signal and whatever came after it
# (io_uring, clone3, ...). Libraries take "no such call" for an old kernel.
_FIRST_UNKNOWN = 424
_ALLOW, _KILL = 0x7FFF0000, 0x80000000
_EPERM, _ENOSYS = 0x00050001, 0x00050026

# Rights of Landlock.
_EXECUTE, _WRITE, _READ, _LIST = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REMOVE_FILE, _MAKE_FILE, _TRUNCATE = 1 << 5, 1 << 8, 1 << 14
_LOOK = _EXECUTE | _READ | _LIST
_OF_FILES = _EXECUTE | _WRITE | _READ | _TRUNCATE | 1 << 15
_DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom", "/dev/random")


class Unavailable(RuntimeError):
  """The machine cannot lock a process in; the message says why."""


def lock(
    *, writable: str | None = None, readable: Sequence[str] | None = None
) -> None:
  """Locks this process in; call it from its only thread.

  Afterwards files can be made, changed and removed in the folder `writable`
  only, without folders inside it, and read below `readable` and `writable`
  only. There is no network, no new process, no other program, and no signal.
  Threads, memory and what is already open are not restricted.

  Args:
    writable: a folder; None means none.
    readable: files and folders, missing ones are skipped; None means all.

  Raises:
    Unavailable: if any of it cannot be had; some may be in force by then.
  """
  machine = platform.machine()
  if platform.system() != "Linux" or machine not in _DENIED:
    raise Unavailable(
        f"no jail for {platform.system()} on {machine}: it needs Linux on "
        f"{' or '.join(_DENIED)}"
    )
  libc = ctypes.CDLL(None, use_errno=True)
  # Without this a process of root could raise its limits again.
  header = struct.pack("<Ii", 0x20080522, 0)
  _check("capset", libc.capset(header, bytes(24)))
  _check("no_new_privs", libc.prctl(38, 1, 0, 0, 0))
  _restrict_files(libc, writable, readable)
  _restrict_calls(libc, machine)
  _probe()


def _check(what: str, result: int) -> int:
  if result < 0:
    reason = os.strerror(ctypes.get_errno())
    raise Unavailable(f"the kernel refuses {what}: {reason}")
  return result


def _restrict_files(
    libc: ctypes.CDLL, writable: str | None, readable: Sequence[str] | None
) -> None:
  version = libc.syscall(444, None, ctypes.c_size_t(0), 1)
  if version < 1:
    raise Unavailable("the kernel has no Landlock")
  handled = (1 << {1: 13, 2: 14, 3: 15, 4: 15}.get(version, 16)) - 1
  rights = handled if readable is not None else handled & ~_LOOK
  # TCP (version 4); abstract sockets and signals (version 6).
  fields = (rights, 3, 3)[: 1 if version < 4 else 2 if version < 6 else 3]
  attributes = struct.pack(f"<{len(fields)}Q", *fields)
  ruleset = _check(
      "Landlock",
      libc.syscall(444, attributes, ctypes.c_size_t(len(attributes)), 0),
  )
  rules = [(path, _LOOK) for path in readable or ()]
  rules += [(path, _READ | _WRITE | _TRUNCATE) for path in _DEVICES]
  if writable is not None:
    change = _WRITE | _TRUNCATE | _REMOVE_FILE | _MAKE_FILE
    rules.append((writable, _READ | _LIST | change))
  for path, access in rules:
    _allow(libc, ruleset, path, access & rights)
  restricted = libc.syscall(446, ruleset, 0)
  os.close(ruleset)
  _check("Landlock", restricted)


def _allow(libc: ctypes.CDLL, ruleset: int, path: str, access: int) -> None:
  with contextlib.suppress(FileNotFoundError):
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    if not os.path.isdir(path):
      access &= _OF_FILES
    if access:
      rule = struct.pack("<Qi", access, descriptor)
      result = libc.syscall(445, ruleset, 1, rule, 0)
      _check(f"a Landlock rule for {path}", result)
    os.close(descriptor)


def _restrict_calls(libc: ctypes.CDLL, machine: str) -> None:
  code = b"".join(_filter(machine))
  buffer = ctypes.create_string_buffer(code, len(code))
  address = ctypes.addressof(buffer)
  program = struct.pack("<HxxxxxxQ", len(code) // 8, address)
  # 1, 1: a filter, for all threads.
  result = libc.syscall(_SECCOMP[machine], 1, 1, program)
  if result > 0:
    raise Unavailable(f"seccomp cannot reach thread {result}")
  _check("seccomp", result)


def _filter(machine: str) -> Iterator[bytes]:
  """Instructions of classic BPF over (call, machine, .., six arguments)."""
  step = lambda code, k, yes=0, no=0: struct.pack("<HBBI", code, yes, no, k)
  load = lambda offset: step(0x20, offset)
  equal = lambda k, yes, no: step(0x15, k, yes, no)
  at_least = lambda k, yes, no: step(0x35, k, yes, no)
  mask, end = (lambda k: step(0x54, k)), (lambda k: step(0x06, k))
  argument = lambda i: 16 + 8 * i  # of its lower half

  yield load(4)
  yield equal(_ARCH[machine], 1, 0)
  yield end(_KILL)
  yield load(0)
  yield at_least(0x40000000, 0, 1)  # the other numbers of x86-64
  yield end(_KILL)
  yield at_least(_FIRST_UNKNOWN, 0, 1)
  yield end(_ENOSYS)
  for call in _DENIED[machine]:
    yield equal(call, 0, 1)
    yield end(_EPERM)
  for call, i, bits, value in _DENIED_IF[machine]:
    yield equal(call, 0, 5)
    yield load(argument(i))
    yield mask(bits)
    yield equal(value, 0, 1)
    yield end(_EPERM)
    yield load(0)
  # prlimit64 with new limits, a pointer that is not null in either half.
  yield equal(_PRLIMIT[machine], 0, 5)
  yield load(argument(2))
  yield equal(0, 0, 2)
  yield load(argument(2) + 4)
  yield equal(0, 1, 0)
  yield end(_EPERM)
  yield end(_ALLOW)


def _probe() -> None:
  """Tries what must fail: a wrong number above would otherwise go unseen."""
  with contextlib.suppress(OSError):
    socket.socket().close()
    raise Unavailable("a socket could be opened")
  with contextlib.suppress(OSError):
    child = os.fork()
    if child == 0:
      os._exit(0)
    os.waitpid(child, 0)
    raise Unavailable("a process could be started")
