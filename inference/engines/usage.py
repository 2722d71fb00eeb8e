"""What an engine takes of the machine now, and the end of its log: for a person who looks at one model."""

from __future__ import annotations

import contextlib
import csv
import subprocess
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

import psutil

from inference.child import TIME_STAMP, tail
from inference.engines.devices import MIB, SECONDS, nvidia_smi

MOMENT = 0.2
"""Seconds over which the work of processors is measured."""
LINES = 20
"""Of the log."""


def use_of(pid: int | None) -> dict[str, Any]:
    """RAM, processors and GPU memory of a process with all it started; nothing for what runs elsewhere.

    `ram_bytes` is resident memory, files that it maps included; `cores` how many it keeps busy now.
    """
    if pid is None:
        return {"processes": 0, "ram_bytes": 0, "cores": 0.0, "cpu_seconds": 0.0, "gpu_bytes": {}}
    family: list[psutil.Process] = []
    with contextlib.suppress(psutil.Error):
        first = psutil.Process(pid)
        family = [first, *first.children(recursive=True)]
    before = _cpu_seconds(family)
    time.sleep(MOMENT)
    after = _cpu_seconds(family)
    ram = 0
    for process in family:
        with contextlib.suppress(psutil.Error):
            ram += process.memory_info().rss
    return {
        "processes": len(family),
        "ram_bytes": ram,
        "cores": round(max(0.0, after - before) / MOMENT, 2),
        "cpu_seconds": round(after, 1),
        "gpu_bytes": gpu_bytes_in(_asked_of_driver(), {process.pid for process in family}),
    }


def gpu_bytes_in(text: str, pids: Collection[int]) -> dict[str, int]:
    """GPU → bytes that these processes hold on it, from nvidia-smi's list "pid, gpu_uuid, used_gpu_memory [MiB]"."""
    taken: dict[str, int] = {}
    for cells in csv.reader(text.splitlines(), skipinitialspace=True):
        with contextlib.suppress(ValueError, IndexError):
            if int(cells[0]) in pids:
                taken[cells[1]] = taken.get(cells[1], 0) + int(cells[2]) * MIB
    return taken


def log_lines(log: Path) -> list[str]:
    """The last lines of a log, without their time stamps."""
    lines = [line for line in tail(log).splitlines() if line.strip()]
    return [TIME_STAMP.sub("", line.rstrip())[:300] for line in lines[-LINES:]]


def _cpu_seconds(processes: list[psutil.Process]) -> float:
    total = 0.0
    for process in processes:
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            total += float(times.user + times.system)
    return total


def _asked_of_driver() -> str:
    program = nvidia_smi()
    if program is None:
        return ""
    argv = [program, "--query-compute-apps=pid,gpu_uuid,used_gpu_memory", "--format=csv,noheader,nounits"]
    try:
        return subprocess.run(argv, capture_output=True, text=True, timeout=SECONDS, check=False).stdout
    except (OSError, subprocess.SubprocessError):
        return ""
