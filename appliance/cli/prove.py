"""`appliance prove`: have the box do each thing it is for, once, and say how it went. An installation ends with it."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from appliance.cli.context import Box, pass_box
from appliance.cli.doctor import Check, guarded, in_words
from appliance.cli.processes import NAMES, specs
from appliance.config import Home
from appliance.errors import FactoryError, VerificationFailed
from appliance.events import Event, Fact
from appliance.gateway_client import GatewayModel
from appliance.learning.client import LearningClient
from appliance.ledger import open_ledger
from appliance.ledger.audit import verify_home
from appliance.mirror.address import Address
from appliance.mirror.git import Git
from appliance.mirror.mirror import Mirror
from models.card import WRITING
from models.registry import Registry

PATIENCE_SECONDS = 20.0
"""For a gateway whose engine is still taking its model into memory."""
ANSWER_SECONDS = 120.0
SAID = "is anybody there?"


@click.command()
@pass_box
def command(box: Box) -> int:
    """Ask every process, have a text embedded and a token written, fetch with git, write to the audit chain.

    What cannot be tried (no model that writes) is a warning. Exit 5 when something fails.
    """
    box.require_home()
    rows = [row for prove in PROOFS for row in guarded(prove, box)]
    box.emit([row._asdict() for row in rows], lambda: "\n".join(in_words(rows)))
    return VerificationFailed.exit_status if any(row.verdict == "fail" for row in rows) else 0


def processes(box: Box) -> Iterator[Check]:
    """Every process, over its own door."""
    for spec in specs(box.home, box.settings, NAMES):
        began = time.monotonic()
        good = spec.probe()
        if good and spec.name == "learning":
            LearningClient(box.home).status()
        found = f"answers ({1000 * (time.monotonic() - began):.0f} ms)" if good else "does not answer"
        yield Check(spec.name, "pass" if good else "fail", found, "" if good else f"see {spec.log}")


def embedding(box: Box) -> Iterator[Check]:
    """One text as a vector of the box's own model, over the gateway."""
    door = _gateway(box)
    try:
        (vector,) = door.embed([SAID])
    except FactoryError as error:
        yield Check("embedding", "fail", error.message, _logs(box))
        return
    finally:
        door.close()
    good = any(vector)
    yield Check("embedding", "pass" if good else "fail", f"a vector of {len(vector)} numbers" if good else "all zeros",
                "" if good else _logs(box))  # fmt: skip


def answer(box: Box) -> Iterator[Check]:
    """One token of a model that writes. Where one is configured, a broken one is a failure."""
    writing = [card for card in Registry(box.home.models).list() if set(card.tasks) & set(WRITING)]
    if not writing:
        yield Check("answer", "warn", "not tried: no model that writes is here", "`appliance model import FILE`")
        return
    task = next(one for one in WRITING if one in writing[0].tasks)
    door = _gateway(box)
    try:
        said = door.chat([{"role": "user", "content": "Say yes."}], task=task, max_tokens=1)
    except FactoryError as error:
        yield Check("answer", "fail", f"{', '.join(card.id for card in writing)}: {error.message}", _logs(box))
        return
    finally:
        door.close()
    good = said.completion_tokens > 0
    yield Check("answer", "pass" if good else "fail", f"{said.completion_tokens} token of {said.model}",
                "" if good else _logs(box))  # fmt: skip


def git(box: Box) -> Iterator[Check]:
    """A tiny repository is mirrored, and what is committed to it afterwards is fetched."""
    with tempfile.TemporaryDirectory(prefix="prove-", dir=box.home.computers) as folder:
        home, tree = Home(Path(folder, "home")), Path(folder, "tree")
        for one in (home.root, *home.folders, tree):
            one.mkdir(parents=True, exist_ok=True)
        by = Git(home.secrets, "prove", ANSWER_SECONDS, Address(tree.as_uri()))
        who = {f"GIT_{role}_{what}": "prove@localhost"
               for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}  # fmt: skip
        by(tree, "init", "--quiet", "--template=", "-b", "main")
        by(tree, "commit", "--quiet", "--allow-empty", "-m", "one", env=who)
        mirror = Mirror(home, "prove", tree.as_uri(), "main", box.settings.mirror)
        mirror.create()
        by(tree, "commit", "--quiet", "--allow-empty", "-m", "two", env=who)
        fetched, wanted = mirror.sync(), by(tree, "rev-parse", "main").strip()
    good = fetched == wanted
    yield Check("git fetch", "pass" if good else "fail", "a commit came in" if good else f"{fetched} is not {wanted}")


def audit(box: Box) -> Iterator[Check]:
    """An entry is added, and the whole chain with it holds."""
    ledger = open_ledger(box.home)
    ledger.append(Event(kind=Fact.BOX_PROVED, subject="box"))
    seen = verify_home(ledger, box.home)
    yield Check("audit", "pass" if seen.ok else "fail",
                f"an entry was added, {seen.events} are whole" if seen.ok else f"the chain is broken: {seen.problem}",
                "" if seen.ok else "compare the ledger with a backup")  # fmt: skip


def _gateway(box: Box) -> GatewayModel:
    return GatewayModel.of_the_line(box.home, PATIENCE_SECONDS)


def _logs(box: Box) -> str:
    return f"see gateway.log and engines.log in {box.home.logs}"


PROOFS: tuple[Callable[[Box], Iterator[Check]], ...] = (processes, embedding, answer, git, audit)
