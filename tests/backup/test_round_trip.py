"""A backup holds everything a home cannot make anew, writes only what is new, and comes back whole."""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path

import pyrage
import pytest

from appliance.backup import binding, books
from appliance.backup.contents import LEFT_OUT
from appliance.backup.creating import create
from appliance.backup.manifest import Manifest
from appliance.backup.restoring import restore
from appliance.backup.sources import Source
from appliance.backup.vault import oldest_to_drop
from appliance.config import Home
from appliance.errors import ConfigError, Conflict, VerificationFailed
from appliance.ledger import open_ledger
from appliance.ledger.audit import verify_home
from appliance.settings import BackupSettings
from appliance.work import Result, TrackedRepository, utcnow
from tests.backup.world import CANARY, World, git

SAME = ("appliance.toml", "secrets/audit.key", "secrets/console.codes", "secrets/forge-shop.token", "secrets/keys.json",
        "evidence/W-1/trajectory.json", "spool/calls-20261126.jsonl", "models/coder-7b/model.gguf",
        "something-new/kept.txt", "policy/routes.toml", "mirrors/shop.git/config")  # fmt: skip


def test_what_comes_back_is_what_was_backed_up_and_the_box_starts_with_it(world: World) -> None:
    gone = world.commit("two")
    world.fetch()
    git(world.source, "reset", "-q", "--hard", "HEAD~1")
    world.fetch()  # a forced push: plans may stand on the commit that left its branch
    world.create()
    before = books.read(world.home.ledger)
    done = world.restore()
    back = Home(world.root / "back")
    assert done.events == before.events and done.repositories == 1
    for name in SAME:
        assert (back.root / name).read_bytes() == (world.home.root / name).read_bytes(), name
    assert not (back.logs / "line.log").exists()
    assert stat.S_IMODE((back.secrets / "audit.key").stat().st_mode) == 0o600
    assert stat.S_IMODE(back.secrets.stat().st_mode) == 0o700
    assert binding.check(back)
    ledger = open_ledger(back)
    seen = verify_home(ledger, back)
    assert seen.ok and seen.anchored > 20 and ledger.tail(before.events)[0].kind == "BackupRestored"
    ledger.close()
    mirror = back.mirrors / "shop.git"
    assert git(mirror, "fsck") == "" or "dangling" in git(mirror, "fsck")
    assert git(mirror, "rev-parse", "main") == git(world.mirror, "rev-parse", "main")
    assert git(mirror, "cat-file", "-t", gone) == "commit"


def test_a_second_backup_writes_only_what_is_new(world: World) -> None:
    first = world.create()
    assert first.manifest.written_bytes > 3 << 20
    second = world.create()
    assert second.manifest.written_bytes < 20_000  # the inventory; nothing else changed
    assert second.manifest.content_bytes == first.manifest.content_bytes
    added = world.commit("two")
    world.fetch()
    world.note()
    third = world.create()
    assert third.manifest.written_bytes < 1 << 20
    inventory = Source(world.vault, third.manifest, world.identity).inventory()
    assert len(inventory.repositories[0].packs) == 2
    world.restore()
    assert git(world.root / "back" / "mirrors" / "shop.git", "rev-parse", "main") == added
    assert world.verify(first.manifest.name).content == Result.PASS


def test_a_repository_is_packed_anew_when_the_part_it_builds_on_is_gone(world: World) -> None:
    world.create()
    for part in world.parts():
        part.unlink()
    world.commit("two")
    world.fetch()
    made = world.create()
    assert made.manifest.written_bytes > 3 << 20 and world.verify().content == Result.PASS


def test_an_empty_repository_comes_back_too(world: World) -> None:
    git(world.root, "init", "-q", "--bare", str(world.home.mirrors / "empty.git"))
    world.create()
    assert world.verify().repositories == 2
    world.restore()
    assert git(world.root / "back" / "mirrors" / "empty.git", "for-each-ref") == ""


