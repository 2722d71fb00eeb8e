from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from appliance.errors import (
    Conflict,
    FactoryError,
    LimitExceeded,
    NotFound,
    Unavailable,
    UsageError,
    VerificationFailed,
)
from models import importing
from models.card import Card
from models.importing import import_model
from models.registry import Registry
from tests.models.gguf_files import METADATA, assemble, good, write_good


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "models")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_good(tmp_path / "Coder 7B.gguf")


def leavings(registry: Registry) -> list[str]:
    """What lies in the registry's folder besides models and the lock."""
    return sorted(p.name for p in registry.folder.glob(".*") if p.name != ".lock") if registry.folder.exists() else []


def test_an_imported_model_is_listed_found_and_sound(registry: Registry, source: Path) -> None:
    done = import_model(source, registry, aliases=("coder",))
    assert done.outcome == "added" and done.card.id == "coder-7b"
    assert registry.list() == (done.card,) and registry.find("coder") == registry.get("coder-7b") == done.card
    assert registry.path(done.card).read_bytes() == source.read_bytes()
    assert registry.verify("coder-7b") == done.card
    assert leavings(registry) == []


def test_importing_again_changes_nothing_or_the_card_alone(registry: Registry, source: Path) -> None:
    import_model(source, registry)
    assert import_model(source, registry).outcome == "unchanged"
    updated = import_model(source, registry, licence="MIT-0", tasks=("repair",), aliases=("c",))
    assert updated.outcome == "updated"
    card = registry.get("coder-7b")
    assert (card.licence, card.tasks, card.aliases) == ("MIT-0", ("repair",), ("c",))
    assert len(registry.list()) == 1


def test_the_same_weights_under_another_name_are_an_alias_not_a_copy(registry: Registry, source: Path) -> None:
    import_model(source, registry)
    with pytest.raises(Conflict, match="as coder-7b") as caught:
        import_model(source, registry, id="other")
    assert "--alias other" in caught.value.hint


def test_names_are_given_once_and_looked_up_before_the_copy(
    registry: Registry, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import_model(source, registry, id="a", aliases=("b",))
    other = write_good(tmp_path / "other.gguf", fill=1)
    monkeypatch.setattr(importing, "copy", lambda *_: pytest.fail("it was copied"))
    for id, aliases in (("a", ()), ("b", ()), ("c", ("a",)), ("c", ("b",))):
        with pytest.raises(Conflict):
            import_model(other, registry, id=id, aliases=aliases)
    assert [card.id for card in registry.list()] == ["a"] and leavings(registry) == []
    monkeypatch.undo()
    import_model(other, registry, id="c")
    with pytest.raises(Conflict, match="belongs to the model a"):
        import_model(other, registry, aliases=("b",))


def test_unknown_names_come_with_near_ones(registry: Registry, source: Path) -> None:
    with pytest.raises(NotFound) as caught:
        registry.find("coder")
    assert "model import" in caught.value.hint
    import_model(source, registry)
    for look in (registry.find, registry.get, registry.verify, registry.remove):
        with pytest.raises(NotFound) as caught:
            look("coder-8b")
        assert "did you mean coder-7b" in caught.value.hint


def test_reading_makes_nothing(registry: Registry) -> None:
    assert registry.list() == () and registry.problems() == () and registry.generation()
    with pytest.raises(NotFound):
        registry.remove("a")
    assert not registry.folder.exists()


@pytest.mark.parametrize("name", ["..", ".lock", "../models/a", "a/../a", "/etc"])
def test_no_name_leads_out_of_the_registry(registry: Registry, source: Path, name: str) -> None:
    import_model(source, registry, id="a")
    with pytest.raises(NotFound):
        registry.get(name)
    with pytest.raises(UsageError):
        registry.remove(name)
    assert registry.get("a")


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        (good()[:300], VerificationFailed), (good()[:-30], VerificationFailed), (b"", VerificationFailed),
        (assemble(METADATA, [], 0), VerificationFailed),
    ],
)  # fmt: skip
def test_a_broken_file_is_refused_and_leaves_nothing(
    registry: Registry, tmp_path: Path, raw: bytes, error: type[FactoryError]
) -> None:
    file = tmp_path / "broken.gguf"
    file.write_bytes(raw)
    with pytest.raises(error) as caught:
        import_model(file, registry)
    assert caught.value.hint and not registry.folder.exists()


def test_what_is_no_file_is_not_found(registry: Registry, tmp_path: Path) -> None:
    for path in (tmp_path / "none.gguf", tmp_path / ("x" * 300), Path("/dev/null")):
        with pytest.raises(NotFound):
            import_model(path, registry)
    with pytest.raises(UsageError, match="holds no files"):
        import_model(tmp_path, registry)


def test_a_name_or_task_that_cannot_be_is_refused_before_copying(registry: Registry, source: Path) -> None:
    for id, tasks in (("auto", ()), ("a/b", ()), ("a", ("sing",))):
        with pytest.raises(UsageError):
            import_model(source, registry, id=id, tasks=tasks)
    with pytest.raises(UsageError):
        import_model(source, registry, aliases=("search",))
    assert registry.list() == () and leavings(registry) == []


