"""The policies of a box: `policy/versions/N.json`, each never changed once written, and the one in use.

Each step is an event of the ledger first, so that a kill in between leaves a record and the policy before it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from appliance.config import Home
from appliance.errors import Conflict, LimitExceeded, NotFound
from appliance.events import Event, Fact
from appliance.ledger import Ledger
from appliance.policy import MOST_BYTES, Predictor
from appliance.private import replace_private

SUBJECT = "routing policy"


class Policies:
    """The policy files of one home. The ledger is told of every step."""

    def __init__(self, home: Home, ledger: Ledger) -> None:
        self._home = home
        self._ledger = ledger
        self._folder = home.policy / "versions"

    def versions(self) -> list[int]:
        """Every version there is, oldest first."""
        return sorted(int(file.stem) for file in self._folder.glob("*.json") if file.stem.isdecimal())

    def current(self) -> int:
        """The version in use; 0 while rules decide alone."""
        try:
            return int(json.loads(self._home.policy_file.read_bytes())["version"])
        except FileNotFoundError:
            return 0
        except (ValueError, KeyError, TypeError):
            return 0  # a broken file is used by nobody: rules decide alone

    def publish(
        self, preferences: Sequence[Mapping[str, Any]], evaluation: Sequence[Any], now: datetime,
        predictors: Sequence[Predictor] = (), prospects: Sequence[Any] = (),
    ) -> int:  # fmt: skip
        """Write the next version with what speaks for it; it is not in use yet. Returns its number.

        Raises LimitExceeded when it is larger than the router reads.
        """
        number = max([0, *self.versions(), self.current()]) + 1
        policy = {
            "format": 2 if predictors else 1, "version": number, "made": now.isoformat(),
            "preferences": list(preferences),
            **({"predictors": [one.model_dump(mode="json") for one in predictors]} if predictors else {}),
        }  # fmt: skip
        if (size := len(json.dumps(policy))) > MOST_BYTES:
            raise LimitExceeded(
                f"the policy has {size} bytes, and the router reads {MOST_BYTES}", "fewer rules may learn from reports"
            )
        told = {"policy": policy, "evaluation": list(evaluation), "prospects": list(prospects)}
        rules = {one["rule"] for one in preferences} | {one.rule for one in predictors}
        self._tell(Fact.POLICY_PUBLISHED, number, "learning", rules=sorted(rules))
        replace_private(self._folder / f"{number}.json", json.dumps(told, indent=1).encode())
        return number

    def read(self, number: int) -> dict[str, Any]:
        """A version: its `policy` and `evaluation`. Raises NotFound."""
        try:
            told: dict[str, Any] = json.loads((self._folder / f"{number}.json").read_bytes())
        except FileNotFoundError as error:
            known = ", ".join(map(str, self.versions())) or "none"
            raise NotFound(f"there is no policy {number}", f"there are: {known}") from error
        return told

    def evaluations(self, most: int) -> dict[int, Any]:
        """What spoke for each of the newest versions, as it was written; those that cannot be read are left out."""
        found: dict[int, Any] = {}
        for number in self.versions()[-most:]:
            with suppress(NotFound, ValueError, AttributeError):
                found[number] = self.read(number).get("evaluation")
        return found

    def awaits(self, number: int) -> bool:
        """Has nobody, nor the box, taken any version into use or back since this one was published?"""
        steps = [
            one for one in self._ledger.history(SUBJECT)
            if one.kind in (Fact.POLICY_PUBLISHED, Fact.POLICY_PROMOTED, Fact.POLICY_ROLLED_BACK)
        ]  # fmt: skip
        return bool(steps) and steps[-1].kind == Fact.POLICY_PUBLISHED and steps[-1].payload.get("version") == number

    def promote(self, number: int, by: str) -> None:
        """Take a version into use. Raises NotFound, or Conflict when it is in use."""
        policy = self.read(number)["policy"]
        if self.current() == number:
            raise Conflict(f"policy {number} is in use", "nothing was changed")
        self._tell(Fact.POLICY_PROMOTED, number, by, before=self.current())
        replace_private(self._home.policy_file, json.dumps(policy).encode())

    def roll_back(self, by: str, why: str) -> int:
        """Go back to the version that was in use before, to none when there was none. Raises Conflict without one."""
        current = self.current()
        if not current:
            raise Conflict("no policy is in use", "nothing was changed: rules decide alone")
        before = next(
            (int(one.payload.get("before") or 0) for one in reversed(self._ledger.history(SUBJECT))
             if one.kind == Fact.POLICY_PROMOTED and one.payload.get("version") == current), 0,
        )  # fmt: skip
        content = json.dumps(self.read(before)["policy"]).encode() if before else None
        self._tell(Fact.POLICY_ROLLED_BACK, current, by, to=before, why=why)
        if content is None:
            self._home.policy_file.unlink()
        else:
            replace_private(self._home.policy_file, content)
        return before

    def _tell(self, fact: Fact, number: int, by: str, **more: Any) -> None:
        self._ledger.append(Event(kind=fact, subject=SUBJECT, payload={"version": number, "by": by, **more}))
