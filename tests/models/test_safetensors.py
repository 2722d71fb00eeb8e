"""The safetensors reader on sound and on damaged headers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save_file

from appliance.errors import NotFound, VerificationFailed
from models.safetensors import read_contents
from tests.models.tensor_files import TENSORS, assemble, good, header


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "m.safetensors"


def test_what_the_reference_writer_writes_is_read(file: Path) -> None:
    save_file({"a": np.zeros((2, 3), np.float32), "b": np.zeros(0, np.int8)}, file, {"format": "np"})
    found = read_contents(file)
    assert {slab.name: (slab.type, slab.shape, slab.elements) for slab in found.tensors} == {
        "a": ("F32", (2, 3), 6), "b": ("I8", (0,), 0),
    }  # fmt: skip
    assert found.metadata == {"format": "np"} and found.file_size == file.stat().st_size


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "cut short"), (b"\1\0\0", "cut short"), (good()[:-1], "cut short"), (good()[:40], "cut short"),
        (good() + b"\0", "follow the last tensor"),
        (assemble(b"{}", 0, length=1 << 63), "cut short"),
        (assemble(b"[1]", 0), "not a JSON object"), (assemble(b"{", 0), "outside 2"), (assemble(b"{]", 0), "cannot be"),
        (assemble(b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}", 0), "safetensors"),
        (assemble(header(TENSORS)[:-1] + b',"b.bias":{}}', 96), "there twice"),
        (assemble(header(TENSORS, {"a": 1}), 96), "not a table of texts"),
        (assemble(header(TENSORS, "x"), 96), "not a table of texts"),
        (assemble(b'{"a": 1}', 0), "exactly dtype"),
        (assemble(b'{"a": {"dtype": "F32", "shape": [], "data_offsets": [0, 4], "x": 1}}', 4), "exactly dtype"),
        (assemble(header({"a": ("F31", [1], (0, 4))}), 4), "no type 'F31'"),
        (assemble(b'{"a": {"dtype": ["F32"], "shape": [1], "data_offsets": [0, 4]}}', 4), "no type"),
        (assemble(header({"a": ("F32", [-1], (0, 4))}), 4), "whole numbers"),
        (assemble(header({"a": ("F32", [True], (0, 4))}), 4), "whole numbers"),  # type: ignore[dict-item]
        (assemble(header({"a": ("F32", [1] * 9, (0, 4))}), 4), "up to 8"),
        (assemble(header({"a": ("F32", [1 << 62, 1 << 62], (0, 4))}), 4), "takes"),
        (assemble(header({"a": ("F32", [1], (0, 8))}), 8), "takes 4 bytes, not 8"),
        (assemble(header({"a": ("F4", [1], (0, 1))}), 1), "takes 0.5 bytes"),
        (assemble(header({"a": ("U8", [4], (0, 4)), "b": ("U8", [4], (2, 6))}), 6), "begins at 2, not at 4"),
        (assemble(header({"a": ("U8", [4], (0, 4)), "b": ("U8", [4], (6, 10))}), 10), "begins at 6, not at 4"),
        (assemble(header({"a": ("U8", [4], (1, 5))}), 5), "begins at 1, not at 0"),
        (assemble(b'{"a": {"dtype": "U8", "shape": [1], "data_offsets": [0]}}', 1), "two whole numbers"),
        (assemble(header({"a" * 2000: ("U8", [1], (0, 1))}), 1), "characters is longer"),
    ],
)  # fmt: skip
def test_every_kind_of_damage_is_refused_with_its_reason(file: Path, raw: bytes, said: str) -> None:
    file.write_bytes(raw)
    with pytest.raises(VerificationFailed) as caught:
        read_contents(file)
    assert said in caught.value.message and caught.value.hint


def test_a_file_that_is_not_there_is_not_found(file: Path) -> None:
    with pytest.raises(NotFound):
        read_contents(file)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damage_anywhere_is_read_or_refused_and_never_more_lenient_than_the_reference(
    file: Path, data: st.DataObject
) -> None:
    raw = bytearray(good())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw) - 1))
        match data.draw(st.sampled_from(["set", "cut", "insert"])):
            case "set":
                raw[at] = data.draw(st.integers(0, 255))
            case "cut":
                del raw[at : at + data.draw(st.integers(1, 9))]
            case _:
                raw[at:at] = data.draw(st.binary(min_size=1, max_size=9))
        if not raw:
            break
    file.write_bytes(raw)
    try:
        found = read_contents(file)
    except VerificationFailed:
        return
    if not any(slab.type == "BF16" or slab.type.startswith("F8") for slab in found.tensors):
        load(bytes(raw))  # the reference reader takes what ours took


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["F32", "U8"]),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["dtype", "shape", "data_offsets", "__metadata__", "a"]), inner, max_size=4
            )
        ),
        max_leaves=12,
    )
)
def test_any_json_for_a_header_ends_in_a_verdict(file: Path, document: object) -> None:
    file.write_bytes(assemble(json.dumps({"a": document, "b": document}).encode(), 8))
    with pytest.raises(VerificationFailed):
        read_contents(file)
