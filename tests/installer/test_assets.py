"""Assets of the console: only what is locked is opened, only what is named is written, and nothing is insisted on."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import tarfile
from pathlib import Path

import pytest

from installer import assets
from installer.checkout import Checkout
from installer.errors import InstallError, Refused
from installer.setup import NOT_TO_BE_HAD, Stamps, perform, plan
from installer.terminal import Terminal
from tests.installer.world import checkout, pretend_environment, quiet

FILES = ["LICENSE", "dist/plot.js"]


def archive(file: Path, members: dict[str, bytes | str]) -> str:
    """A package's archive; a member that is a text is a symbolic link there. Returns its integrity."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file, "w:gz") as packed:
        for path, content in members.items():
            info = tarfile.TarInfo(path)
            if isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
                packed.addfile(info)
            else:
                info.size = len(content)
                packed.addfile(info, io.BytesIO(content))
    return "sha512-" + base64.b64encode(hashlib.sha512(file.read_bytes()).digest()).decode()


def lock(made: Checkout, integrity: str, files: list[str] = FILES, name: str = "plot") -> None:
    row = {"name": name, "version": "1.2.3", "integrity": integrity, "licence": "MIT", "files": files}
    made.lock("assets").write_text(json.dumps([row]), "utf-8")


WHOLE: dict[str, bytes | str] = {
    "package/LICENSE": b"as you like", "package/dist/plot.js": b"1;", "package/package.json": b"{}",
    "../../../evil": b"x", "package/../../evil": b"x",
}  # fmt: skip


@pytest.fixture
def made(tmp_path: Path) -> Checkout:
    return checkout(tmp_path)


def test_just_the_named_files_come_out_of_the_carried_archive(made: Checkout, tmp_path: Path) -> None:
    lock(made, archive(made.wheelhouse / "plot-1.2.3.tgz", WHOLE))
    assert [asset.name for asset in assets.lacking(made)] == ["plot"] and assets.at_hand(made)
    assets.bring(made, quiet(), "assets")
    folder = made.root / assets.VENDOR
    assert sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()) == [
        "plot/LICENSE", "plot/integrity", "plot/plot.js",
    ]  # fmt: skip
    assert (folder / "plot/plot.js").read_bytes() == b"1;"
    assert not list(tmp_path.rglob("evil")) and assets.lacking(made) == []


def test_a_renewed_lock_makes_an_asset_lacking_and_replaces_all_of_it(made: Checkout) -> None:
    lock(made, archive(made.wheelhouse / "plot-1.2.3.tgz", WHOLE))
    assets.bring(made, quiet(), "assets")
    lock(made, archive(made.wheelhouse / "plot-1.2.3.tgz", {**WHOLE, "package/dist/new.js": b"2;"}),
         ["LICENSE", "dist/new.js"])  # fmt: skip
    assert len(assets.lacking(made)) == 1
    assets.bring(made, quiet(), "assets")
    assert sorted(file.name for file in (made.root / assets.VENDOR / "plot").iterdir()) == [
        "LICENSE", "integrity", "new.js",
    ]  # fmt: skip


def test_an_archive_with_one_other_byte_is_refused_unopened_and_changes_nothing(made: Checkout) -> None:
    file = made.wheelhouse / "plot-1.2.3.tgz"
    lock(made, archive(file, WHOLE))
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(Refused, match=r"not the plot-1\.2\.3\.tgz"):
        assets.bring(made, quiet(), "assets")
    assert not (made.root / assets.VENDOR).exists()


