"""What a file is by its content."""

from __future__ import annotations

import gzip
import io
import pickle
import tarfile
import zipfile

import pytest

from models import content
from tests.models import gguf_files, tensor_files


class Runs:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("never",)


def zipped() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("archive/data.pkl", b"x")
    return out.getvalue()


def tarred() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        archive.addfile(tarfile.TarInfo("a"), io.BytesIO())
    return out.getvalue()


@pytest.mark.parametrize(
    "name", ["pytorch_model.bin", "model.pt", "x.ckpt", "model.safetensors", "config.json", "m.gguf"]
)
@pytest.mark.parametrize(
    ("raw", "said"),
    [
        *((pickle.dumps(Runs(), protocol), "Python pickle") for protocol in range(6)),
        (zipped(), "zip archive"), (tarred(), "tar"), (gzip.compress(b"x", mtime=0), "gzip"),
        (b"\x7fELF\x02\0", "program"),
        (b"MZ\x90\0", "program"), (b"#!/usr/bin/python\n", "script"), (b"\x93NUMPY\x01", "numpy"),
    ],
)  # fmt: skip
def test_what_runs_or_hides_something_is_refused_by_content_whatever_its_name(name: str, raw: bytes, said: str) -> None:
    assert said in content.danger(name, raw[: content.HEAD], raw)


@pytest.mark.parametrize("name", ["modeling_x.py", "MODEL.PY", "run.sh", "a.so", "x.ipynb"])
def test_code_is_refused_by_name(name: str) -> None:
    assert "code" in content.danger(name, b"import os\n", b"import os\n")


@pytest.mark.parametrize(
    ("name", "raw", "kind"),
    [
        ("m.bin", gguf_files.good(), content.GGUF), ("weights", tensor_files.good(), content.OTHER),
        ("m.gguf", b"", content.GGUF), ("m.safetensors", b"junk", content.SAFETENSORS),
        ("config.json", b'{"a": 1}', content.TEXT), ("a.png", b"\x89PNG\r\n\0", content.OTHER),
        ("merges.txt", b"c a\nt h\n.", content.TEXT), ("README.md", b"(see below)\ncats\nare.\n", content.TEXT),
        ("a.md", b"MZ is no program", content.TEXT), ("N.txt", b"N.", content.TEXT), ("empty.txt", b"", content.TEXT),
    ],
)  # fmt: skip
def test_harmless_files_are_known_for_what_they_are(name: str, raw: bytes, kind: str) -> None:
    assert content.danger(name, raw[: content.HEAD], raw) == ""
    assert content.kind_of(name, raw) == kind


def test_a_template_that_reaches_for_pythons_insides_is_refused() -> None:
    assert "__class__" in content.template_danger("{{ ''.__class__.__mro__ }}")
    assert content.template_danger("{% for m in messages %}{{ m['role'] + '__' }}{% endfor %}") == ""


@pytest.mark.parametrize("mark", [b"#!", b"\x1f\x8b", b"MZ", b"\x80\x02", b"\x80\x04", b"BZh"])
def test_a_length_that_happens_to_look_like_something_else_makes_no_weights_suspect(mark: bytes) -> None:
    length = int.from_bytes(mark, "little")
    raw = tensor_files.assemble(b"{" + b" " * 4000, 0, length)
    assert raw.startswith(mark) and content.danger("m.safetensors", raw[: content.HEAD]) == ""
    assert content.danger("pytorch_model.bin", raw[: content.HEAD], raw) != ""
