"""The program that watches over one sandboxed command. It runs by path, alone, with the standard library only.

In tier A it is process 1 of the sandbox: nothing inside can stop it, and when it ends the kernel ends everything else.
In tier B it stands outside the confinement as the reaper of everything the command starts. Its order of work::

    copy the tree in → start the command → watch → kill whatever is left → hand back the files asked for → end

It takes orders on one pipe (`k` means stop now and report; end of file means the host is gone) and reports on another,
in records of one header line each::

    begun                      the copy is made and the command started
    limit NAME                 a limit ended the run
    exit CODE                  the command's exit status; 128+N when signal N ended it
    file INDEX SIZE            followed by SIZE bytes
    error TEXT                 the run could not be made
    end

Modules are imported where they are needed: starting this program is half of what a short run costs.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import stat
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FILE_LIMIT = 8 * 1024 * 1024
POLL_SECONDS = 0.05
PAGE = os.sysconf("SC_PAGESIZE")


class Order:
    """What the host asks for, read from the command line: `name=value` words, then `--`, then the command."""

    def __init__(self, words: list[str]) -> None:
        split = words.index("--")
        self.argv = words[split + 1 :]
        given: dict[str, list[str]] = {}
        for word in words[:split]:
            name, _, value = word.partition("=")
            given.setdefault(name, []).append(value)
        self.tree = given["tree"][0]
        self.work = given["work"][0]
        self.scratch = [self.work, *given.get("scratch", [])]
        self.orders = int(given["orders"][0])
        self.reports = int(given["reports"][0])
        self.disk = int(given["disk_mb"][0]) << 20
        self.cpu = int(given["cpu"][0])
        self.memory = int(given["memory_mb"][0]) << 20
        self.processes = int(given["processes"][0])
        self.fetch = given.get("fetch", [])
        self.confine = given.get("confine", [""])[0]


class Reports:
    """The pipe to the host."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def say(self, line: str, payload: bytes = b"") -> None:
        data = memoryview(line.encode("utf-8", "replace").replace(b"\n", b" ") + b"\n" + payload)
        while data:
            data = data[os.write(self.descriptor, data) :]


class Full(Exception):
    """The tree is bigger than the disk the run may use."""


def copy_tree(source: str, target: str) -> None:
    """Copy files, folders and links as they are; sockets, pipes and devices are left out. No link is followed."""
    stack = [(source, target)]
    try:
        while stack:
            here, there = stack.pop()
            with os.scandir(here) as entries:
                for entry in entries:
                    made = os.path.join(there, entry.name)
                    if entry.is_symlink():
                        os.symlink(os.readlink(entry.path), made)
                    elif entry.is_dir(follow_symlinks=False):
                        os.makedirs(made, exist_ok=True)
                        stack.append((entry.path, made))
                    elif entry.is_file(follow_symlinks=False):
                        _copy_file(entry.path, made)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise Full from error
        raise


def _copy_file(source: str, target: str) -> None:
    read = os.open(source, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        known = os.fstat(read)
        write = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, (known.st_mode & 0o777) | 0o600)
        try:
            left = known.st_size
            while left:
                sent = os.sendfile(write, read, None, left)
                if not sent:
                    break
                left -= sent
            os.utime(write, ns=(known.st_atime_ns, known.st_mtime_ns))
        finally:
            os.close(write)
    finally:
        os.close(read)


def start(order: Order) -> int:
    """Fork the command; returns its process id. Only the three standard streams reach it."""
    pid = os.fork()
    if pid:
        return pid
    try:
        _become(order)
    except BaseException as error:  # noqa: BLE001  the last thing this process does, whatever went wrong
        os.write(2, f"sandbox: cannot start {order.argv[0]!r}: {error}\n".encode("utf-8", "replace"))
    os._exit(127 if order.argv else 126)


