"""Keys: made once, kept as hashes, revoked at once."""

from __future__ import annotations

import json
import multiprocessing
from datetime import timedelta
from pathlib import Path

import pytest

from appliance.errors import Conflict, NotFound, UsageError, VerificationFailed
from appliance.keys import KeyRing, ring
from appliance.work import utcnow
from inference.keys import KeyStore


def test_only_the_hash_of_a_token_is_kept(tmp_path: Path) -> None:
    store = KeyStore(tmp_path / "keys.json")
    key, token = store.create("ci")
    assert token.startswith("apl_") and len(token) >= 4 + 43
    assert token not in store.file.read_text()
    assert store.file.stat().st_mode & 0o777 == 0o600
    assert KeyRing(store.list()).find(token) == key
    assert KeyRing(store.list()).find(token + "x") is None
    assert KeyRing(store.list()).find("\udcff") is None


def test_a_revoked_key_is_dead_and_its_name_is_free_again(tmp_path: Path) -> None:
    store = KeyStore(tmp_path / "keys.json")
    key, token = store.create("ci")
    store.revoke("ci")
    found = KeyRing(store.list()).find(token)
    assert found is not None and "revoked" in found.dead(utcnow())
    store.create("ci")
    with pytest.raises(NotFound):
        store.revoke(key.id)


def test_an_expired_key_is_dead(tmp_path: Path) -> None:
    key, _ = KeyStore(tmp_path / "keys.json").create("ci", expires_days=1)
    assert key.dead(utcnow()) == ""
    assert "expired" in key.dead(utcnow() + timedelta(days=1, seconds=1))


def test_wrong_wishes_are_refused(tmp_path: Path) -> None:
    store = KeyStore(tmp_path / "keys.json")
    store.create("ci")
    with pytest.raises(Conflict):
        store.create("ci")
    with pytest.raises(UsageError, match="scope"):
        store.create("b", scopes=("everything",))
    with pytest.raises(UsageError, match="future"):
        store.create("b", expires_days=0)
    with pytest.raises(UsageError, match="name"):
        store.create(" ")


def test_a_damaged_file_is_never_read_as_no_keys(tmp_path: Path) -> None:
    store = KeyStore(tmp_path / "keys.json")
    store.create("ci")
    store.file.write_text(store.file.read_text()[:-20])
    with pytest.raises(VerificationFailed, match=r"keys\.json"):
        store.list()
    with pytest.raises(VerificationFailed):
        store.create("other")


def test_ensure_makes_the_boxs_own_key_once(tmp_path: Path) -> None:
    store = KeyStore(tmp_path / "keys.json")
    token = store.ensure("line")
    assert store.ensure("line") == token
    assert (tmp_path / "line.key").read_text().strip() == token
    assert (tmp_path / "line.key").stat().st_mode & 0o777 == 0o600
    assert [key.name for key in store.list()] == ["line"]


def test_ensure_replaces_a_key_that_no_longer_opens(tmp_path: Path) -> None:
    store = KeyStore(tmp_path / "keys.json")
    old = store.ensure("line")
    store.revoke("line")
    new = store.ensure("line")
    assert new != old
    assert [bool(key.revoked) for key in store.list()] == [True, False]
    (tmp_path / "line.key").unlink()
    newer = store.ensure("line")
    living = [key for key in store.list() if not key.revoked]
    assert [KeyRing(store.list()).find(newer)] == living


def create_some(folder: str, writer: int) -> None:
    for n in range(5):
        KeyStore(Path(folder) / "keys.json").create(f"{writer}-{n}")


def test_writers_in_many_processes_lose_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=create_some, args=(str(tmp_path), n)) for n in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(KeyStore(tmp_path / "keys.json").list()) == 15
    assert len(json.loads((tmp_path / "keys.json").read_text())["keys"]) == 15
    assert not list(tmp_path.glob(".keys.json.*"))


def test_a_door_reads_of_a_key_what_it_knows_and_opens_the_repositories_it_names(tmp_path: Path) -> None:
    store = KeyStore(tmp_path / "keys.json")
    assert ring(store.file).find("x") is None
    _, models = store.create("models")
    _, every = store.create("every", scopes=("git",))
    _, some = store.create("some", scopes=("git",), repositories=("shop", "team-*"))
    known = [ring(store.file).find(token) for token in (models, every, some)]
    assert [[key.reads(name) for name in ("shop", "team-a", "till")] for key in known if key] == [
        [False, False, False], [True, True, True], [True, True, False],
    ]  # fmt: skip
    store.file.write_text("{")
    with pytest.raises(VerificationFailed):
        ring(store.file)
