"""The steps of a set-up: what is there is left alone, what is lacking is done, what fails is said."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from installer import setup as steps
from installer import system
from installer.errors import InstallError
from installer.setup import Stamps, Step, digest, perform, plan, setup, site_packages
from installer.system import Need
from installer.terminal import Terminal
from tests.installer.world import checkout, lock_of, pretend_environment, quiet


class Thing:
    """Something a step brings."""

    def __init__(self, there: bool, arrives: bool = True) -> None:
        self.there, self.arrives, self.applied = there, arrives, 0

    def step(self) -> Step:
        return Step("a thing", lambda: "" if self.there else "the thing", self.apply)

    def apply(self, name: str) -> None:
        self.applied += 1
        self.there = self.arrives


def test_a_step_that_lacks_nothing_is_not_applied() -> None:
    thing = Thing(there=True)
    perform(thing.step(), quiet())
    assert thing.applied == 0


def test_a_step_that_lacks_something_is_applied_once() -> None:
    thing = Thing(there=False)
    perform(thing.step(), quiet())
    assert thing.applied == 1


def test_a_step_that_still_lacks_something_afterwards_is_an_error() -> None:
    with pytest.raises(InstallError, match="still lacks the thing"):
        perform(Thing(there=False, arrives=False).step(), quiet())


def test_stamps_are_added_and_replaced(tmp_path: Path) -> None:
    stamps = Stamps(tmp_path)
    assert stamps.read() == {}
    stamps.write(runtime="1", models="2")
    stamps.write(runtime="3")
    assert stamps.read() == {"runtime": "3", "models": "2"}


@pytest.mark.parametrize("broken", ["", "{", "[]", "\x00"])
def test_broken_stamps_count_as_none(tmp_path: Path, broken: str) -> None:
    stamps = Stamps(tmp_path)
    stamps.file.write_text(broken, "utf-8")
    assert stamps.read() == {}


def everything_stamped(tmp_path: Path) -> steps.Checkout:
    made = checkout(tmp_path)
    pretend_environment(made)
    Stamps(made.venv).write(
        **{name: digest(made.lock(name)) for name in ("runtime", "dev", "models", "llama")},
        appliance=f"{digest(made.root / 'pyproject.toml')}:{made.root}",
        servers=steps.NOT_TO_BE_HAD,
        browser=steps.NOT_TO_BE_HAD,
    )
    return made


def test_a_second_run_says_and_does_nothing(tmp_path: Path) -> None:
    made, said = everything_stamped(tmp_path), io.StringIO()
    before = {file: file.stat().st_mtime_ns for file in made.root.rglob("*")}
    for dev in (False, True):
        setup(made, Terminal(said), dev=dev)
    assert said.getvalue() == ""
    assert {file: file.stat().st_mtime_ns for file in made.root.rglob("*")} == before
    assert not made.cache.exists()


def lacking(made: steps.Checkout, dev: bool) -> dict[str, str]:
    return {step.name: step.lacks() for step in plan(made, quiet(), dev) if step.lacks()}


def test_a_renewed_lock_makes_its_packages_lacking(tmp_path: Path) -> None:
    made = everything_stamped(tmp_path)
    made.lock("models").write_text(lock_of("thing", "2.0", "2" * 64), "utf-8")
    assert lacking(made, dev=True) == {"packages (dev set)": "models.lock"}


def test_a_development_lock_is_no_business_of_the_runtime_set(tmp_path: Path) -> None:
    made = everything_stamped(tmp_path)
    made.lock("dev").write_text(lock_of("thing", "2.0", "2" * 64), "utf-8")
    assert lacking(made, dev=False) == {}
    assert lacking(made, dev=True) == {"packages (dev set)": "dev.lock"}


def test_a_moved_checkout_installs_itself_again(tmp_path: Path) -> None:
    made = everything_stamped(tmp_path)
    moved = steps.Checkout(made.root.rename(tmp_path / "elsewhere"), made.cache)
    assert lacking(moved, dev=False) == {"the appliance itself": "its command"}


def test_a_new_release_of_the_engine_is_installed(tmp_path: Path) -> None:
    made = everything_stamped(tmp_path)
    made.lock("llama").write_text(lock_of("llama-cpp-python", "0.3.37", "3" * 64), "utf-8")
    assert lacking(made, dev=False) == {"llama.cpp": "the llama.cpp wheel"}


def test_an_environment_whose_python_is_gone_is_made_anew(tmp_path: Path) -> None:
    made = everything_stamped(tmp_path)
    assert site_packages(made) is not None
    made.python.unlink()
    made.python.symlink_to(tmp_path / "no-python-here")
    assert site_packages(made) is None
    assert "virtual environment" in lacking(made, dev=False)


def test_a_fresh_checkout_lacks_every_part_of_ours(tmp_path: Path) -> None:
    found = lacking(checkout(tmp_path), dev=True)
    assert {"virtual environment", "packages (dev set)", "llama.cpp", "the appliance itself"} <= set(found)


def test_a_server_that_does_not_start_is_an_error_with_its_words(tmp_path: Path) -> None:
    program = tmp_path / "llama-server"
    program.write_text("#!/bin/sh\necho libggml.so.0 is missing >&2\nexit 127\n", "utf-8")
    program.chmod(0o755)
    with pytest.raises(InstallError, match=r"status 127: libggml\.so\.0 is missing"):
        steps.answers(program)
    with pytest.raises(InstallError, match="does not start"):
        steps.answers(tmp_path / "nothing")


def test_a_server_is_tried_without_the_callers_library_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", "/somewhere")
    program = tmp_path / "llama-server"
    program.write_text('#!/bin/sh\n[ -z "$LD_LIBRARY_PATH" ]\n', "utf-8")
    program.chmod(0o755)
    steps.answers(program)


@pytest.fixture
def lacking_server(monkeypatch: pytest.MonkeyPatch) -> Need:
    """A machine of root's with apt and without a server that tests need."""
    need = Need("sshd", "tests of ssh", "openssh-server", lambda: False)
    monkeypatch.setattr(system, "servers", lambda: [need])
    monkeypatch.setattr(system, "possible", lambda: True)
    return need


