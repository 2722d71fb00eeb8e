"""The steps of an install, of an upgrade, and of the way back. The order is the promise: nothing the box runs on is
touched before the new release is whole and has migrated a copy of the data, all that is slow comes before the box
stops, and what the box accepts as newest changes only after it was healthy."""

from __future__ import annotations

from pathlib import Path

from installer.errors import InstallError
from installer.preflight import Row
from installer.target import first, health, prune, running, snapshots, surroundings, unpacking
from installer.target.journal import Step
from installer.target.places import point, write
from installer.target.work import WHOLE, Work, remove, whole


def steps(work: Work) -> list[Step]:
    """All steps, in order. Where the home holds data they are saved first."""
    return _back(work) if work.change.back else _forward(work)


def _forward(work: Work) -> list[Step]:
    places = work.places
    fresh = [
        Step("copy and check", lambda: whole(work.release), lambda: unpacking.stage(work),
             lambda: remove(places.staging)),
        Step("unpack the release", lambda: whole(work.release), lambda: unpacking.unpack(work),
             lambda: remove(work.release)),
    ]  # fmt: skip
    before = [
        Step("snapshot with keys", lambda: snapshots.saved(work), lambda: snapshots.save(work),
             lambda: remove(work.snapshot)),
        Step("migrate a copy", lambda: snapshots.rehearsed(work), lambda: snapshots.rehearse(work)),
        _halt(work),
        Step("what came in since", lambda: snapshots.complete(work), lambda: snapshots.save_the_rest(work)),
    ]  # fmt: skip
    after = [
        surroundings.step(places, work.site, work.terminal),
        first.step(work),
        surroundings.guard(places, work.site),
        Step("switch", lambda: _runs(work), lambda: _switch(work), lambda: _switch_back(work)),
        _launch(work),
        Step("health", lambda: False, lambda: _healthy(work)),
        Step("keep the way back", lambda: _way_back(work), lambda: point(places.previous, _link(work.change.previous))),
        prune.step(places, work.terminal, WHOLE),
    ]
    return [*fresh, *(before if work.change.kept else []), *after]


def _back(work: Work) -> list[Step]:
    """To the release before. `kept` says that the ledger's tables are others, so that the snapshot must come back."""
    places, aside = work.places, snapshots.aside(work)
    data = Step(
        "data of before the upgrade",
        lambda: snapshots.revision(places.home) == snapshots.revision(work.snapshot),
        lambda: snapshots.restore(places.home, work.snapshot, aside),
        lambda: snapshots.take_up_again(places.home, aside),
    )
    return [
        _halt(work),
        *([data] if work.change.kept else []),
        Step("switch", lambda: _runs(work), lambda: _switch(work), lambda: _switch_off(work)),
        _launch(work),
        Step("keep the way back", lambda: _way_back(work), lambda: point(places.previous, _link(work.change.previous))),
    ]


def _halt(work: Work) -> Step:
    places = work.places
    return Step("stop the box", lambda: _runs(work) or running.pid(places) is None, lambda: running.stop(places),
                lambda: _again(work))  # fmt: skip


def _launch(work: Work) -> Step:
    return Step("start", lambda: False, lambda: running.start(work.places, work.release, work.terminal),
                lambda: _stop(work))  # fmt: skip


def _runs(work: Work) -> bool:
    return work.places.chosen(work.places.current) == work.change.release


def _switch(work: Work) -> None:
    point(work.places.current, _link(work.change.release))


def _link(release: str) -> Path:
    return Path("releases") / release


def _way_back(work: Work) -> bool:
    return not work.change.previous or work.places.chosen(work.places.previous) == work.change.previous


def _switch_off(work: Work) -> None:
    running.stop(work.places)
    if work.change.previous:
        point(work.places.current, _link(work.change.previous))
    else:
        work.places.current.unlink(missing_ok=True)


def _switch_back(work: Work) -> None:
    """Back to the release before, with the data it can read: the snapshot's where the new one migrated them."""
    running.stop(work.places)
    home, snapshot = work.places.home, work.snapshot
    if whole(snapshot) and snapshots.revision(home) != snapshots.revision(snapshot):
        snapshots.restore(home, snapshot, snapshots.aside(work))
        work.terminal.say(f"the ledger is as before the upgrade; what was there is kept in {snapshots.aside(work)}")
    _switch_off(work)


def _stop(work: Work) -> None:
    if not work.change.mend:
        running.stop(work.places)


def _again(work: Work) -> None:
    if work.change.previous:
        running.start(work.places, work.old, work.terminal)


def _healthy(work: Work) -> None:
    rows = health.look(work.places, work.release)
    write(work.places.state / "health.json", {row.name: row.as_dict() for row in rows})
    for row in rows:
        work.terminal.done(f"  {row.name}", f"{row.verdict}: {row.found}")
    failed = [row for row in rows if row.verdict == "fail"]
    if failed:
        raise InstallError(f"the box is not healthy: {_named(failed)}", failed[0].fix)


def _named(rows: list[Row]) -> str:
    return "; ".join(f"{row.name}: {row.found}" for row in rows)
