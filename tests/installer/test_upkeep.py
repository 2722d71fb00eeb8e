"""Repair, the seal it goes by, and releases that nobody goes back to."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import pytest

from installer.errors import InstallError
from installer.target import prune, running, seal, site, upkeep
from installer.target.commands import main
from installer.target.media import judged
from installer.target.places import Places, point
from installer.target.site import Site
from installer.trust.chain import took
from installer.trust.medium import FOLDER as METADATA
from tests.installer import media
from tests.installer.world import quiet

OPTIONS = argparse.Namespace(
    user=None, allow=None, memory=None, firewall=None, keep=None, folders=None, medium=None, fingerprint="", print=False
)


@pytest.fixture
def places(tmp_path: Path) -> Places:
    """Four releases; the newest runs, the one before it is what to go back to."""
    made = Places(tmp_path / "opt", tmp_path / "home")
    for built in (1, 2, 3, 4):
        folder = made.release(f"0.1.0-{built}")
        (folder / "venv/lib/__pycache__").mkdir(parents=True)
        for name in ("whole", "venv/lib/a.py", "venv/lib/__pycache__/a.pyc"):
            (folder / name).write_text(name)
        (folder / "venv/python").symlink_to("/usr/bin/python3")
        seal.write(folder)
        (made.snapshots / folder.name).mkdir(parents=True)
        (made.snapshots / f"replaced-by-{folder.name}-x").mkdir()
    point(made.current, Path("releases/0.1.0-4"))
    point(made.previous, Path("releases/0.1.0-3"))
    return made


def names(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.iterdir())


def test_a_release_as_it_was_unpacked_has_nothing_to_say(places: Places) -> None:
    release = places.release("0.1.0-4")
    (release / "venv/lib/__pycache__/later.pyc").write_text("Python adds these")
    assert seal.changed(release) == []


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda release: (release / "venv/lib/a.py").write_text("other"), "venv/lib/a.py was changed"),
        (lambda release: (release / "venv/lib/a.py").unlink(), "venv/lib/a.py is missing"),
        (lambda release: (release / "venv/lib/b.py").write_text("x"), "venv/lib/b.py does not belong to it"),
        (lambda release: (release / "venv/lib/__pycache__/a.pyc").write_text("x"), "__pycache__/a.pyc was changed"),
        (lambda release: point(release / "venv/python", Path("/tmp/python")), "venv/python was changed"),
    ],
)
def test_every_change_is_named(harm: object, said: str, places: Places) -> None:
    assert callable(harm)
    harm(places.release("0.1.0-4"))
    (found,) = seal.changed(places.release("0.1.0-4")) or []
    assert found.endswith(said)


def test_a_release_that_was_never_sealed_is_not_called_whole(places: Places) -> None:
    (places.release("0.1.0-4") / seal.SEAL).unlink()
    assert seal.changed(places.release("0.1.0-4")) is None
    (places.release("0.1.0-4") / seal.SEAL).write_text("[")
    with pytest.raises(InstallError):
        seal.changed(places.release("0.1.0-4"))


def test_repair_that_cannot_judge_what_the_release_came_as_changes_nothing(places: Places) -> None:
    release = places.release("0.1.0-4")
    (release / "medium").mkdir()
    (release / "venv/lib/a.py").write_text("other")
    with pytest.raises(InstallError, match="cannot be unpacked anew") as refused:
        upkeep.repair(places, OPTIONS, quiet())
    assert "nothing was changed" in refused.value.hint
    assert (release / "medium").is_dir() and (release / "whole").exists() and names(places.prefix).count("mending") == 0


def test_a_changed_release_is_unpacked_from_what_it_came_as_and_again_after_a_kill(
    places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped: list[Places] = []
    monkeypatch.setattr(running, "stop", stopped.append)
    carried = media.medium(tmp_path / "carried", media.ring(tmp_path / "keys"))
    assert carried is not None
    places.accept(took(carried, None))
    release = places.release(carried.manifest.release)
    release.mkdir()
    (tmp_path / "carried").rename(release / "medium")
    (release / "medium" / METADATA).rename(release / METADATA)
    (release / "whole").write_text("x")
    seal.write(release)
    point(places.current, Path("releases") / release.name)
    (release / "extra").write_text("x")

    first = upkeep.repair(places, OPTIONS, quiet())
    assert first is not None and stopped and not (release / "whole").exists()
    shutil.rmtree(release)  # the killed run was unpacking
    second = upkeep.repair(places, OPTIONS, quiet())
    assert second is not None
    with second as (medium, typed):
        assert (medium, typed) == (places.prefix / "mending", "")
        assert judged(medium, typed, places, quiet())[1].kind == "same"
    assert not medium.exists()


def test_repair_chooses_a_release_that_is_there_and_starts_it(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []
    monkeypatch.setattr(running, "start", lambda _places, release, _terminal: started.append(release.name))
    places.current.unlink()
    assert upkeep.repair(places, OPTIONS, quiet()) is None
    assert places.chosen(places.current) == "0.1.0-3" and started == ["0.1.0-3"]


def test_repair_waits_until_a_change_that_was_cut_short_is_over(places: Places) -> None:
    places.state.mkdir()
    (places.state / "journal.json").write_text('{"release": "x", "previous": "", "started": 1, "begun": []}')
    with pytest.raises(InstallError, match="cut short"):
        upkeep.repair(places, OPTIONS, quiet())


def test_only_what_runs_and_what_ran_before_stay(places: Places) -> None:
    assert [one.name for one in prune.old(places, 2)] == ["0.1.0-2", "0.1.0-1", "0.1.0-1", "0.1.0-2"]
    step = prune.step(places, quiet(), "whole")
    assert not step.done()
    step.apply()
    assert step.done() and names(places.releases) == ["0.1.0-3", "0.1.0-4"]
    assert [name for name in names(places.snapshots) if not name.startswith("replaced")] == ["0.1.0-3", "0.1.0-4"]
    assert len([name for name in names(places.snapshots) if name.startswith("replaced")]) == 4


def test_a_site_keeps_as_many_as_it_says_and_never_loses_the_way_back(places: Places) -> None:
    point(places.previous, Path("releases/0.1.0-1"))
    site.keep(places, Site(keep=3))
    prune.step(places, quiet(), "whole").apply()
    assert names(places.releases) == ["0.1.0-1", "0.1.0-3", "0.1.0-4"]


def test_folders_that_are_no_releases_stay(places: Places) -> None:
    (places.releases / "mine").mkdir()
    prune.step(places, quiet(), "whole").apply()
    assert "mine" in names(places.releases)


def test_units_and_rules_are_shown_without_changing_anything(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(site, "by_root", lambda: True)
    here = ["--prefix", str(tmp_path / "opt"), "--home", str(tmp_path / "home"), "--user", "factory"]
    assert main(["units", "--print", *here, "--allow", "10.1.0.0/16"]) == 0
    said = capsys.readouterr().out
    assert (
        "User=factory" in said and "IPAddressAllow=localhost 10.1.0.0/16" in said and "appliance-line.service" in said
    )
    assert main(["firewall", *here, "--allow", "10.1.0.0/16"]) == 0
    assert 'skuid "factory"' in capsys.readouterr().out
    assert main(["units", *here[:4]]) == 1
    assert "no units" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
