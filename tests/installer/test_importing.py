"""What a medium brings for a box that runs: the real commands of a box take it in, once it is what was signed."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from appliance.config import Home
from appliance.ledger import open_ledger
from installer.bundle import extras, importable, keys, seal
from installer.checkout import Checkout
from installer.errors import InstallError, Refused
from installer.target import importing
from installer.target.importing import Thing, take, things
from installer.target.places import Places, point
from installer.terminal import Terminal
from installer.trust import manifest as sizes
from installer.trust import payload
from installer.trust.chain import Trusted, took
from installer.trust.medium import trusted
from models.registry import Registry
from tests.e2e.world import git
from tests.installer import media
from tests.installer.media import BUILT
from tests.installer.world import checkout, quiet
from tests.models.gguf_files import good
from tests.models.tensor_files import write_folder


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return media.ring(tmp_path_factory.mktemp("keys") / "k")


@pytest.fixture
def box(tmp_path: Path, ring: Path) -> Places:
    """An installed box, whose programs are those of this checkout."""
    places = Places(tmp_path / "opt", tmp_path / "home")
    home = Home(places.home)
    for place in home.folders:
        place.mkdir(parents=True, exist_ok=True)
    home.settings_file.write_text("")
    open_ledger(home).close()
    program = places.release("1.2.3-1") / "venv" / "bin" / "appliance"
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\nexec {Path(sys.executable).parent / "appliance"} "$@"\n')
    program.chmod(0o755)
    point(places.current, Path("releases") / "1.2.3-1")
    release = media.medium(tmp_path / "release", ring)
    assert release is not None
    places.accept(took(release, None))
    return places


@pytest.fixture
def cargo(tmp_path: Path) -> Path:
    """A folder with what a site wants carried."""
    folder = tmp_path / "cargo"
    media.fill(folder, {"models/coder.gguf": good(), "all.zip": b"advisories"})
    write_folder(folder / "models" / "tensors")
    (folder / "mirrors").mkdir()
    git(folder, "init", "--quiet", "-b", "main", "tree")
    media.fill(folder / "tree", {"a.py": b"x = 1\n"})
    git(folder / "tree", "add", ".")
    git(folder / "tree", "-c", "user.name=A", "-c", "user.email=a@b", "commit", "--quiet", "-m", "one")
    git(folder / "tree", "bundle", "create", "--quiet", str(folder / "mirrors" / "shop.bundle"), "--all")
    return folder


def carried(tmp_path: Path, cargo: Path, ring: Path, built: int, monkeypatch: pytest.MonkeyPatch, *kinds: str) -> Path:
    """A medium made by the command, at that time."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(built))
    words = {
        "models": f"models={cargo / 'models'}",
        "mirrors": f"mirrors={cargo / 'mirrors'}",
        "osv": f"osv={cargo / 'all.zip'}",
    }
    made = checkout(tmp_path / f"checkout-{built}")
    return importable.make(made, ring, [words[kind] for kind in kinds or words], tmp_path / "out", quiet())


def judged(medium: Path, ring: Path) -> Trusted:
    return trusted(medium, keys.fingerprint(ring), None, BUILT)