def test_a_repository_that_cannot_be_read_is_named_and_keeps_nothing_else_from_being_backed_up(world: World) -> None:
    broken = world.home.mirrors / "broken.git"
    git(world.root, "clone", "-q", "--bare", "--no-hardlinks", str(world.source), str(broken))
    for file in broken.glob("objects/*/*"):
        file.chmod(0o600)
        file.write_bytes(b"junk")
    made = world.create()
    assert len(made.lacking) == 1 and made.lacking[0].startswith("mirrors/broken.git: ")
    done = world.verify()
    assert done.content == Result.INCONCLUSIVE and done.lacking == made.lacking


def test_the_clear_part_names_nothing_and_the_sealed_parts_show_nothing(made: World) -> None:
    (manifest,) = (made.vault.folder / "backups").glob("*.json")
    clear = manifest.read_text() + " ".join(str(one) for one in made.vault.folder.rglob("*"))
    for word in ("shop", CANARY, "console", "coder", str(made.home.root), made.private):
        assert word not in clear, word
    whole = b"".join(part.read_bytes() for part in made.parts())
    assert CANARY.encode() not in whole and b"nobody thought of it" not in whole
    assert all(stat.S_IMODE(part.stat().st_mode) == 0o600 for part in made.parts())


def test_what_is_sealed_opens_with_age_alone(made: World) -> None:
    manifest = made.vault.get("")
    sealed = made.vault.path(manifest.inventory).read_bytes()
    assert sealed.startswith(b"age-encryption.org/v1\n")
    inventory = json.loads(pyrage.decrypt(sealed, [made.identity]))
    (token,) = [one for one in inventory["files"] if one["path"] == "secrets/forge-shop.token"]
    assert pyrage.decrypt(made.vault.path(token["content"]["name"]).read_bytes(), [made.identity]) == CANARY.encode()


def test_without_the_private_key_the_content_is_inconclusive(made: World) -> None:
    seen = made.verify(key=False)
    assert (seen.stored, seen.content) == (Result.PASS, Result.INCONCLUSIVE) and "private key" in seen.why
    assert made.verify().content == Result.PASS


@pytest.mark.parametrize("with_key", [True, False])
def test_a_part_that_was_altered_cut_or_lost_is_found(made: World, with_key: bool) -> None:
    for part in made.parts()[:: 5 if with_key else 1]:  # each look with the key restores everything beside the box
        content = part.read_bytes()
        middle = len(content) // 2
        turned = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        for bad in (turned, content[:-1], content + b"x"):
            part.write_bytes(bad)
            with pytest.raises(VerificationFailed, match="damaged"):
                made.verify(key=with_key)
        part.unlink()
        with pytest.raises(VerificationFailed, match="missing"):
            made.verify(key=with_key)
        part.write_bytes(content)
    assert made.verify(key=with_key).stored == Result.PASS


def test_a_damaged_part_that_is_removed_is_written_anew_for_older_backups_too(world: World) -> None:
    first = world.create()
    largest = max(world.parts(), key=lambda one: one.stat().st_size)
    largest.unlink()
    second = world.create()
    assert second.manifest.written_bytes > 3 << 20
    for name in (first.manifest.name, second.manifest.name):
        assert world.verify(name).content == Result.PASS and world.verify(name, key=False).stored == Result.PASS


def test_another_key_opens_nothing_and_leaves_nothing_behind(made: World) -> None:
    other = pyrage.x25519.Identity.generate()

    with pytest.raises(VerificationFailed, match="does not open"):
        restore(made.vault, made.vault.get(""), other, Home(made.root / "nothing"), lambda line: None)
    assert not (made.root / "nothing").exists()


def test_a_home_in_use_is_never_restored_over(made: World) -> None:
    before = sorted(str(one) for one in made.home.root.rglob("*"))
    with pytest.raises(Conflict, match="not empty"):
        made.restore(into="home")
    assert sorted(str(one) for one in made.home.root.rglob("*")) == before


