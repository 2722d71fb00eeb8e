"""Gauges of what runs beside the gateway: engines, the calls in line for them, memory and GPUs. Read when asked."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

NAMES = {
    "engine_state": ("1 for the state each loaded model is in", ("model", "state")),
    "engine_restarts": ("starts of a model's engine after the first", ("model",)),
    "engine_memory_bytes": ("memory given out to a model, in RAM or on a GPU", ("model", "where")),
    "engine_line": ("calls in line for a model: it is not loaded, or others have their turn", ("model",)),
    "ram_free_bytes": ("RAM that is free or can be had back from file caches", ()),
    "gpu_memory_total_bytes": ("memory of a GPU", ("gpu", "name")),
    "gpu_memory_free_bytes": ("free memory of a GPU", ("gpu", "name")),
    "gpu_busy_percent": ("share of the last moment in which a GPU computed", ("gpu", "name")),
}
"""Name after `appliance_` → meaning and labels."""
Sample = tuple[str, tuple[str, ...], float]


class Machine(Collector):
    """The engines process publishes two files; what cannot be read gives no samples."""

    def __init__(self, rows: Path, devices: Path, waiting: Callable[[], Mapping[str, int]]) -> None:
        self._rows = rows
        self._devices = devices
        self._waiting = waiting

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """One family each, with a sample for each model or GPU there is."""
        families = {
            name: GaugeMetricFamily(f"appliance_{name}", text, labels=labels) for name, (text, labels) in NAMES.items()
        }
        samples = [("engine_line", (model,), float(count)) for model, count in self._waiting().items()]
        for name, labels, value in [*samples, *of_rows(_read(self._rows)), *of_devices(_read(self._devices))]:
            families[name].add_metric(labels, value)
        yield from families.values()


def of_rows(rows: Any) -> list[Sample]:
    """Samples of the engines, from `run/engines.json`."""
    found: list[Sample] = []
    for row in rows if isinstance(rows, list) else ():
        model = str(row["model"])
        found.append(("engine_state", (model, str(row["state"])), 1.0))
        found.append(("engine_restarts", (model,), float(row["restarts"])))
        if taken := row.get("ram_bytes"):
            found.append(("engine_memory_bytes", (model, "ram"), float(taken)))
        gpus = row.get("gpu_bytes") or {}  # a row of an older version says nothing of memory
        found += [("engine_memory_bytes", (model, f"gpu{n}"), float(taken)) for n, taken in gpus.items()]
    return found


def of_devices(devices: Any) -> list[Sample]:
    """Samples of memory and GPUs, from `run/devices.json`."""
    if not isinstance(devices, dict):
        return []
    found: list[Sample] = [("ram_free_bytes", (), float(devices["ram"]))]
    for gpu in devices["gpus"]:
        labels = (str(gpu["index"]), str(gpu["name"]))
        found.append(("gpu_memory_total_bytes", labels, float(gpu["total"])))
        found.append(("gpu_memory_free_bytes", labels, float(gpu["free"])))
        found.append(("gpu_busy_percent", labels, float(gpu["busy"])))
    return found


def _read(file: Path) -> Any:
    try:
        return json.loads(file.read_bytes())
    except (OSError, ValueError):
        return None
