"""What the box remembers reaches the next droid and the next review, in real processes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.taught_world import (
    EVALUATED,
    LESS,
    LITERAL,
    NAME,
    broken_by_another,
    taught_repository,
    teachable,
)
from tests.e2e.world import RunningBox, until

pytestmark = [pytest.mark.e2e, pytest.mark.integration, pytest.mark.timeout(900)]
WHY = "amounts are compared in cents, never evaluated from text"


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBox]:
    folder = tmp_path_factory.mktemp("taught")
    settings = {"LINE_POLL_SECONDS": "0.1", "LEARNING_LESSON_SUCCESSES": "1", "LEARNING_REPLAY_DAYS": "0"}
    running = RunningBox(folder / "home", **{f"APPLIANCE_{name}": value for name, value in settings.items()})
    running.start()
    yield running
    assert running.stop() == 0, running.said()


def lessons(box: RunningBox, source: str) -> list[dict[str, Any]]:
    return [one for one in box.ask("learn", "lessons", "list") if one["source"] == source]


def approved(box: RunningBox, item: str) -> dict[str, Any]:
    """The item's end, once a person has let it ship."""
    waiting = box.settled(item)
    assert (waiting["state"], waiting["stage"]) == ("needs_human", "ship"), waiting["waiting_for"]
    assert box.cli("item", "approve", item).returncode == 0
    return dict(until(lambda: (now := box.settled(item))["state"] != "needs_human" and now, f"{item} ends"))


def test_a_revert_a_finding_and_a_rejection_teach_the_next_change(box: RunningBox, tmp_path: Path) -> None:
    bare = taught_repository(box, tmp_path)
    broken_by_another(bare)
    with teachable(box) as model:
        model.answers = {"discounted": LESS}
        first = box.report(NAME, "REPORT discounted raises the price", "`discounted(100, 10)` gives `110`, not `90`.")
        assert approved(box, first)["state"] == "rolled_back"
        [revert] = until(lambda: lessons(box, "revert"), "the revert is a lesson")
        assert first in revert["text"]

        model.answers = {"shipping": EVALUATED}
        second = box.report(NAME, "REPORT shipping of 50 costs 5", "`shipping(50)` returns `5`, it should be `0`.")
        stopped = box.settled(second)
        assert (stopped["state"], stopped["stage"]) == ("needs_human", "secure"), stopped["waiting_for"]
        reviewed = [event["payload"]["reason"] for event in stopped["events"] if event["kind"] == "ChangeReviewed"]
        assert any(f"warning {revert['id']}" in reason for reason in reviewed), "the same place was taken back before"
        [finding] = lessons(box, "finding")
        assert box.cli("item", "reject", second, "--why", WHY).returncode == 0
        [rejection] = until(lambda: lessons(box, "rejection"), "the reason is a lesson")
        assert WHY in rejection["text"] and rejection["state"] == finding["state"] == "proposed"

        model.answers = {"shipping": LITERAL}
        third = box.report(NAME, "REPORT shipping is not free at 50", "`shipping(50)` returns `5`, it should be `0`.")
        ended = approved(box, third)
        assert ended["state"] == "closed", ended["waiting_for"]
        title = "REPORT shipping is not free"
        assert model.prompts(title, WHY, "You repair one fault"), "the droid was told"
        assert model.prompts(title, finding["text"], "You review one change"), "the reviewer was told"
        assert [one["state"] for one in lessons(box, "rejection")] == ["confirmed"], "it was used, and the change held"