def test_a_backup_of_a_newer_program_is_refused_with_its_version(made: World) -> None:
    manifest = made.vault.get("")
    newer = manifest.with_(revision="9999", version="9.0")

    with pytest.raises(VerificationFailed, match=r"newer program \(9.0"):
        restore(made.vault, newer, made.identity, Home(made.root / "newer"), lambda line: None)
    assert not (made.root / "newer").exists()
    file = made.vault.folder / "backups" / f"{manifest.name}.json"
    text = file.read_text()
    for format_, more in (("2", ""), ("2", '"signed": true,')):
        file.write_text(re.sub(r'"format": 1,', f'"format": {format_}, {more}', text, count=1))
        with pytest.raises(VerificationFailed, match=r"newer program|format 2"):
            made.vault.get("")
    file.write_text(text)


def test_without_a_recipient_none_is_made_and_a_private_key_in_its_place_is_not_repeated(world: World) -> None:
    with pytest.raises(ConfigError, match="nobody to seal") as refused:
        world.create(recipients=[])
    assert "backup keys" in refused.value.hint and not world.vault.folder.exists()
    with pytest.raises(ConfigError):
        world.create(recipients=["age1nonsense"])
    with pytest.raises(ValueError, match="begin with age1"):
        BackupSettings(recipients=[world.private])


def test_old_backups_are_let_go_with_the_parts_that_nobody_names(world: World) -> None:
    names = [world.create(keep=2).manifest.name]
    (world.home.models / "coder-7b" / "model.gguf").write_bytes(b"small")
    names += [world.create(keep=2).manifest.name for _ in range(2)]
    assert sorted(one.name for one in world.vault.manifests()) == sorted(names[1:])
    assert max(part.stat().st_size for part in world.parts()) < 1 << 20
    assert world.verify().content == Result.PASS


def test_which_backups_are_let_go() -> None:
    def one(day: int) -> Manifest:
        return Manifest(name=f"202611{day:02}T000000Z-00000000", created=utcnow().replace(day=day, month=11),
                        version="1", revision="1", recipients=(), events=0, content_bytes=0, written_bytes=0, seconds=0,
                        models=True, inventory="", parts=())  # fmt: skip

    days = [one(day) for day in (1, 2, 10, 11, 12)]
    assert [name[6:8] for name in oldest_to_drop(days, keep=2, keep_days=0)] == ["10", "02", "01"]
    assert [name[6:8] for name in oldest_to_drop(days, keep=1, keep_days=5)] == ["02", "01"]
    assert oldest_to_drop(days, keep=9, keep_days=0) == oldest_to_drop([], 1, 0) == []


def test_two_backups_into_one_folder_do_not_run_at_once(world: World) -> None:
    with world.vault.writing(), pytest.raises(Conflict, match="under way"):
        world.create()


def test_settings_that_name_files_outside_the_home_are_told(world: World) -> None:
    secret = world.root / "oidc.secret"
    secret.write_text("x")
    settings = world.settings.model_copy(
        update={"console": world.settings.console.model_copy(update={"oidc_secret_file": str(secret)})}
    )

    assert create(world.home, settings, lambda line: None).outside == (f'console.oidc_secret_file = "{secret}"',)


def test_repositories_from_media_find_their_folder_in_a_home_elsewhere(world: World) -> None:
    depot = world.home.media / "carried.git"
    depot.parent.mkdir()
    git(world.root, "clone", "-q", "--bare", str(world.source), str(depot))
    ledger = open_ledger(world.home)
    ledger.add_repository(TrackedRepository(name="carried", url=depot.as_uri(), branch="main"))
    ledger.close()
    world.create()
    world.restore()
    ledger = open_ledger(Home(world.root / "back"))
    assert ledger.repository("carried").url == (world.root / "back" / "media" / "carried.git").as_uri()
    ledger.close()


def test_every_folder_of_a_home_is_in_a_backup_or_left_out_for_a_reason(tmp_path: Path) -> None:
    home = Home(tmp_path)
    for folder in home.folders:
        assert folder.name not in LEFT_OUT or len(LEFT_OUT[folder.name]) > 10