def _become(order: Order) -> None:
    import resource

    os.setsid()
    os.chdir(order.work)
    with open("/proc/self/oom_score_adj", "w") as adjust:
        adjust.write("1000")
    pairs = [
        (resource.RLIMIT_CORE, 0, 0),
        (resource.RLIMIT_CPU, order.cpu, order.cpu + 1),
        (resource.RLIMIT_FSIZE, order.disk, order.disk),
        (resource.RLIMIT_NOFILE, 1024, 4096),
    ]
    if order.memory:
        pairs.append((resource.RLIMIT_AS, order.memory, order.memory))
    if order.processes and not order.confine:
        pairs.append((resource.RLIMIT_NPROC, order.processes, order.processes))
    for which, soft, hard in pairs:
        top = resource.getrlimit(which)[1]
        if top != resource.RLIM_INFINITY:
            soft, hard = min(soft, top), min(hard, top)
        resource.setrlimit(which, (soft, hard))
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores these; a command expects the defaults
        signal.signal(number, signal.SIG_DFL)
    os.closerange(3, 1 << 16) if not order.confine else _confine(order)
    os.execvpe(order.argv[0], order.argv, dict(os.environ))


def _confine(order: Order) -> None:
    """Tier B: shut this process in."""
    _beside("confine").enter(order.confine, order.processes)


def _beside(name: str) -> Any:
    """A module that lies beside this file and needs the standard library only; tier B alone has use for any."""
    import importlib

    folder = os.path.dirname(os.path.abspath(__file__))
    if folder not in sys.path:
        sys.path.insert(0, folder)
    return importlib.import_module(name)


def watch(order: Order, pid: int) -> tuple[str, int | None]:
    """Wait for the command's end, a limit or an order. Returns (limit or "stopped" or "", wait status or None)."""
    handle = os.pidfd_open(pid)
    poller = select.poll()
    poller.register(handle, select.POLLIN)
    poller.register(order.orders, select.POLLIN)
    while True:
        ready = {descriptor for descriptor, _ in poller.poll(POLL_SECONDS * 1000)}
        if order.orders in ready and os.read(order.orders, 1) != b"k":
            return "gone", None
        if order.orders in ready:
            return "stopped", None
        used = _disk_used(order)
        full = used > order.disk
        if handle in ready:
            return ("disk" if full else ""), os.waitpid(pid, 0)[1]
        if full:
            return "disk", None
        over = _over_counted(order, used)
        if over:
            return over, None
        _reap(pid)


def _reap(but: int) -> None:
    """Take in orphans that have ended, and leave the command itself to `watch`."""
    while True:
        try:
            done = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if done is None or done.si_pid == but:
            return
        os.waitpid(done.si_pid, os.WNOHANG)


def _disk_used(order: Order) -> int:
    """Bytes the run takes up; more than the limit as soon as any of its places is full."""
    if order.confine:
        return int(_beside("weigh").used(order.scratch, descendants(), order.disk))
    used = 0
    for place in order.scratch:
        known = os.statvfs(place)
        if not known.f_bavail or not known.f_favail:
            return order.disk + 1
        used += (known.f_blocks - known.f_bfree) * known.f_frsize
    return used


def _over_counted(order: Order, stored: int) -> str:
    """Where no control group does it: add up the memory and the threads of everything running inside."""
    if not order.memory and not order.processes:
        return ""
    inside = descendants()
    threads = 0
    for pid in inside:
        try:
            threads += len(os.listdir(f"/proc/{pid}/task"))
        except OSError:
            continue
    if order.processes and threads >= order.processes:
        return "processes"
    room = order.memory - (0 if order.confine else stored)
    if order.memory and sum(map(_resident, inside)) > room and sum(map(_share, inside)) > room:
        return "memory"
    return ""


