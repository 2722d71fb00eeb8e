"""Reads the header of a safetensors file without trusting it.

Layout: eight bytes of length (little endian), that many bytes of JSON, the data. The JSON names each tensor's type,
shape and place. The places must cover the data from its start to the end of the file, without a hole and without an
overlap, each as long as shape and type say: then no reader can be led outside. The weights themselves are never read.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from appliance.errors import NotFound, VerificationFailed
from models.content import MAX_SAFETENSORS_HEADER

BITS: Mapping[str, int] = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32, "I64": 64, "U64": 64, "F64": 64,
    "C64": 64, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
}  # fmt: skip
"""Type → bits of one element."""
MAX_TENSORS = 500_000
MAX_DIMENSIONS = 8
MAX_NAME = 1024


@dataclass(frozen=True)
class Slab:
    """One tensor of a file."""

    name: str
    type: str
    shape: tuple[int, ...]
    begin: int
    end: int

    @property
    def elements(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True)
class Contents:
    """What a safetensors file says about itself."""

    tensors: tuple[Slab, ...]
    """In the order of their places."""
    metadata: Mapping[str, str]
    file_size: int


def read_contents(path: Path) -> Contents:
    """Read and check the header of the safetensors file at `path`.

    Raises:
        NotFound: there is no such file.
        VerificationFailed: it is not a whole, well-formed safetensors file; the message says why.
    """
    name = path.name
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if size < 8 or length > size - 8:
                _refuse(name, f"its header ends at byte {8 + length} but the file has {size}: it is cut short or none")
            if not 2 <= length <= MAX_SAFETENSORS_HEADER:
                _refuse(name, f"a header of {length} bytes is outside 2 to {MAX_SAFETENSORS_HEADER}")
            raw = stream.read(length)
    except FileNotFoundError as error:
        raise NotFound(f"there is no file {path}", "check the path") from error
    except OSError as error:
        raise VerificationFailed(f"cannot read {path}: {error.strerror}", "make it a readable file") from error
    if len(raw) != length or raw[:1] != b"{":
        _refuse(name, "its header is not a JSON object")
    header = _decoded(name, raw)
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        _refuse(name, "its __metadata__ is not a table of texts")
    if len(header) > MAX_TENSORS:
        _refuse(name, f"{len(header)} tensors are more than the {MAX_TENSORS} allowed")
    slabs = sorted((_slab(name, key, value) for key, value in header.items()), key=lambda slab: (slab.begin, slab.end))
    _covered(name, slabs, size - 8 - length)
    return Contents(tuple(slabs), metadata, size)


def _decoded(name: str, raw: bytes) -> dict[str, Any]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) != len(pairs):
            raise ValueError("a name is there twice")
        return made

    try:
        header = json.loads(raw, object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        _refuse(name, f"its header cannot be read: {error}")
    except MemoryError:
        _refuse(name, "its header takes more memory than any real one")
    assert isinstance(header, dict)  # it begins with a brace
    return header


def _slab(file: str, name: str, entry: Any) -> Slab:
    if len(name) > MAX_NAME:
        _refuse(file, f"a tensor's name of {len(name)} characters is longer than {MAX_NAME}")
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        _refuse(file, f"tensor {name!r} does not have exactly dtype, shape and data_offsets")
    kind, shape, place = entry["dtype"], entry["shape"], entry["data_offsets"]
    if kind not in BITS if isinstance(kind, str) else True:
        _refuse(file, f"tensor {name!r}: there is no type {kind!r}")
    if not _whole_numbers(shape) or len(shape) > MAX_DIMENSIONS:
        _refuse(file, f"tensor {name!r}: the shape is not up to {MAX_DIMENSIONS} whole numbers")
    if not _whole_numbers(place) or len(place) != 2:
        _refuse(file, f"tensor {name!r}: data_offsets are not two whole numbers")
    slab = Slab(name, kind, tuple(shape), place[0], place[1])
    bits = slab.elements * BITS[kind]
    if bits % 8 or slab.end - slab.begin != bits // 8:
        _refuse(file, f"tensor {name!r}: {kind} {list(shape)} takes {bits / 8:g} bytes, not {place[1] - place[0]}")
    return slab


def _whole_numbers(value: Any) -> bool:
    return isinstance(value, list) and all(type(entry) is int and 0 <= entry < 1 << 63 for entry in value)


def _covered(file: str, slabs: list[Slab], data: int) -> None:
    at = 0
    for slab in slabs:
        if slab.begin != at:
            _refuse(file, f"tensor {slab.name!r} begins at {slab.begin}, not at {at} where the one before ends")
        at = slab.end
    if at > data:
        _refuse(file, f"the tensors take {at} bytes but the file has {data} of them: it is cut short")
    if at < data:
        _refuse(file, f"{data - at} bytes follow the last tensor and belong to none")


def _refuse(name: str, why: str) -> NoReturn:
    raise VerificationFailed(
        f"{name} is not a sound safetensors file: {why}",
        "copy the file again from its source and compare its SHA-256",
    )
