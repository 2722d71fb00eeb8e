from __future__ import annotations

import struct
import tracemalloc
from pathlib import Path

import pytest
from gguf import GGUFReader
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.errors import NotFound, VerificationFailed
from models.gguf import KEPT, MAX_ELEMENTS, MAX_HEADER, MAX_STRING, Array, Header, read_header
from tests.inference.tiny_model import write_tiny_llama
from tests.models.gguf_files import METADATA, TENSORS, TEXT, array, assemble, entry, good, number, tensor, text

MANY = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "model.gguf"


def read(file: Path, raw: bytes) -> Header:
    file.write_bytes(raw)
    return read_header(file)


def test_a_good_file_tells_all_about_itself(file: Path) -> None:
    header = read(file, good())
    assert header.architecture == "llama" and header.text("general.license") == "MIT"
    assert header.number("llama.context_length") == 2048
    assert (header.parameters, header.quantisation()) == (32 + 128, "Q8_0")
    assert [(t.name, t.shape, t.type, t.offset, t.size) for t in header.tensors] == [
        ("output_norm.weight", (32,), "F32", 0, 128),
        ("token_embd.weight", (32, 4), "Q8_0", 128, 136),
    ]
    assert header.data_offset % 32 == 0 and header.file_size == file.stat().st_size


def test_long_arrays_are_counted_but_not_kept(file: Path) -> None:
    tokens = read(file, good()).metadata["tokenizer.ggml.tokens"]
    assert isinstance(tokens, Array) and tokens.length == 100
    assert tokens.first == tuple(f"t{n}" for n in range(KEPT))


def test_the_same_is_read_as_by_the_reference_reader(tmp_path: Path) -> None:
    file = write_tiny_llama(tmp_path / "tiny.gguf")
    ours, theirs = read_header(file), GGUFReader(file)
    assert {t.name: (list(t.shape), t.size) for t in ours.tensors} == {
        t.name: (t.shape.tolist(), t.n_bytes) for t in theirs.tensors
    }
    assert ours.data_offset == theirs.data_offset
    for key in ("llama.context_length", "llama.block_count", "tokenizer.ggml.bos_token_id"):
        assert ours.number(key) == theirs.fields[key].contents()
    assert ours.text("tokenizer.chat_template") == theirs.fields["tokenizer.chat_template"].contents()


def test_a_file_cut_anywhere_is_refused_as_cut_short(file: Path) -> None:
    raw = good()
    end_of_weights = len(raw) - 24  # the padding after the last tensor may be missing
    for size in range(end_of_weights):
        with pytest.raises(VerificationFailed) as caught:
            read(file, raw[:size])
        assert "cut short" in caught.value.message or "too long for this file" in caught.value.message, size
        assert "at byte" in caught.value.message and caught.value.hint
    for size in range(end_of_weights, len(raw)):
        assert read(file, raw[:size]).parameters == 160


def test_no_file_and_no_gguf_are_told_apart(file: Path) -> None:
    with pytest.raises(NotFound):
        read_header(file)
    with pytest.raises(VerificationFailed, match="not a GGUF file"):
        read(file, b"PK\x03\x04 a zip file, not a model")
    with pytest.raises(VerificationFailed, match="Is a directory"):
        read_header(file.parent)


@MANY
@given(st.lists(st.tuples(st.integers(0, len(good()) - 1), st.integers(0, 255)), min_size=1, max_size=8))
def test_flipped_bytes_are_refused_or_harmless(file: Path, flips: list[tuple[int, int]]) -> None:
    raw = bytearray(good())
    for place, value in flips:
        raw[place] = value
    survives(file, bytes(raw))


@MANY
@given(st.integers(4, len(good()) - 9), st.integers(0, 2**64 - 1))
def test_absurd_lengths_are_refused_or_harmless(file: Path, place: int, length: int) -> None:
    raw = bytearray(good())
    raw[place : place + 8] = struct.pack("<Q", length)
    survives(file, bytes(raw))


@MANY
@given(st.binary(max_size=400))
def test_noise_after_the_magic_is_refused(file: Path, noise: bytes) -> None:
    survives(file, b"GGUF" + struct.pack("<I", 3) + noise)