def _resident(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/statm") as known:
            return int(known.read().split()[1]) * PAGE
    except (OSError, IndexError):
        return 0


def _share(pid: int) -> int:
    """The process's memory with shared pages divided among their users: exact, but slow to ask for."""
    try:
        with open(f"/proc/{pid}/smaps_rollup") as known:
            return sum(int(line.split()[1]) << 10 for line in known if line.startswith("Pss:"))
    except OSError:
        return _resident(pid)


def descendants() -> list[int]:
    """Every process below this one. In tier A that is everything but ourselves."""
    parents: dict[int, int] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as known:
                    parents[int(name)] = int(known.read().rpartition(b")")[2].split()[1])
            except (OSError, IndexError):
                continue
    below, fresh = set[int](), {os.getpid()}
    while fresh:
        fresh = {pid for pid, parent in parents.items() if parent in fresh} - below
        below |= fresh
    return sorted(below)


def kill_all() -> None:
    """Leave no process behind. As process 1 one call reaches them all; else stop them first, so none can multiply."""
    if os.getpid() == 1:
        try:
            os.kill(-1, signal.SIGKILL)
        except ProcessLookupError:
            return
    while True:
        if os.getpid() != 1:
            for number in (signal.SIGSTOP, signal.SIGKILL):
                for pid in descendants():
                    try:
                        os.kill(pid, number)
                    except ProcessLookupError:
                        continue
        try:
            while os.waitpid(-1, 0 if os.getpid() == 1 else os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return


def read_file(root: str, name: str) -> bytes | None:
    """A regular file below `root`, or None. No link is followed, at no level; a pipe cannot make us wait."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    parts = name.split("/")
    if any(part in ("", ".", "..") for part in parts):
        return None
    here = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for part in parts[:-1]:
            inner = os.open(part, flags | os.O_DIRECTORY, dir_fd=here)
            os.close(here)
            here = inner
        found = os.open(parts[-1], flags, dir_fd=here)
    except OSError:
        return None
    finally:
        os.close(here)
    try:
        known = os.fstat(found)
        if not stat.S_ISREG(known.st_mode) or known.st_size > FILE_LIMIT:
            return None
        with os.fdopen(os.dup(found), "rb") as handle:
            data = handle.read(FILE_LIMIT + 1)
        return data if len(data) <= FILE_LIMIT else None
    except OSError:
        return None
    finally:
        os.close(found)


def report(order: Order, reports: Reports, limit: str, status: int | None) -> None:
    """Tell the host how it ended and hand back the files it asked for."""
    if status is not None:
        code = os.waitstatus_to_exitcode(status)
        if code == -signal.SIGXCPU or code == 128 + signal.SIGXCPU:
            limit = "time"
        if code == -signal.SIGXFSZ or code == 128 + signal.SIGXFSZ:
            limit = "disk"
        reports.say(f"exit {code if code >= 0 else 128 - code}")
    if limit and limit != "stopped":
        reports.say(f"limit {limit}")
    for index, name in enumerate(order.fetch):
        data = read_file(order.work, name)
        if data is not None:
            reports.say(f"file {index} {len(data)}", data)
    reports.say("end")


def become_reaper() -> None:
    """Tier B: orphans of the command come to us instead of the machine's first process."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(36, 1, 0, 0, 0):  # PR_SET_CHILD_SUBREAPER
        raise OSError(ctypes.get_errno(), "cannot become the reaper of what the command starts")


def main() -> None:
    """One run."""
    order = Order(sys.argv[1:])
    reports = Reports(order.reports)
    for descriptor in (order.orders, order.reports):
        os.set_inheritable(descriptor, False)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    if order.confine:
        become_reaper()
    try:
        copy_tree(order.tree, order.work)
    except Full:
        reports.say("error the repository is bigger than the disk space one run may use")
        reports.say("limit disk")
        return reports.say("end")
    except OSError as error:
        reports.say(f"error cannot copy the repository: {error}")
        return reports.say("end")
    pid = start(order)
    for stream in (0, 1, 2):
        os.close(stream)  # the host sees the end of output when the command's own processes are gone
    reports.say("begun")
    limit, status = watch(order, pid)
    kill_all()
    if limit != "gone":
        report(order, reports, limit, status)
    return None


if __name__ == "__main__":
    try:
        main()
    except BrokenPipeError:
        os._exit(1)  # the host is gone; as process 1 our end is everybody's end
