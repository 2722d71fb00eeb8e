"""Watching for frictions: each is noted once at its item, counted over items, and filed when there are too many.

Detection reads an item's whole history, and what was noted before is part of it: killed at any instant, nothing is
noted twice. What is filed has a key of kind, place and window, by which the ledger keeps it once. An item that was
itself filed from here is watched, too, but never counts towards another: filing cannot feed itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from appliance.errors import NotFound, VerificationFailed
from appliance.events import STAGE_FACTS, Event, Fact
from appliance.evidence import read
from appliance.learning.frictions import MEANING, Sign, found, of_transcript, step_of, trajectories
from appliance.learning.said import text
from appliance.learning.transcripts import MOST_BYTES
from appliance.ledger import Ledger
from appliance.ledger.chain import Recorded
from appliance.settings import LearningSettings
from appliance.work import ENDED, Kind, Signal

WATERMARK = "frictions"
SOURCE = "learning"
AT_ONCE = 200
"""Events looked at in one step; taking in what is new comes between steps."""
WATCHED = frozenset({*map(str, STAGE_FACTS.values()), str(Fact.STAGE_ERRED), str(Fact.COMMAND_GIVEN)})
MOST_TRAJECTORIES = 20
"""Of one item, the newest."""
SHOWN = 10
"""Items a signal names."""

CALLS = (
    "SELECT call, model, error, strftime(happened, '%Y-%m-%dT%H:%M:%S+00:00') AS at FROM model_calls"
    " WHERE item = $item AND error <> '' ORDER BY happened, call"
)
COUNT = (
    "SELECT subject AS item, any_value(seq) AS seq, any_value(json_extract_string(payload, '$.words')) AS words,"
    " any_value(json_extract_string(payload, '$.evidence[#-1]')) AS evidence"
    " FROM events WHERE kind = 'FrictionFound' AND json_extract_string(payload, '$.repo') = $repo"
    " AND json_extract_string(payload, '$.kind') = $kind AND json_extract_string(payload, '$.place') = $place"
    " AND json_extract_string(payload, '$.own') = 'false' AND json_extract_string(payload, '$.at') >= $since"
    " GROUP BY subject ORDER BY seq"
)

Ask = Callable[[str, Mapping[str, Any]], list[dict[str, Any]]]


class Watch:
    """Looks at what the store has taken over, a few events at a time."""

    def __init__(self, ledger: Ledger, ask: Ask, settings: LearningSettings, evidence: Path) -> None:
        self.ledger, self.ask, self.settings, self.evidence = ledger, ask, settings, evidence

    def step(self, upto: int) -> bool:
        """Look at some events with a number up to `upto`. False when there was nothing new."""
        after = self.ledger.watermark(WATERMARK)
        events = [event for event in self.ledger.tail(after, AT_ONCE) if event.seq <= upto]
        if not events:
            return False
        for item in dict.fromkeys(event.subject for event in events if event.kind in WATCHED):
            self.note(item)
        for event in events:
            if event.kind == Fact.FRICTION_FOUND and self.settings.friction_count:
                self.file(event)
        self.ledger.set_watermark(WATERMARK, events[-1].seq)
        return True

    def note(self, id: str) -> None:
        """Note the item's frictions that are not noted yet."""
        history = self.ledger.history(id)
        known = {
            (event.payload.get("kind"), event.payload.get("place"))
            for event in history
            if event.kind == Fact.FRICTION_FOUND
        }
        all_found = found(history, self.ask(CALLS, {"item": id}), self.transcripts(id, history))
        fresh = [one for one in all_found if (one.kind, one.place) not in known]
        if not fresh:
            return
        try:
            item = self.ledger.item(id)
            own = any(self.ledger.signal(signal)[0].source == SOURCE for signal in item.signals)
        except NotFound:
            return  # what the events are about is no item of this ledger
        for one in fresh:
            payload = {"repo": item.repo, "own": own, **one.model_dump(mode="json")}
            self.ledger.append(Event(kind=Fact.FRICTION_FOUND, subject=id, payload=payload))

    def transcripts(self, id: str, history: Sequence[Recorded]) -> Iterator[Sign]:
        """What rubbed in the item's newest trajectories. One that is gone, or not what was kept, tells nothing."""
        for told in deque(trajectories(history), MOST_TRAJECTORIES):
            folder = self.evidence / id
            with suppress(NotFound, VerificationFailed, OSError):
                if (folder / told.kept.file).stat().st_size <= MOST_BYTES:
                    yield from of_transcript(told, read(folder, told.kept))

    def file(self, event: Recorded) -> None:
        """File what happened to too many items of a repository within the window, unless it is filed already."""
        said = {name: text(event.payload.get(name)) for name in ("repo", "kind", "place", "at")}
        if event.payload.get("own") is not False or said["kind"] not in MEANING:
            return
        at = datetime.fromisoformat(said.pop("at"))
        window = timedelta(days=self.settings.friction_days)
        rows = self.ask(COUNT, {**said, "since": (at - window).isoformat(timespec="milliseconds")})
        if len(rows) < self.settings.friction_count:
            return
        number = int(at.timestamp() // window.total_seconds())
        if self.pending(said, number - 1):
            return
        try:
            self.ledger.receive(signal_of(said, rows, self.settings, key_of(said, number)))
        except NotFound:
            return  # the repository is looked after no longer

    def pending(self, said: Mapping[str, str], window: int) -> bool:
        """Is what was filed in an earlier window still open?"""
        before = self.ledger.signal_of_key(said["repo"], key_of(said, window))
        return before is not None and before[1] != "" and self.ledger.item(before[1]).state not in ENDED


def key_of(said: Mapping[str, str], window: int) -> str:
    """The key under which a friction is filed once."""
    return f"friction:{said['kind']}:{said['place']}:{window}"


def shown(row: Mapping[str, Any]) -> str:
    """Where the newest sign of an item is to be seen, for whoever reads what was filed.

    >>> shown({"item": "W-1", "evidence": "event 7, attempt 1, trajectory-ab.json step 3"})
    '; event 7, attempt 1, trajectory-ab.json step 3: /items/W-1/trajectory/trajectory-ab.json#step-3'
    """
    where = text(row.get("evidence"))
    step = step_of(where)
    page = f": /items/{row['item']}/trajectory/{step[0]}#step-{step[1]}" if step else ""
    return f"; {where}{page}" if where else ""


def signal_of(said: Mapping[str, str], rows: list[dict[str, Any]], settings: LearningSettings, key: str) -> Signal:
    """What is filed: the friction, how often, and where to look."""
    lines = [
        f"Within {settings.friction_days:g} days this happened to {len(rows)} items of {said['repo']}: "
        f"{MEANING[said['kind']]} ({said['place']}).",
        "",
        *(f"- {row['item']}: {row['words']} (event {row['seq']}{shown(row)})" for row in rows[-SHOWN:]),
        "",
        "`appliance item show ID` tells each item's story; `appliance learn frictions` counts them.",
    ]
    return Signal(
        id="", repo=said["repo"], title=f"Friction: {MEANING[said['kind']]} ({said['place']})", body="\n".join(lines),
        kind=Kind.FINDING, source=SOURCE, key=key,
    )  # fmt: skip
