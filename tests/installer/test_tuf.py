"""Media beside the framework's own library: it reads what is built, and refuses nothing that the installer takes."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tuf.api.exceptions import DownloadError, DownloadHTTPError, RepositoryError
from tuf.ngclient import FetcherInterface, Updater

from installer.bundle import keys
from installer.errors import Refused
from installer.trust import chain, metadata, signature
from installer.trust.chain import Accepted, follow
from installer.trust.medium import papers
from tests.installer import media
from tests.installer.media import BUILT, CONTENT


class Medium(FetcherInterface):
    """Reads from a folder where the library would ask a server."""

    def _fetch(self, url: str) -> Iterator[bytes]:
        file = Path(url.removeprefix("medium:"))
        if not file.is_file():
            raise DownloadHTTPError("not there", 404)
        yield file.read_bytes()


def library(medium: Path, root: bytes, work: Path) -> Updater:
    """The library's client, which starts at a root."""
    (work / "metadata").mkdir(parents=True)
    (work / "files").mkdir()
    return Updater(
        str(work / "metadata"), f"medium:{medium}/metadata/", str(work / "files"), f"medium:{medium}/",
        fetcher=Medium(), bootstrap=root,
    )  # fmt: skip


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return media.ring(tmp_path_factory.mktemp("keys") / "k", 2, 2)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, ring: Path) -> Path:
    folder = tmp_path_factory.mktemp("medium")
    media.medium(folder, ring)
    return folder


def test_the_library_reads_a_medium_and_takes_every_file_of_it(tmp_path: Path, whole: Path, ring: Path) -> None:
    client = library(whole, papers(whole).roots[1], tmp_path)
    client.refresh()
    for name, content in CONTENT.items():
        found = client.get_targetinfo(name)
        assert found is not None
        assert Path(client.download_target(found)).read_bytes() == content
    assert client.get_targetinfo("other") is None


def test_the_library_follows_a_rotation(tmp_path: Path, ring: Path) -> None:
    turned = tmp_path / "turned"
    shutil.copytree(ring, turned)
    keys.rotate(turned, ["holder-1", "release"], threshold=2, holders=3)
    media.medium(tmp_path / "m", turned)
    client = library(tmp_path / "m", papers(tmp_path / "m").roots[1], tmp_path / "client")
    client.refresh()
    assert client.get_targetinfo("z") is not None
    old = json.loads((tmp_path / "m" / "metadata" / "2.root.json").read_text())
    old["signatures"] = [one for one in old["signatures"] if one["keyid"] in old["signed"]["roles"]["root"]["keyids"]]
    (tmp_path / "m" / "metadata" / "2.root.json").write_bytes(metadata.spelled(old))
    with pytest.raises(RepositoryError):  # by the new keys alone, as the installer refuses it (test_trust.py)
        library(tmp_path / "m", papers(tmp_path / "m").roots[1], tmp_path / "other").refresh()


KNOWN: dict[tuple[str, bytes, bytes], bool] = {}


def holds(pem: str, content: bytes, mark: bytes) -> bool:
    """OpenSSL, asked once for the same."""
    if (pem, content, mark) not in KNOWN:
        KNOWN[pem, content, mark] = signature.holds(pem, content, mark)
    return KNOWN[pem, content, mark]


def installer_takes(medium: Path, typed: str, accepted: Accepted | None = None) -> bool:
    try:
        follow(papers(medium), typed, accepted, BUILT, holds)
    except Refused:
        return False
    return True


def library_takes(medium: Path, root: bytes, work: Path) -> bool:
    try:
        library(medium, root, work).refresh()
    except (DownloadError, RepositoryError):
        return False
    return True


def _spoil(raw: bytes, dice: random.Random) -> bytes:
    """Metadata changed somewhere in their structure: values swapped, taken away, doubled, bent."""
    found = json.loads(raw)
    places: list[tuple[Any, Any]] = []

    def walk(one: Any) -> None:
        for key in list(one) if isinstance(one, dict) else range(len(one)):
            places.append((one, key))
            if isinstance(one[key], dict | list):
                walk(one[key])

    walk(found)
    inside, key = dice.choice(places)
    value = inside[key]
    match dice.randrange(4):
        case 0:
            del inside[key]
        case 1:
            inside[key] = dice.choice([0, 1, -1, 2, "", [], {}, None, True, "0" * 64, value])
        case 2 if isinstance(inside, list):
            inside.append(value)
        case 3 if isinstance(value, int):
            inside[key] = value + dice.choice([-1, 1])
        case _:
            inside[key] = dice.choice(places)[0]
    try:
        return metadata.spelled(found)
    except (ValueError, RecursionError):  # a value inside itself
        return b"{}"


def test_nothing_that_the_library_refuses_is_taken(tmp_path: Path, whole: Path, ring: Path) -> None:
    """250 media whose metadata were changed, a tenth of them signed again by the keys that may."""
    dice, typed, taken = random.Random(11), keys.fingerprint(ring), [0, 0]
    root, roles = papers(whole).roots[1], keys.newest_root(ring).roles
    medium = tmp_path / "m"
    shutil.copytree(whole, medium)
    for number in range(250):
        kind = dice.choice(["timestamp", "snapshot", "targets"])
        file = medium / "metadata" / f"{kind}.json"
        before = file.read_bytes()
        spoilt = _spoil(before, dice)
        signed = json.loads(spoilt).get("signed")
        if number % 10 == 0 and isinstance(signed, dict):
            marks = keys.signatures(ring, roles[kind], metadata.spelled(signed))
            spoilt = metadata.sealed(signed, marks)
        file.write_bytes(spoilt)
        ours, theirs = installer_takes(medium, typed), library_takes(medium, root, tmp_path / f"client-{number}")
        assert theirs or not ours, spoilt
        taken = [taken[0] + ours, taken[1] + theirs]
        file.write_bytes(before)
    assert installer_takes(medium, typed) and library_takes(medium, root, tmp_path / "client")
    assert 0 < taken[1] < 200


def test_where_the_two_differ_the_installer_is_stricter_or_it_is_about_the_clock(
    tmp_path: Path, whole: Path, ring: Path
) -> None:
    media.medium(tmp_path / "old", ring, built=1_000_000_000)  # good until 2011
    found = papers(tmp_path / "old")
    assert follow(found, keys.fingerprint(ring), None, 1_700_000_000, holds).warnings
    assert not library_takes(tmp_path / "old", found.roots[1], tmp_path / "client")
    shutil.copytree(whole, tmp_path / "m")
    targets = json.loads((whole / "metadata" / "targets.json").read_bytes())
    (tmp_path / "m" / "metadata" / "targets.json").write_text(json.dumps(targets, indent=1))  # same sense, other bytes
    assert library_takes(tmp_path / "m", papers(whole).roots[1], tmp_path / "other")
    assert not installer_takes(tmp_path / "m", keys.fingerprint(ring))
    assert chain.fingerprint(papers(whole).roots[1]) == keys.fingerprint(ring)