def test_models_repositories_and_advisories_come_in_by_the_box_s_own_commands(
    tmp_path: Path, box: Places, cargo: Path, ring: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (sizes, payload, seal):
        monkeypatch.setattr(module, "CHUNK", 100)
    for module in (sizes, seal):
        monkeypatch.setattr(module, "PART", 300)
    medium = carried(tmp_path, cargo, ring, BUILT, monkeypatch)
    found = judged(medium, ring)
    assert found.manifest.kind == "import" and len(found.manifest.joined) >= 2
    assert things(found.manifest)[0] == Thing("mirrors", "shop.bundle", ("mirrors/shop.bundle",))
    said = io.StringIO()
    assert take(medium, found, box, Terminal(said)) == 0, said.getvalue()
    assert {card.id for card in Registry(Home(box.home).models).list()} == {"coder", "tensors"}
    (tracked,) = open_ledger(Home(box.home)).repositories()
    assert tracked.name == "shop"
    assert (box.prefix / "received" / "osv" / "all.zip").read_bytes() == b"advisories"
    assert not (box.prefix / "incoming").exists()
    accepted = box.accepted()
    assert accepted is not None and accepted.imports == {"models": BUILT, "mirrors": BUILT, "osv": BUILT}
    assert accepted.built == BUILT  # the release's: media to import move nothing there


def test_what_the_box_refuses_is_said_and_the_rest_comes_in(
    tmp_path: Path, box: Places, cargo: Path, ring: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (cargo / "models" / "coder.gguf").write_bytes(b"GGUF" + bytes(200))
    medium = carried(tmp_path, cargo, ring, BUILT, monkeypatch, "models", "osv")
    said = io.StringIO()
    assert take(medium, judged(medium, ring), box, Terminal(said)) == 1
    assert {card.id for card in Registry(Home(box.home).models).list()} == {"tensors"}
    assert "coder.gguf" in said.getvalue() and "imported" in said.getvalue()
    accepted = box.accepted()
    assert accepted is not None and accepted.imports == {}


def test_older_media_are_refused_unless_a_person_says_so(
    tmp_path: Path, box: Places, cargo: Path, ring: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = carried(tmp_path, cargo, ring, BUILT + 9, monkeypatch, "osv")
    (cargo / "all.zip").write_bytes(b"older")
    old = carried(tmp_path, cargo, ring, BUILT, monkeypatch, "osv")
    kept = box.prefix / "received" / "osv" / "all.zip"
    assert take(new, judged(new, ring), box, quiet()) == 0
    with pytest.raises(Refused, match="newer medium before"):
        take(old, judged(old, ring), box, quiet())
    assert kept.read_bytes() == b"advisories"
    assert take(old, judged(old, ring), box, quiet(), older=True) == 0
    accepted = box.accepted()
    assert kept.read_bytes() == b"older" and accepted is not None and accepted.imports == {"osv": BUILT + 9}


def test_what_is_not_what_was_signed_reaches_no_command(
    tmp_path: Path, box: Places, cargo: Path, ring: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    medium = carried(tmp_path, cargo, ring, BUILT, monkeypatch, "models")
    file = medium / "models" / "coder.gguf"
    file.write_bytes(file.read_bytes()[:-1] + b"\xff")
    monkeypatch.setattr(importing.running, "command", lambda *_: pytest.fail("a command was started"))
    with pytest.raises(Refused, match="not what was signed"):
        take(medium, judged(medium, ring), box, quiet())


def test_without_a_box_there_is_nothing_that_could_take_it_in(tmp_path: Path, ring: Path) -> None:
    found = media.medium(tmp_path / "m", ring, kind="import")
    assert found is not None
    with pytest.raises(Refused, match="no box is installed"):
        take(tmp_path / "m", found, Places(tmp_path / "opt", tmp_path / "home"), quiet())


@pytest.fixture
def made(tmp_path: Path) -> Checkout:
    return checkout(tmp_path)


@pytest.mark.parametrize(("word", "why"), [
    ("models=/nowhere/at/all", "there is no"), ("models", "nothing is known"), ("cars=x", "nothing is known"),
    ("models={}", "not every medium can hold"), ("osv={}/empty", "is empty"),
])  # fmt: skip
def test_what_cannot_be_carried_is_said_when_the_medium_is_made(
    word: str, why: str, tmp_path: Path, made: Checkout
) -> None:
    media.fill(tmp_path / "in", {"a name with blanks.gguf": b"x"})
    (tmp_path / "in" / "empty").mkdir()
    with pytest.raises(InstallError, match=why):
        extras.add([word.format(tmp_path / "in")], tmp_path / "m", made, lambda _: tmp_path, quiet())


def test_vllm_s_wheels_come_with_the_list_that_pip_installs_them_by(tmp_path: Path, made: Checkout) -> None:
    media.fill(tmp_path / "locked", {"thing-1.0-py3-none-any.whl": b"a wheel"})
    assert extras.add(["vllm"], media.fill(tmp_path / "m", {}), made, lambda _: tmp_path / "locked", quiet()) == ()
    assert (tmp_path / "m" / "vllm" / "requirements.txt").read_text().startswith("thing==1.0 --hash=sha256:")


def test_boxes_that_run_take_in_neither_wheels_nor_packages(tmp_path: Path, made: Checkout, ring: Path) -> None:
    for words in ([], ["vllm"], ["debs"]):
        with pytest.raises(InstallError, match="a running box takes in no"):
            importable.make(made, ring, words, tmp_path / "out", quiet())
    assert not (tmp_path / "out").exists()


def test_a_receipt_goes_with_its_repository_and_a_folder_is_one_model(tmp_path: Path) -> None:
    folder = media.fill(
        tmp_path, dict.fromkeys(["models/a/x", "models/a/y", "mirrors/r.bundle", "mirrors/r.bundle.receipt"], b"1")
    )
    found = things(media.manifest_of(folder))
    assert [(one.name, len(one.files)) for one in found] == [("r.bundle", 2), ("a", 2)]
    assert [one.kind for one in found] == ["mirrors", "models"]
