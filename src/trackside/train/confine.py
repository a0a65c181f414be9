"""Started by path as a program of its own: runs one command so that nothing of it outlives it or writes elsewhere.

Usage: python -I confine.py '{"write": [folders] or null, "hide": [], "read": [], "grace": seconds}' program argument…

- Orphans of the command become children of this process (PR_SET_CHILD_SUBREAPER), which kills and reaps them all
  before it ends: no background process of a pull request is left when the next step gets credentials.
- Where the kernel has Landlock, the command may write only below the given folders, and neither signal nor read the
  memory or environment of processes outside. It cannot change the toolkit, the runner's command files or HOME.
  Below the folders of `hide` it may read nothing but what is in `read` or `write`.
- If whoever started this dies, the command is stopped.

Only the standard library is imported, and no module of the toolkit.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import sys
import time
from pathlib import Path

_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS, _PR_SET_CHILD_SUBREAPER = 1, 38, 36
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
# linux/landlock.h: WRITE_FILE 1<<1, REMOVE_DIR 1<<4 to MAKE_SYM 1<<12, REFER 1<<13 (version 2), TRUNCATE 1<<14 (3).
# READ_FILE 1<<2, READ_DIR 1<<3.
_WRITE_FILE, _REFER, _TRUNCATE = 1 << 1, 1 << 13, 1 << 14
_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
_CHANGES = _WRITE_FILE | sum(1 << bit for bit in range(4, 13))
_SCOPES = 0b11
"""Abstract sockets and signals (version 6)."""
_PR_CAPBSET_DROP = 24
_KEPT_CAPABILITIES = (0, 1, 2, 3, 4, 6, 7, 10)
"""Of root's: owners and modes of files, changing to another user, low ports. Others could read foreign memory."""

_libc = ctypes.CDLL(None, use_errno=True)


class _Ruleset(ctypes.Structure):
    _fields_ = [("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64)]


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = [("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32)]


def landlock_version() -> int:
    """Version of the kernel's Landlock; 0 where there is none."""
    return max(0, int(_libc.syscall(_CREATE_RULESET, None, 0, 1)))


def beside(hidden: list[str]) -> list[str]:
    """All that there is, as few folders and files as will do, but for `hidden`. A link is what it leads to."""
    found: list[str] = []
    ways = ["/"]
    while ways:
        with contextlib.suppress(OSError), os.scandir(ways.pop()) as entries:
            for entry in entries:
                if entry.is_symlink() or entry.path in hidden:
                    continue
                above = any(one.startswith(f"{entry.path}/") for one in hidden)
                (ways if above else found).append(entry.path)
    return found


def restrict(folders: list[str], hide: list[str], read: list[str]) -> bool:
    """Let this process and its children write below `folders` and to devices only, and read below `hide` only what is
    in `folders` or `read`. False without Landlock.
    """
    version = landlock_version()
    if version == 0:
        return False
    handled = _CHANGES | (_REFER if version >= 2 else 0) | (_TRUNCATE if version >= 3 else 0)
    reads = (_READ_FILE | _READ_DIR) if hide else 0
    handled |= reads
    rules = _Ruleset(fs=handled, net=0, scoped=_SCOPES if version >= 6 else 0)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    ruleset = int(_libc.syscall(_CREATE_RULESET, ctypes.byref(rules), size, 0))
    if ruleset < 0:
        return False
    devices = _WRITE_FILE | (_TRUNCATE if version >= 3 else 0)
    places = [*((folder, handled) for folder in folders), ("/dev", devices), ("/dev/shm", handled)]  # noqa: S108 - no file of ours
    if hide:
        inside = [
            one for one in map(os.path.realpath, read) if not any(f"{way}/".startswith(f"{one}/") for way in hide)
        ]
        places += [(one, reads) for one in (*beside(hide), *inside)]
    for folder, allowed in places:
        with contextlib.suppress(OSError):
            place = os.open(folder, os.O_PATH | os.O_CLOEXEC)
            if not os.path.isdir(folder):  # noqa: PTH112 - a plain string
                allowed &= _WRITE_FILE | _READ_FILE | _TRUNCATE
            _libc.syscall(_ADD_RULE, ruleset, 1, ctypes.byref(_Beneath(allowed=allowed, parent=place)), 0)
            os.close(place)
    _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    done = int(_libc.syscall(_RESTRICT_SELF, ruleset, 0)) == 0
    os.close(ruleset)
    return done


def drop_capabilities() -> None:
    """As root: what is started next can no longer look into other processes, load modules or change the machine."""
    for number in range(64):
        if number not in _KEPT_CAPABILITIES:
            _libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0)


def descendants(pid: int) -> list[int]:
    """All processes below `pid`, parents first."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError, ValueError):
                stat = (entry / "stat").read_bytes()
                parents.setdefault(int(stat[stat.rindex(b")") + 2 :].split()[1]), []).append(int(entry.name))
    found = list(parents.get(pid, ()))
    for one in found:
        found += parents.get(one, ())
    return found


def sweep(seconds: float = 10.0) -> None:
    """Kill and reap every descendant, again and again until none is left (a fork may outrun one pass)."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for pid in descendants(os.getpid()):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.01)


def _wait(child: int, grace: float) -> int:
    """Exit status of `child`; after SIGTERM it gets `grace` seconds."""
    deadline = [0.0]

    def ask(_number: int, _frame: object) -> None:
        deadline[0] = deadline[0] or time.monotonic() + grace
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGTERM)

    signal.signal(signal.SIGTERM, ask)
    signal.signal(signal.SIGINT, ask)
    while True:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == child:
            return status
        if pid == 0:
            if deadline[0] and time.monotonic() > deadline[0]:
                os.kill(child, signal.SIGKILL)
                deadline[0] = float("inf")
            time.sleep(0.05)


def main(words: list[str]) -> int:
    """Run the command; 128 + n when signal n ended it, 127 when it cannot be started."""
    options = json.loads(words[0])
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    child = os.fork()
    if child == 0:
        try:
            if options["write"] is not None:
                drop_capabilities()
                restrict(options["write"], options["hide"], options["read"])
            os.execvp(words[1], words[1:])  # noqa: S606 - no shell is what is wanted
        except OSError as error:
            sys.stderr.write(f"{words[1]}: {error.strerror}\n")
        os._exit(127)
    status = _wait(child, float(options["grace"]))
    sweep()
    return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