def survives(file: Path, raw: bytes) -> None:
    """Read or refused, with little memory, whatever the bytes; what is read lies inside the file."""
    file.write_bytes(raw)
    tracemalloc.start()
    try:
        header = read_header(file)
    except VerificationFailed as error:
        assert error.message and error.hint
    else:
        for one in header.tensors:
            assert header.data_offset + one.offset + one.size <= header.file_size
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 1_000_000


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (assemble(METADATA, TENSORS, 288, version=1), "version 1"),
        (assemble(METADATA, TENSORS, 288, version=3 << 24), "big-endian"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1 << 40, 1), "tensors are more than"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1 << 63), "metadata entries are more than"),
        (assemble([number("a", 1), number("a", 2)], [], 0), "there twice"),
        (assemble([number("", 1)], [], 0), "is empty"),
        (assemble([entry("a", 13, b"")], [], 0), "no value type 13"),
        (assemble([array("a", 9, 1, b"")], [], 0), "array of type 9"),
        (assemble([array("a", 0, MAX_ELEMENTS + 1, b"")], [], 0), "too long"),
        (assemble([entry("a", TEXT, struct.pack("<Q", MAX_STRING + 1))], [], 0), "longer than"),
        (assemble([number("general.alignment", 24)], [], 0), "power of two"),
        (assemble([number("general.alignment", 0)], [], 0), "power of two"),
        (assemble([entry("general.alignment", TEXT, text("x"))], [], 0), "whole number"),
        (assemble([], [tensor("w", (32,)), tensor("w", (32,), 0, 128)], 256), "there twice"),
        (assemble([], [tensor("w", (32,)), tensor("v", (32,), 0, 64)], 256), "where the one before ends"),
        (assemble([], [tensor("w", (32,), 0, 32)], 256), "where the one before ends"),
        (assemble([], [tensor("w", (1,) * 5)], 256), "dimensions"),
        (assemble([], [tensor("w", (0, 5))], 256), "shape"),
        (assemble([], [tensor("w", (33,), 8)], 256), "does not fit blocks"),
        (assemble([], [tensor("w", (32,), 4)], 256), "no tensor type 4"),
        (assemble([], [tensor("w" * 64, (32,))], 256), "longer than the 63"),
        (assemble([], [tensor("w", (1 << 62, 4))], 256), "outside the file"),
        (assemble([], [tensor("w", (1 << 32, 1 << 32))], 256), "outside the file"),
        (assemble([], [tensor("w", (32, 3))], 256), "outside the file"),
    ],
)  # fmt: skip
def test_each_lie_is_named(file: Path, raw: bytes, said: str) -> None:
    with pytest.raises(VerificationFailed, match="not a sound GGUF file") as caught:
        read(file, raw)
    assert said in caught.value.message


def test_a_header_longer_than_any_real_one_is_refused_without_reading_on(file: Path) -> None:
    with file.open("wb") as stream:
        stream.write(b"GGUF" + struct.pack("<IQQ", 3, 0, 40))
        for n in range(40):  # sparse: takes no disk
            stream.write(array(f"a{n}", 0, MAX_ELEMENTS, b""))
            stream.seek(MAX_ELEMENTS, 1)
        stream.write(b"\0")
    assert file.stat().st_size > MAX_HEADER
    with pytest.raises(VerificationFailed, match="header is longer"):
        read_header(file)


def test_pieces_that_are_no_text_are_read_all_the_same(file: Path) -> None:
    header = read(file, assemble([array("a", TEXT, 1, text(b"\xff\xfe"))], [], 0))
    assert header.metadata["a"] == Array(1, ("\\xff\\xfe",))


def test_layers_of_different_width_count_as_the_widest(file: Path) -> None:
    assert read(file, assemble([array("a", 4, 3, struct.pack("<3I", 1, 9, 4))], [], 0)).number("a") == 9


def test_another_alignment_is_followed(file: Path) -> None:
    entries, tensors = [number("general.alignment", 64)], [tensor("a", (8,)), tensor("b", (8,), 0, 64)]
    header = read(file, assemble(entries, tensors, 128, alignment=64))
    assert header.alignment == 64 and header.data_offset % 64 == 0
