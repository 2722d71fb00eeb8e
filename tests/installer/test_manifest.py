"""What a medium's metadata may say at all: one spelling, no path that leads outside, nothing that no build writes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from installer.errors import Refused
from installer.trust import metadata
from installer.trust.manifest import Base, Entry, Joined, Manifest, manifest_of, targets_of
from tests.installer.media import BUILT

MADE = Manifest("1.2.3", BUILT, "x86_64", "3.11", ("avx2",), (Entry("a", "0" * 64, 1), Entry("b", "1" * 64, 2)))


def read(manifest: Manifest) -> Manifest:
    return manifest_of(metadata.opened(metadata.sealed(targets_of(manifest), {}), "targets").signed)


def test_a_manifest_reads_as_it_was_written() -> None:
    joined = (Joined("big", "2" * 64, 3, ("a", "b")),)
    for made in (
        MADE,
        replace(MADE, joined=joined, base=Base("1-0", "3" * 64), absent=frozenset({"a"}), kind="import"),
    ):
        assert read(made) == made


@pytest.mark.parametrize("path", [
    "../out", "/etc/passwd", "a/../../b", "a//b", "", ".", "a/.", ".hidden", "a\\b", "a\0b", "ä", "a/", "-rf",
    "x" * 300,
])  # fmt: skip
def test_a_path_that_could_lead_outside_is_refused(path: str) -> None:
    with pytest.raises(Refused):
        read(replace(MADE, files=(Entry(path, "0" * 64, 1),)))
    with pytest.raises(Refused):
        read(replace(MADE, joined=(Joined(path, "0" * 64, 3, ("a", "b")),)))


@pytest.mark.parametrize("change", [
    {"files": (Entry("A", "0" * 64, 1), Entry("a", "0" * 64, 1))},
    {"files": (Entry("a", "0" * 63, 1),)},
    {"files": (Entry("a", "0" * 64, -1),)},
    {"files": (Entry("a", "0" * 64, 4 << 30),)},
    {"files": (Entry("a", "0" * 64, True),)},
    {"files": (Entry("a", "0" * 64, 65 << 20),)},
    {"files": (Entry("a", "0" * 64, 65 << 20, ("0" * 64,)),)},
    {"files": (Entry("a", "0" * 64, 5, ("0" * 64,)),)},
    {"joined": (Joined("big", "0" * 64, 4, ("a", "b")),)},
    {"joined": (Joined("big", "0" * 64, 2, ("a", "a")),)},
    {"joined": (Joined("big", "0" * 64, 1, ("c",)),)},
    {"joined": (Joined("B", "0" * 64, 1, ("a",)),)},
    {"joined": (Joined("c", "0" * 64, 1, ("a",)), Joined("d", "0" * 64, 1, ("a",)))},
    {"joined": (Joined("c", "0" * 64, 0, ()),)},
    {"absent": frozenset({"a"})},
    {"absent": frozenset({"c"}), "base": Base("1-0", "0" * 64)},
    {"base": Base("../x", "0" * 64)},
    {"kind": "other"},
    {"python": "2.7"},
    {"arch": "a/b"},
])  # fmt: skip
def test_a_manifest_no_build_writes_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(Refused):
        read(replace(MADE, **change))


SIGNED = (
    b'{"signatures":[],"signed":{"_type":"targets","expires":"2036-01-01T00:00:00Z","spec_version":"1.0","version":1}}'
)


def test_the_text_that_the_spoilt_ones_are_made_of_is_metadata() -> None:
    assert metadata.opened(SIGNED, "targets").signed["version"] == 1


@pytest.mark.parametrize("raw", [
    b"", b"{}", b"[]", b"null", b"{" * 100_000, b"[" * 100_000, b"\xff" * 9, b'{"signatures":[],"signed":{}}',
    b" " * ((16 << 20) + 1),
    SIGNED + b"\n",
    *(SIGNED.replace(before, after) for before, after in (
        (b"2036-01-01", b"2036-99-99"), (b'"1.0"', b'"2.0"'), (b":1}}", b":1.0}}"), (b":1}}", b":NaN}}"),
        (b":1}}", b":0}}"), (b":1}}", b":true}}"), (b":1}}", b":" + b"9" * 5000 + b"}}"), (b'"signed":', b'"signed": '),
        (b'"targets"', b'"root"'), (b'"targets"', b'"target\\u0073"'), (b'[],', b'[{"keyid":"","sig":""}],'),
        (b'"version":1', b'"version":1,"version":1'),
    )),
])  # fmt: skip
def test_what_is_no_metadata_is_refused(raw: bytes) -> None:
    with pytest.raises(Refused):
        metadata.opened(raw, "targets")