def test_servers_are_for_tests_alone(tmp_path: Path, lacking_server: Need) -> None:
    made = everything_stamped(tmp_path)
    Stamps(made.venv).write(servers="")
    assert lacking(made, dev=False) == {}
    assert lacking(made, dev=True) == {"servers for tests": "openssh-server"}


def test_a_browser_that_apt_has_not_got_keeps_no_server_away(
    tmp_path: Path, lacking_server: Need, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, brought = everything_stamped(tmp_path), []
    Stamps(made.venv).write(servers="", browser="")
    monkeypatch.setattr(system, "browser", lambda: [Need("chromium", "tests", "chromium", lambda: False)])

    def bring(lacking: list[Need], *_: object) -> None:
        packages = [need.package for need in lacking]
        if "chromium" in packages:
            raise InstallError("no candidate")
        brought.extend(packages)
        monkeypatch.setattr(system, "servers", list)

    monkeypatch.setattr(system, "bring", bring)
    setup(made, Terminal(io.StringIO()), dev=True)
    assert brought == ["openssh-server"]
    assert lacking(made, dev=True) == {}


def test_servers_that_this_user_may_not_install_are_not_lacking(
    tmp_path: Path, lacking_server: Need, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = everything_stamped(tmp_path)
    Stamps(made.venv).write(servers="")
    monkeypatch.setattr(system, "possible", lambda: False)
    assert lacking(made, dev=True) == {}


def test_servers_that_are_not_to_be_had_are_told_once_and_stop_nothing(
    tmp_path: Path, lacking_server: Need, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, said = everything_stamped(tmp_path), io.StringIO()
    Stamps(made.venv).write(servers="")

    def fails(*_: object) -> None:
        raise InstallError("no network")

    monkeypatch.setattr(system, "bring", fails)
    setup(made, Terminal(said), dev=True)
    assert "no network" in said.getvalue() and "skipped" in said.getvalue()
    assert lacking(made, dev=True) == {}
