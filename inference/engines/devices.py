"""Where models can lie: RAM and GPUs, and how much of each is free. Reading them is apart from understanding it."""

from __future__ import annotations

import contextlib
import csv
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

import psutil

MIB = 1 << 20
COLUMNS = ("index", "uuid", "name", "memory.total", "memory.used", "memory.free", "utilization.gpu")
SECONDS = 10.0
"""nvidia-smi takes a second or two where no driver daemon keeps the GPUs awake."""


@dataclass(frozen=True)
class Gpu:
    """One GPU; bytes."""

    index: int
    uuid: str
    name: str
    total: int
    free: int
    busy: int = 0
    """Percent of the last moment in which it computed."""


@dataclass(frozen=True)
class Room:
    """What there is to put models into; bytes."""

    ram: int
    """Free, or to be had back from file caches."""
    ram_total: int
    gpus: tuple[Gpu, ...] = ()


def gpus_in(text: str) -> tuple[Gpu, ...]:
    """The GPUs in the answer of `nvidia-smi --query-gpu=COLUMNS --format=csv,noheader,nounits`.

    A line that does not give a GPU's number and memory is left out: what is not known to be there is not used.
    """
    found = []
    for cells in csv.reader(text.splitlines(), skipinitialspace=True):
        row = dict(zip(COLUMNS, (cell.strip() for cell in cells), strict=False))
        with contextlib.suppress(ValueError, KeyError):
            found.append(
                Gpu(
                    int(row["index"]),
                    row["uuid"],
                    row["name"],
                    int(row["memory.total"]) * MIB,
                    int(row["memory.free"]) * MIB,
                    int(row["utilization.gpu"]) if row["utilization.gpu"].isdigit() else 0,
                )
            )
    return tuple(found)


def nvidia_smi() -> str | None:
    """The driver's own program; None where there is no driver."""
    return shutil.which("nvidia-smi", path="/usr/bin:/usr/local/bin:/usr/local/nvidia/bin:/bin")


def read_gpus() -> tuple[Gpu, ...]:
    """The GPUs of this machine; none without a driver, or when it does not answer."""
    program = nvidia_smi()
    if program is None:
        return ()
    argv = [program, f"--query-gpu={','.join(COLUMNS)}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=SECONDS, check=False)
    except (OSError, subprocess.SubprocessError):
        return ()
    return gpus_in(done.stdout) if done.returncode == 0 else ()


def read_room() -> Room:
    """What is free now."""
    memory = psutil.virtual_memory()
    return Room(memory.available, memory.total, read_gpus())


def gpus_seen(numbers: Sequence[int]) -> dict[str, str]:
    """The environment of a program that is to use these GPUs alone, by nvidia-smi's numbers; none for no GPU."""
    # CUDA counts by speed unless told otherwise, and would pick others than those that were measured.
    return {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": ",".join(map(str, numbers))}


def private_bytes(pid: int | None) -> int:
    """RAM that a process and its children have for themselves, files they map left out; 0 for none."""
    if pid is None:
        return 0
    total = 0
    with contextlib.suppress(psutil.Error):
        first = psutil.Process(pid)
        for process in [first, *first.children(recursive=True)]:
            with contextlib.suppress(psutil.Error):
                memory = process.memory_info()
                total += max(0, memory.rss - memory.shared)
    return total
