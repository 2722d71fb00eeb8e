"""What /metrics says of engines, memory and GPUs."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from control.manual import source
from inference.engines.devices import Gpu, Room
from inference.engines.rows import empty_row
from inference.gateway.machine import NAMES, Machine

GIB = 1 << 30


def text(folder: Path, lines: dict[str, int] | None = None) -> str:
    registry = CollectorRegistry()
    registry.register(Machine(folder / "engines.json", folder / "devices.json", lambda: lines or {}))
    return generate_latest(registry).decode()


def test_engines_lines_and_gpus_are_told(tmp_path: Path) -> None:
    row = {**empty_row("coder", "ready", ""), "ram_bytes": 3, "gpu_bytes": {"1": 5}, "restarts": 2}
    (tmp_path / "engines.json").write_text(json.dumps([row]))
    room = Room(7 * GIB, 8 * GIB, (Gpu(1, "GPU-b", "NVIDIA H200", 140 * GIB, 90 * GIB, 33),))
    (tmp_path / "devices.json").write_text(json.dumps(asdict(room)))
    told = text(tmp_path, {"coder": 4})
    for line in (
        'appliance_engine_state{model="coder",state="ready"} 1.0',
        'appliance_engine_restarts{model="coder"} 2.0',
        'appliance_engine_memory_bytes{model="coder",where="ram"} 3.0',
        'appliance_engine_memory_bytes{model="coder",where="gpu1"} 5.0',
        'appliance_engine_line{model="coder"} 4.0',
        f"appliance_ram_free_bytes {7.0 * GIB:.10g}".replace("7516192768", "7.516192768e+09"),
        'appliance_gpu_busy_percent{gpu="1",name="NVIDIA H200"} 33.0',
    ):
        assert line in told.splitlines(), told
    assert 'appliance_gpu_memory_free_bytes{gpu="1",name="NVIDIA H200"}' in told


def test_rows_of_an_older_engines_process_are_told_as_far_as_they_go(tmp_path: Path) -> None:
    (tmp_path / "engines.json").write_text('[{"model": "coder", "state": "starting", "restarts": 0}]')
    told = [line for line in text(tmp_path).splitlines() if not line.startswith("#")]
    assert told == [
        'appliance_engine_state{model="coder",state="starting"} 1.0', 'appliance_engine_restarts{model="coder"} 0.0',
    ]  # fmt: skip


@pytest.mark.parametrize("content", [None, "", "{", "[]", "null"])
def test_without_an_engines_process_there_are_no_samples(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "engines.json").write_text(content)
        (tmp_path / "devices.json").write_text(content)
    assert [line for line in text(tmp_path).splitlines() if not line.startswith("#")] == []


def test_every_gauge_is_told_in_the_manual() -> None:
    told = re.findall(
        r"^\| `appliance_((?!gateway_|mirror_|certificate_)\w+)` \| gauge \| ([^|]*)\|", source("metrics"), re.M
    )
    assert {name: tuple(filter(None, labels.strip().split(", "))) for name, labels in told} == {
        name: labels for name, (_, labels) in NAMES.items()
    }
