"""How much disk space a run in tier B takes up, whatever it does to hide it.

Used by `inside.py`, which finds this file by its folder; standard library only. Counted are the files below the run's
folders, those in folders it has made unreadable, and those it has unlinked and still holds open or mapped.
"""

from __future__ import annotations

import os
import stat


def used(folders: list[str], processes: list[int], enough: int) -> int:
    """Bytes the folders and the processes' hidden files take up; stops counting once it is more than `enough`."""
    total = 0
    devices = set()
    for folder in folders:
        devices.add(os.lstat(folder).st_dev)
        total += below(folder, enough)
    return total + (unlinked(processes, devices) if total <= enough else 0)


def below(folder: str, enough: int) -> int:
    """Bytes on disk below `folder`; stops counting once it is more than `enough`."""
    total = 0
    stack = [folder]
    while stack and total <= enough:
        place = stack.pop()
        try:
            for known, path in _entries(place):
                total += known.st_blocks * 512 + 512
                if stat.S_ISDIR(known.st_mode):
                    stack.append(path)
        except FileNotFoundError:
            continue  # it vanished while we looked
        except PermissionError:
            return enough + 1  # it closed the folder again while we looked: nobody needs that
        except OSError:
            continue
    return total


def _entries(folder: str) -> list[tuple[os.stat_result, str]]:
    try:
        return _listed(folder)
    except PermissionError:
        handle = os.open(folder, os.O_PATH | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        mode = stat.S_IMODE(os.fstat(handle).st_mode)
        door = f"/proc/self/fd/{handle}"
        os.chmod(door, mode | 0o700)
        try:
            return _listed(folder)
        finally:
            os.chmod(door, mode)
    finally:
        os.close(handle)


def _listed(folder: str) -> list[tuple[os.stat_result, str]]:
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                found.append((entry.stat(follow_symlinks=False), entry.path))
            except FileNotFoundError:
                continue
    return found


def unlinked(processes: list[int], devices: set[int]) -> int:
    """Bytes of files without a name that these processes hold open or mapped, each counted once."""
    sizes: dict[tuple[int, int], int] = {}
    for pid in processes:
        try:
            names = os.listdir(f"/proc/{pid}/fd")
        except OSError:
            continue
        for name in names:
            try:
                known = os.stat(f"/proc/{pid}/fd/{name}")
            except OSError:
                continue
            if stat.S_ISREG(known.st_mode) and not known.st_nlink and known.st_dev in devices:
                sizes[known.st_dev, known.st_ino] = known.st_blocks * 512
        for key, size in _mapped(pid):
            if key[0] in devices:
                sizes[key] = max(size, sizes.get(key, 0))
    return sum(sizes.values())


def _mapped(pid: int) -> list[tuple[tuple[int, int], int]]:
    """(device, inode) and mapped length of the deleted files in a process's memory map."""
    found = []
    try:
        with open(f"/proc/{pid}/maps", "rb") as lines:
            for line in lines:
                if not line.endswith(b" (deleted)\n"):
                    continue
                span, _, offset, device, inode, *_ = line.split()
                start, end = (int(number, 16) for number in span.split(b"-"))
                major, minor = (int(number, 16) for number in device.split(b":"))
                found.append(((os.makedev(major, minor), int(inode)), int(offset, 16) + end - start))
    except (OSError, ValueError):
        return found
    return found
