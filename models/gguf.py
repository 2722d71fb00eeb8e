"""Reads the header of a GGUF file without trusting it.

Every count, length and offset is checked against the file's real size and against a cap before anything is read or
kept, so a hostile or truncated file costs little and ends in VerificationFailed, which says what is wrong and at which
byte. The weights themselves are never read here. The rules follow the GGUF specification (versions 2 and 3, little
endian) and the stricter reading of llama.cpp's own loader: tensors lie one after the other, each padded to the
alignment, names are unique.

Layout: magic, version, tensor count, metadata count, metadata, tensor table, padding, data.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NoReturn

from appliance.errors import NotFound, VerificationFailed

MAGIC = b"GGUF"
VERSIONS = (2, 3)
MAX_METADATA = 65_536
MAX_TENSORS = 65_536
MAX_NAME = 65_535
"""Bytes of a metadata key (the specification's own limit) and of a tensor's name, which llama.cpp caps at 63."""
MAX_TENSOR_NAME = 63
MAX_STRING = 4 * 1024 * 1024
"""Bytes of one string value. The longest in real files are chat templates of some 100 kB."""
MAX_ELEMENTS = 2 * 1024 * 1024
"""Entries of one array. Vocabularies have up to about 300,000, merge lists twice that."""
MAX_HEADER = 64 * 1024 * 1024
"""Bytes before the weights; real headers stay below 20 MB. It bounds the time one file can cost."""
MAX_DIMENSIONS = 4
MAX_ALIGNMENT = 1024 * 1024
KEPT = 64
"""Entries of an array that are kept; longer arrays (vocabularies) are checked and counted only."""

Scalar = int | float | bool | str
SCALARS: Mapping[int, str] = {
    0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d",
}  # fmt: skip
STRING, ARRAY = 8, 9

TENSOR_TYPES: Mapping[int, tuple[str, int, int]] = {
    0: ("F32", 1, 4), 1: ("F16", 1, 2), 2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20), 6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24), 8: ("Q8_0", 32, 34), 9: ("Q8_1", 32, 36), 10: ("Q2_K", 256, 84), 11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144), 13: ("Q5_K", 256, 176), 14: ("Q6_K", 256, 210), 15: ("Q8_K", 256, 292),
    16: ("IQ2_XXS", 256, 66), 17: ("IQ2_XS", 256, 74), 18: ("IQ3_XXS", 256, 98), 19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18), 21: ("IQ3_S", 256, 110), 22: ("IQ2_S", 256, 82), 23: ("IQ4_XS", 256, 136),
    24: ("I8", 1, 1), 25: ("I16", 1, 2), 26: ("I32", 1, 4), 27: ("I64", 1, 8), 28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56), 30: ("BF16", 1, 2), 34: ("TQ1_0", 256, 54), 35: ("TQ2_0", 256, 66),
    39: ("MXFP4", 32, 17), 40: ("NVFP4", 64, 36), 41: ("Q1_0", 128, 18), 42: ("Q2_0", 64, 18),
}  # fmt: skip
"""ggml type number → name, elements in a block, bytes of a block."""


@dataclass(frozen=True)
class Array:
    """An array in the metadata: its first KEPT entries and how many there are."""

    length: int
    first: tuple[Scalar, ...]


Value = Scalar | Array


@dataclass(frozen=True)
class Tensor:
    """One tensor: shape as stored (fastest dimension first), offset from the start of the data, size in bytes."""

    name: str
    shape: tuple[int, ...]
    type: str
    offset: int
    size: int

    @property
    def elements(self) -> int:
        count = 1
        for extent in self.shape:
            count *= extent
        return count


@dataclass(frozen=True)
class Header:
    """What a GGUF file says about itself."""

    version: int
    metadata: Mapping[str, Value]
    tensors: tuple[Tensor, ...]
    alignment: int
    data_offset: int
    file_size: int

    @property
    def architecture(self) -> str:
        return self.text("general.architecture")

    @property
    def parameters(self) -> int:
        """Weights in all tensors together."""
        return sum(tensor.elements for tensor in self.tensors)

    def text(self, key: str) -> str:
        """The string under `key`, or ""."""
        value = self.metadata.get(key)
        return value if isinstance(value, str) else ""

    def number(self, key: str) -> int:
        """The whole number under `key`, or 0. Per-layer arrays give their largest entry."""
        value = self.metadata.get(key)
        if isinstance(value, Array):
            numbers = [entry for entry in value.first if isinstance(entry, int)]
            return max(numbers, default=0)
        return value if isinstance(value, int) else 0

    def quantisation(self) -> str:
        """The tensor type that holds most of the weights."""
        share: dict[str, int] = {}
        for tensor in self.tensors:
            share[tensor.type] = share.get(tensor.type, 0) + tensor.elements
        return max(share, key=lambda name: (share[name], name), default="")


def read_header(path: Path) -> Header:
    """Read and check the header of the GGUF file at `path`.

    Raises:
        NotFound: there is no such file.
        VerificationFailed: it is not a whole, well-formed GGUF file; the message names the place.
    """
    try:
        with path.open("rb") as stream:
            return _Reader(stream, path.name, path.stat().st_size).header()
    except FileNotFoundError as error:
        raise NotFound(f"there is no file {path}", "check the path") from error
    except OSError as error:
        raise VerificationFailed(f"cannot read {path}: {error.strerror}", "make it a readable file") from error


class _Reader:
    """Walks a file from its start; never reads past its end."""

    def __init__(self, stream: BinaryIO, name: str, size: int) -> None:
        self._stream = stream
        self._name = name
        self._size = size
        self._at = 0
        self._doing = "the magic bytes"

    def header(self) -> Header:
        if self._take(4) != MAGIC:
            self._refuse("it does not begin with the bytes GGUF, so it is not a GGUF file", at=0)
        version = self._version()
        tensor_count = self._count("the tensor count", "tensors", MAX_TENSORS)
        metadata = self._metadata(self._count("the metadata count", "metadata entries", MAX_METADATA))
        alignment = self._alignment(metadata)
        tensors = self._tensors(tensor_count, alignment)
        data_offset = _padded(self._at, alignment)
        end = data_offset + (tensors[-1].offset + tensors[-1].size if tensors else 0)
        if tensors and end > self._size:
            last = tensors[-1].name
            self._refuse(f"tensor {last!r} ends at byte {end} but the file has {self._size}: it is cut short")
        if self._size > _padded(end, alignment):
            self._refuse(f"{self._size - end} bytes follow the last tensor and belong to none", at=end)
        return Header(version, metadata, tensors, alignment, data_offset, self._size)

    def _version(self) -> int:
        self._doing = "the version"
        version = int(self._number("<I"))
        if version & 0xFFFF == 0 and version:
            self._refuse("it is a big-endian file, which this box cannot run")
        if version not in VERSIONS:
            self._refuse(f"GGUF version {version} is not one of {VERSIONS}")
        return version

    def _count(self, what: str, things: str, cap: int) -> int:
        self._doing = what
        count = int(self._number("<Q"))
        if count > cap:
            self._refuse(f"{count} {things} are more than the {cap} allowed")
        return count

    def _metadata(self, count: int) -> dict[str, Value]:
        found: dict[str, Value] = {}
        for n in range(count):
            self._doing = f"the key of metadata entry {n}"
            key = self._string(MAX_NAME)
            if not key or key in found:
                self._refuse(f"the key {key!r} is empty or there twice")
            self._doing = f"metadata {key!r}"
            found[key] = self._value(int(self._number("<I")))
        return found

    def _value(self, kind: int) -> Value:
        if kind == STRING:
            return self._string(MAX_STRING)
        if kind in SCALARS:
            return self._number(SCALARS[kind])
        if kind != ARRAY:
            self._refuse(f"there is no value type {kind}")
        return self._array()

    def _array(self) -> Array:
        kind, length = int(self._number("<I")), int(self._number("<Q"))
        if kind != STRING and kind not in SCALARS:
            self._refuse(f"an array of type {kind} is not supported")
        smallest = 8 if kind == STRING else struct.calcsize(SCALARS[kind])
        if length > MAX_ELEMENTS or length * smallest > self._size - self._at:
            self._refuse(f"an array of {length} entries is too long for this file or above {MAX_ELEMENTS}")
        read: Callable[[], Scalar] = (
            (lambda: self._string(MAX_STRING)) if kind == STRING else (lambda: self._number(SCALARS[kind]))
        )
        first = tuple(read() for _ in range(min(length, KEPT)))
        rest = length - len(first)
        if kind != STRING:
            self._skip(rest * smallest)
        for _ in range(rest if kind == STRING else 0):
            self._skip(self._length(MAX_STRING))
        return Array(length, first)

    def _alignment(self, metadata: Mapping[str, Value]) -> int:
        self._doing = "general.alignment"
        alignment = metadata.get("general.alignment", 32)
        if isinstance(alignment, bool) or not isinstance(alignment, int):
            self._refuse("the alignment is not a whole number")
        if not 0 < alignment <= MAX_ALIGNMENT or alignment & (alignment - 1):
            self._refuse(f"an alignment of {alignment} is not a power of two up to {MAX_ALIGNMENT}")
        return alignment

    def _tensors(self, count: int, alignment: int) -> tuple[Tensor, ...]:
        tensors: list[Tensor] = []
        names: set[str] = set()
        expected = 0
        for n in range(count):
            self._doing = f"tensor {n}"
            tensor = self._tensor()
            if tensor.name in names:
                self._refuse(f"the tensor name {tensor.name!r} is there twice")
            if tensor.offset != expected:
                self._refuse(
                    f"tensor {tensor.name!r} lies at {tensor.offset}, not at {expected} where the one before ends"
                )
            names.add(tensor.name)
            tensors.append(tensor)
            expected = _padded(expected + tensor.size, alignment)
            if expected > self._size:
                expected = self._last_may_lack_padding(tensor, n == count - 1)
        return tuple(tensors)

    def _last_may_lack_padding(self, tensor: Tensor, last: bool) -> int:
        """Some writers leave out the padding after the last tensor; anything else this far out is a cut file."""
        if not last or tensor.offset + tensor.size > self._size:
            self._refuse(f"tensor {tensor.name!r} ends past the file's {self._size} bytes: the file is cut short")
        return tensor.offset + tensor.size

    def _tensor(self) -> Tensor:
        name = self._string(MAX_TENSOR_NAME)
        self._doing = f"tensor {name!r}"
        dimensions = int(self._number("<I"))
        if dimensions > MAX_DIMENSIONS:
            self._refuse(f"{dimensions} dimensions are more than {MAX_DIMENSIONS}")
        shape = tuple(int(self._number("<Q")) for _ in range(dimensions))
        number = int(self._number("<I"))
        if number not in TENSOR_TYPES:
            self._refuse(f"there is no tensor type {number}")
        kind, block, block_bytes = TENSOR_TYPES[number]
        offset = int(self._number("<Q"))
        tensor = Tensor(name, shape, kind, offset, 0)
        # Python's integers do not overflow, so one comparison with the file's size covers every overflow in C.
        size = tensor.elements // block * block_bytes
        if 0 in shape or (shape[0] if shape else 1) % block:
            self._refuse(f"the shape {shape} does not fit blocks of {block} ({kind})")
        if size > self._size or offset > self._size:
            self._refuse(f"{size} bytes at offset {offset} are outside the file's {self._size} bytes: it is cut short")
        return Tensor(name, shape, kind, offset, size)

    def _string(self, cap: int) -> str:
        raw = self._take(self._length(cap))
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            # Vocabularies of byte-level tokenizers hold pieces that are not whole characters.
            return raw.decode("utf-8", "backslashreplace")

    def _length(self, cap: int) -> int:
        length = int(self._number("<Q"))
        if length > cap:
            self._refuse(f"a string of {length} bytes is longer than the {cap} allowed")
        return length

    def _number(self, layout: str) -> int | float | bool:
        value: int | float | bool = struct.unpack(layout, self._take(struct.calcsize(layout)))[0]
        return value

    def _take(self, count: int) -> bytes:
        self._check_room(count)
        raw = self._stream.read(count)
        if len(raw) != count:
            self._refuse("it became shorter while it was read")
        self._at += count
        return raw

    def _skip(self, count: int) -> None:
        self._check_room(count)
        self._stream.seek(count, 1)
        self._at += count

    def _check_room(self, count: int) -> None:
        if count > self._size - self._at:
            self._refuse(f"it ends at byte {self._size} where {count} more bytes are needed: it is cut short")
        if self._at + count > MAX_HEADER:
            self._refuse(f"the header is longer than the {MAX_HEADER} bytes allowed")

    def _refuse(self, why: str, at: int | None = None) -> NoReturn:
        place = self._at if at is None else at
        raise VerificationFailed(
            f"{self._name} is not a sound GGUF file: at byte {place}, reading {self._doing}: {why}",
            "copy the file again from its source and compare its SHA-256",
        )


def _padded(offset: int, alignment: int) -> int:
    return -(-offset // alignment) * alignment