@pytest.mark.parametrize(
    "members",
    [{**WHOLE, "package/dist/plot.js": "/etc/passwd"}, {"package/LICENSE": b"x"},
     {**WHOLE, "package/dist/plot.js": b"x" * (assets.LARGEST_FILE + 1)}],
    ids=["symbolic link", "absent", "too large"],
)  # fmt: skip
def test_what_is_no_plain_file_there_is_refused_and_the_old_stays(
    members: dict[str, bytes | str], made: Checkout
) -> None:
    lock(made, archive(made.wheelhouse / "plot-1.2.3.tgz", WHOLE))
    assets.bring(made, quiet(), "assets")
    lock(made, archive(made.wheelhouse / "plot-1.2.3.tgz", members))
    with pytest.raises(Refused):
        assets.bring(made, quiet(), "assets")
    assert (made.root / assets.VENDOR / "plot/plot.js").read_bytes() == b"1;"


@pytest.mark.parametrize("files", [["../x"], ["/etc/passwd"], ["a/../b"], ["a//b"]])
def test_a_lock_with_paths_that_lead_elsewhere_is_refused(files: list[str], made: Checkout) -> None:
    lock(made, "sha512-x", files)
    with pytest.raises(InstallError, match="cannot be"):
        assets.bring(made, quiet(), "assets")


@pytest.fixture
def npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program called npm that puts `served.tgz`, where there is one, where it is told to."""
    program = tmp_path / "bin" / "npm"
    program.parent.mkdir()
    served = tmp_path / "served.tgz"
    program.write_text(
        f'#!/bin/sh\n[ "$1 $2 $3" = "pack plot@1.2.3 --pack-destination" ] || exit 9\n'
        f'cp {served} "$4/plot-1.2.3.tgz" || {{ echo no such registry; exit 1; }}\n', "utf-8",
    )  # fmt: skip
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return served


def test_what_is_fetched_is_kept_outside_the_checkout_and_carried(made: Checkout, npm: Path) -> None:
    lock(made, archive(npm, WHOLE))
    assets.bring(made, quiet(), "assets")
    npm.unlink()
    assets.put_into_wheelhouse(made, quiet(), "assets")
    assert (made.cache / "assets" / "plot-1.2.3.tgz").is_file() and (made.wheelhouse / "plot-1.2.3.tgz").is_file()


def test_what_a_registry_serves_instead_is_not_kept(made: Checkout, npm: Path) -> None:
    archive(npm, {**WHOLE, "package/dist/plot.js": b"evil"})
    lock(made, archive(npm.with_name("true.tgz"), WHOLE))
    with pytest.raises(Refused):
        assets.bring(made, quiet(), "assets")
    assert not (made.cache / "assets" / "plot-1.2.3.tgz").exists()


def test_a_filled_wheelhouse_keeps_the_registry_unasked(made: Checkout, npm: Path) -> None:
    lock(made, archive(npm, WHOLE))
    (made.wheelhouse / "thing-1.0-py3-none-any.whl").touch()
    with pytest.raises(InstallError, match="not in offline-wheels"):
        assets.bring(made, quiet(), "assets")


def test_a_set_up_without_a_registry_says_so_once_and_goes_on_until_they_are_carried_there(
    made: Checkout, npm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_environment(made)
    lock(made, archive(npm.with_name("true.tgz"), WHOLE))
    said = io.StringIO()
    step = next(step for step in plan(made, Terminal(said), dev=False) if step.name == "assets of the console")
    assert step.lacks() == "plot-1.2.3.tgz"
    perform(step, Terminal(said))
    assert "no such registry" in said.getvalue() and "works without" in said.getvalue()
    assert step.lacks() == "" and Stamps(made.venv).read()["assets"].startswith(NOT_TO_BE_HAD)
    npm.with_name("true.tgz").replace(made.wheelhouse / "plot-1.2.3.tgz")
    assert step.lacks() == "plot-1.2.3.tgz"
    perform(step, quiet())
    assert assets.lacking(made) == [] and step.lacks() == ""


def test_the_projects_own_lock_is_readable_and_takes_every_licence_along() -> None:
    found = assets.locked(Checkout.here())
    assert [asset.name for asset in found] == ["uplot"]
    assert all("LICENSE" in asset.files and asset.integrity.startswith("sha512-") for asset in found)
