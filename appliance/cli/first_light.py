"""The box's main job, once, on the bundled sample: from a bug report in plain words to a commit on the git server."""

from __future__ import annotations

import shutil
import tempfile
from importlib import resources
from pathlib import Path

from appliance import sample
from appliance.cli.context import Box
from appliance.cli.item import follow
from appliance.cli.story import story
from appliance.config import Home
from appliance.ledger import Ledger, open_ledger
from appliance.ledger.ids import item_of
from appliance.mirror.address import Address
from appliance.mirror.git import Git
from appliance.mirror.mirror import Mirror
from appliance.work import Autonomy, Kind, Signal, State, TrackedRepository

NAME = "sample"
SECONDS = 60.0
"""Longest time of one step in making the sample's repository."""
TITLE = "Free shipping is missing at exactly 50 euros"


def first_light(box: Box) -> bool:
    """File the sample's report and follow it to its end; a second time only tell how it went. True when it shipped."""
    ledger = open_ledger(box.home)
    known = [item for item in ledger.items(NAME) if item.title == TITLE]
    if known and known[0].state is State.CLOSED:
        item = known[0]
        commit = item.change.commit[:12] if item.change else ""
        box.say(f"the sample's report was shipped as {commit} before; `appliance item show {item.id}` tells its story")
        return True
    item_id = known[0].id if known else file_report(box, ledger)
    box.say(f"the report is {item_id}; its way along the line:")
    item = follow(box, item_id)
    box.say("")
    box.say(story(item, ledger.history(item_id)))
    box.say("")
    return item.state is State.CLOSED


def file_report(box: Box, ledger: Ledger) -> str:
    """Make the repository on its bare remote, mirror it, and file the report. Returns the item's id."""
    remote = make_remote(box.home)
    box.say(f"a small repository stands on the bare git remote {remote}")
    if all(tracked.name != NAME for tracked in ledger.repositories()):
        mirror = Mirror(box.home, NAME, remote.as_uri(), "", box.settings.mirror)
        mirror.create()
        ledger.add_repository(
            TrackedRepository(name=NAME, url=remote.as_uri(), branch=mirror.branch, autonomy=Autonomy.HIGH)
        )
    pending = [signal.id for signal, _ in ledger.signals(NAME) if signal.title == TITLE]
    if pending:
        return item_of(pending[0])
    body = resources.files(sample).joinpath("report.md").read_text(encoding="utf-8")
    kept = ledger.receive(Signal(id="", repo=NAME, title=TITLE, body=body, kind=Kind.BUG, source="sample"))
    return item_of(kept.id)


def make_remote(home: Home) -> Path:
    """The sample's bare repository with its first commit; made once, and whole or not at all."""
    remote = home.root / "sample" / "remote.git"
    if remote.exists():
        return remote
    remote.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=remote.parent) as folder, resources.as_file(resources.files(sample)) as files:
        tree, bare = Path(folder, "tree"), Path(folder, "bare.git")
        shutil.copytree(files / "repository", tree, ignore=shutil.ignore_patterns("__pycache__"))
        git = Git(home.secrets, NAME, SECONDS, Address(remote.as_uri()))
        who = {f"GIT_{role}_{what}": value for role in ("AUTHOR", "COMMITTER")
               for what, value in (("NAME", "Shop"), ("EMAIL", "shop@localhost"))}  # fmt: skip
        git(tree, "init", "--quiet", "--template=")
        git(tree, "add", "--all")
        git(tree, "commit", "--quiet", "-m", "Start of parcel", env=who)
        git(tree, "clone", "--quiet", "--bare", "--template=", "--", str(tree), str(bare))
        bare.rename(remote)
    return remote