def test_a_source_that_changes_while_it_is_copied_is_judged_by_the_copy(
    registry: Registry, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "_check_space", lambda *_: os.truncate(source, 100))
    with pytest.raises(VerificationFailed, match="cut short"):
        import_model(source, registry)
    assert registry.list() == () and leavings(registry) == []


def test_too_little_room_is_said_before_copying(
    registry: Registry, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "SPARE", 1 << 62)
    with pytest.raises(LimitExceeded, match="must stay free"):
        import_model(source, registry)
    assert not registry.folder.exists()


def test_a_registry_that_cannot_be_written_is_said_plainly(source: Path, tmp_path: Path) -> None:
    (tmp_path / "models").write_text("not a folder")
    with pytest.raises(Unavailable, match="cannot write to") as caught:
        import_model(source, Registry(tmp_path / "models"))
    assert "writable" in caught.value.hint


def test_damaged_weights_are_found(registry: Registry, source: Path) -> None:
    card = import_model(source, registry, id="a").card
    weights = registry.path(card)
    raw = bytearray(weights.read_bytes())
    raw[-40] ^= 1
    weights.write_bytes(raw)
    with pytest.raises(VerificationFailed, match="SHA-256") as caught:
        registry.verify("a")
    assert "remove a" in caught.value.hint
    weights.write_bytes(raw[:-1])
    with pytest.raises(VerificationFailed, match="bytes"):
        registry.verify("a")
    weights.unlink()
    with pytest.raises(VerificationFailed, match="missing"):
        registry.verify("a")


def test_a_broken_card_hides_one_model_only(registry: Registry, source: Path, tmp_path: Path) -> None:
    sound = import_model(source, registry, id="a").card
    import_model(write_good(tmp_path / "b.gguf", 1), registry)
    for text in ("{", "{}", sound.model_dump_json(), sound.with_(id="b", file="../a/model.gguf").model_dump_json()):
        (registry.folder / "b" / "card.json").write_text(text)
        assert registry.list() == (sound,)
        assert len(registry.problems()) == 1 and registry.problems()[0].startswith("b: ")
        with pytest.raises(VerificationFailed):
            registry.get("b")
    (registry.folder / "b" / "card.json").unlink()
    with pytest.raises(VerificationFailed, match=r"has no card\.json"):
        registry.get("b")


def test_generation_changes_with_every_change(registry: Registry, source: Path) -> None:
    seen = [registry.generation()]
    card = import_model(source, registry, id="a").card
    seen.append(registry.generation())
    registry.update(card.with_(notes="new"))
    seen.append(registry.generation())
    assert registry.generation() == seen[-1]
    registry.remove("a")
    assert len(set(seen)) == 3 and registry.generation() == seen[0] and registry.list() == ()


def test_one_of_many_importers_wins_and_the_others_see_it(registry: Registry, source: Path) -> None:
    def one(n: int) -> str:
        try:
            return import_model(source, registry, id="a").outcome
        except Conflict:
            return "conflict"

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(one, range(8)))
    assert outcomes.count("added") == 1 and set(outcomes) <= {"added", "unchanged", "conflict"}
    assert registry.verify("a") and leavings(registry) == []


IMPORT = """
import sys, time
from pathlib import Path
from models.importing import import_model
from models.registry import Registry
def slow(done, total):
    print("copied", flush=True)
    time.sleep(60)
import_model(Path(sys.argv[1]), Registry(Path(sys.argv[2])), "killed", progress=slow)
"""


@pytest.mark.integration
def test_a_killed_import_is_gone_on_with_and_leaves_nothing(registry: Registry, source: Path, tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", IMPORT, str(source), str(registry.folder)], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == b"copied\n"
        assert registry.list() == () and len(leavings(registry)) == 1
        import_model(write_good(tmp_path / "other.gguf", 1), registry)
        assert len(leavings(registry)) == 1, "what a living process makes is left alone"
        process.kill()
    assert [card.id for card in registry.list()] == ["other"]
    done = import_model(source, registry, "killed")
    assert (done.outcome, done.resumed_bytes) == ("added", source.stat().st_size)
    assert leavings(registry) == [] and registry.verify("killed")


def toil(folder: Path, files: list[Path]) -> None:
    registry = Registry(folder)
    while True:
        for file in files:
            import_model(file, registry)
        for file in files:
            registry.remove(file.stem)


@pytest.mark.integration
def test_killed_at_random_moments_a_model_is_whole_or_absent(registry: Registry, tmp_path: Path) -> None:
    files = [write_good(tmp_path / f"m{n}.gguf", n) for n in range(3)]
    context = multiprocessing.get_context("spawn")
    for n in range(0, 15, 2):
        worker = context.Process(target=toil, args=(registry.folder, files))
        worker.start()
        while not registry.list() and worker.is_alive():
            time.sleep(0.005)
        time.sleep(0.003 * n)
        assert worker.pid is not None and worker.is_alive()
        os.kill(worker.pid, signal.SIGKILL)
        worker.join()
        assert registry.problems() == ()
        for card in registry.list():
            assert isinstance(registry.verify(card.id), Card)
            registry.remove(card.id)
    for file in files:
        import_model(file, registry)
    assert leavings(registry) == []
