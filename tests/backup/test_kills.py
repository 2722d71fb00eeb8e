"""SIGKILL at every file that a backup or a restore puts in place or removes: older backups stay whole, and what was cut
short either goes on or does not start."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest

from appliance.backup import binding
from appliance.backup.creating import SCRATCH
from appliance.backup.vault import DRAFT
from appliance.cli.init import make_home
from appliance.config import Home
from appliance.errors import Conflict, VerificationFailed
from appliance.work import Result
from tests.backup.world import World

CHANGES = frozenset({"os.rename", "os.remove", "os.chmod", "os.rmdir"})
"""What the interpreter announces right before it calls the kernel."""


def killed_at(number: int, work: Callable[[], object]) -> bool:
    """Do the work in a child that kills itself before its n-th change; False when it came to its end."""
    child = os.fork()
    if child == 0:
        left = number

        def hook(event: str, _args: object) -> None:
            nonlocal left
            if event in CHANGES:
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        try:
            sys.addaudithook(hook)
            work()
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0
    return False


def test_a_backup_killed_at_any_change_leaves_the_older_one_whole_and_is_made_up_for_by_the_next(world: World) -> None:
    first = world.create().manifest.name
    number = 0
    while True:
        number += 1
        (world.home.evidence / "W-1" / f"{number}.json").write_text(f"new {number}")
        world.note()
        if not killed_at(number, lambda: world.create(keep=1)):
            break
        there = [one.name for one in world.vault.manifests()]
        assert first in there or len(there) == 1
        assert all(world.verify(name, key=False).stored == Result.PASS for name in there), number
    assert number > 8
    (last,) = [one.name for one in world.vault.manifests()]
    assert last != first and world.verify().content == Result.PASS
    assert not [*world.vault.folder.glob(f"{DRAFT}*"), *world.home.run.glob(f"{SCRATCH}*/")]
    named = {part.name for part in world.vault.get("").parts}
    assert {part.stem for part in world.parts()} == named


def test_a_restore_killed_at_any_change_does_not_start_until_it_was_ended(world: World) -> None:
    world.create()
    back = Home(world.root / "back")
    number, kills = 1, 0
    while killed_at(number, lambda: world.restore()):
        kills += 1
        with pytest.raises(VerificationFailed, match="cut short"):
            binding.check(back)
        with pytest.raises(VerificationFailed, match="cut short"):
            make_home(back)
        number += 5 if number % 2 else 2  # goes on where it was, so that the same change is not met again
    assert kills > 3 and binding.check(back)
    model = "models/coder-7b/model.gguf"
    assert (back.root / model).read_bytes() == (world.home.root / model).read_bytes()
    assert not list(back.root.rglob("*.half")) and not (back.root / binding.RESTORING).exists()


def test_another_backup_is_not_mixed_into_one_that_was_cut_short(world: World) -> None:
    first = world.create().manifest.name
    world.create()
    assert killed_at(9, lambda: world.restore(first))
    with pytest.raises(Conflict, match=f"{first} is being restored"):
        world.restore()
    assert world.restore(first).name == first


@pytest.mark.integration
def test_a_full_disk_is_said_and_leaves_the_older_backup_whole(world: World) -> None:
    """On a real file system of 8 MiB, in a namespace of its own."""
    disk = world.root / "disk"
    disk.mkdir()
    probe = ["unshare", "--user", "--map-root-user", "--mount"]
    backup = f"{sys.executable} -m appliance --home {world.home.root} backup"
    script = (
        f"mount -t tmpfs -o size=8m tmpfs {disk} && {backup} create"
        f" && head -c 9000000 /dev/urandom > {world.home.models}/coder-7b/second.gguf"
        f" && {backup} create; echo status $?; ls {disk}; {backup} verify"
    )
    if subprocess.run([*probe, "true"], check=False, capture_output=True).returncode:
        pytest.skip("this machine lets nobody make a namespace to mount a small disk in")
    text = world.home.settings_file.read_text()
    lines = f'[backup]\nfolder = "{disk}"\nrecipients = ["{world.public}"]\n'
    world.home.settings_file.write_text(text.partition("[backup]")[0] + lines)
    done = subprocess.run([*probe, "sh", "-c", script], capture_output=True, text=True, check=False)
    assert "status 1" in done.stdout and "is full; the backups before stay whole" in done.stderr, done
    assert DRAFT not in done.stdout and "content: INCONCLUSIVE" in done.stdout
