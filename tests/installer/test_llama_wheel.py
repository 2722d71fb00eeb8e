"""Where the llama.cpp wheel comes from, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from installer import llama_wheel
from installer.checkout import Checkout
from installer.errors import Refused
from installer.llama_recipe import processor_features
from installer.llama_wheel import NOTE, compiled_file, compiled_share, put_into_wheelhouse, ready, recipe, sha256
from installer.wheel_slimming import note_of
from tests.installer.world import VERSION, checkout, wheel

FILE = f"llama_cpp_python-{VERSION}-py3-none-linux_x86_64.whl"


def built(folder: Path, *features: str, hashed: bool = True) -> Path:
    """A stand-in for the wheel, with the note of its build and its recorded hash."""
    note = json.dumps({"features": features}).encode()
    members = {f"llama_cpp_python-{VERSION}.dist-info/{NOTE}": note}
    made = wheel(folder / FILE, members, "llama_cpp_python", VERSION)
    if hashed:
        made.with_name(FILE + ".sha256").write_text(f"{sha256(made)}  {FILE}\n", "utf-8")
    return made


def cache_of(made: Checkout) -> Path:
    return made.cache / "wheels" / recipe(made).key


def test_without_wheelhouse_and_cache_it_must_be_built(tmp_path: Path) -> None:
    assert ready(checkout(tmp_path)) is None


def test_the_cached_wheel_of_this_recipe_is_taken(tmp_path: Path) -> None:
    made = checkout(tmp_path)
    there = built(cache_of(made))
    assert ready(made) == there


def test_a_cached_wheel_without_its_hash_does_not_count(tmp_path: Path) -> None:
    made = checkout(tmp_path)
    built(cache_of(made), hashed=False)
    assert ready(made) is None


def test_a_cached_wheel_that_changed_does_not_count(tmp_path: Path) -> None:
    made = checkout(tmp_path)
    with built(cache_of(made)).open("ab") as file:
        file.write(b"x")
    assert ready(made) is None


def test_the_wheelhouse_comes_before_the_cache(tmp_path: Path) -> None:
    made = checkout(tmp_path)
    built(cache_of(made))
    carried = built(made.wheelhouse)
    assert ready(made) == carried


def test_a_carried_wheel_that_changed_on_the_way_is_refused(tmp_path: Path) -> None:
    made = checkout(tmp_path)
    with built(made.wheelhouse).open("ab") as file:
        file.write(b"x")
    with pytest.raises(Refused, match="is not the file that was recorded") as refusal:
        ready(made)
    assert refusal.value.exit_status == 3


def test_a_carried_wheel_for_another_processor_is_refused_by_name(tmp_path: Path) -> None:
    made = checkout(tmp_path)
    built(made.wheelhouse, "no-such-feature", *sorted(processor_features())[:1])
    with pytest.raises(Refused, match="lacks: no-such-feature") as refusal:
        ready(made)
    assert "built here" in refusal.value.hint


def test_what_is_put_into_the_wheelhouse_carries_its_hash(tmp_path: Path) -> None:
    made = checkout(tmp_path)
    put = put_into_wheelhouse(made, built(cache_of(made)))
    assert ready(made) == put and put.parent == made.wheelhouse


def test_a_wheel_is_kept_with_the_note_of_its_build(tmp_path: Path) -> None:
    made = checkout(tmp_path)
    plan = recipe(made)
    raw = wheel(tmp_path / "out" / FILE, {"llama_cpp/__init__.py": b""}, "llama_cpp_python", VERSION)
    kept = llama_wheel._keep(raw, plan, cache_of(made))
    assert ready(made) == kept
    assert json.loads(note_of(kept, NOTE) or b"")["version"] == VERSION
    assert [file.name for file in kept.parent.iterdir() if file.name.startswith(".")] == []


@pytest.mark.parametrize(
    ("line", "share"),
    [("[12/240] Building CXX object x.o", 0.05), ("  [240/240] Linking", 1.0), ("Install the project...", None)],
)
def test_the_compilers_progress_is_read_from_its_lines(line: str, share: float | None) -> None:
    assert compiled_share(line) == share


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("  [25/224] ccache /usr/bin/g++ -DX -o a/b.cpp.o -c /tmp/source/src/b.cpp\n", "[25/224] b.cpp"),
        ("[224/224] : && /usr/bin/g++ -shared -o bin/x.so\n", "[224/224] : && /usr/bin/g++ -shared -o bin/x.so"),
        ("*** Installing project\n", "*** Installing project"),
    ],
)
def test_the_compilers_source_is_shown_and_not_its_command(line: str, shown: str) -> None:
    assert compiled_file(line) == shown
