"""Whose a webhook is that came to an address without a repository: one hook for a whole organisation, group or box.

Its sender is let in by the secret of a repository that the message names. A secret that is right beside a name that is
not lets the sender hear so, and the message is kept as nobody's; whoever has no secret learns nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from appliance.config import Home
from appliance.errors import ConfigError, VerificationFailed
from appliance.intake import addressed, alertmanager, hook_secrets, reading
from appliance.ledger import Ledger
from appliance.news import Delivery, DeliveryState
from appliance.work import FORGES, TrackedRepository

log = logging.getLogger("console")

NOBODY = ""
"""The repository of a message that is no repository's."""


@dataclass(frozen=True)
class Message:
    """What came to an address without a repository."""

    source: str
    headers: Mapping[str, str]
    body: bytes
    content: Any
    """Its JSON; None when it is none."""
    now: datetime
    clock_minutes: float
    """How far from now its signed time may lie."""
    form: bytes = b""
    """What the body came in, if it did."""

    def received(self, repo: str, secrets: Sequence[str]) -> Delivery:
        """As `reading.receive`."""
        return reading.receive(
            self.source, repo, self.headers, self.body, secrets, self.now, self.clock_minutes, self.form
        )


def deliveries_of(home: Home, ledger: Ledger, message: Message, thorough: bool) -> tuple[list[Delivery], bool]:
    """What a message is to be kept as, one for each repository it is for, and whether its bytes are worth keeping.

    `thorough` also looks for its secret among those of repositories that it does not name, which takes longer.

    Raises:
        VerificationFailed: it is signed with no secret that counts here. It is the same whatever the message names.
        UsageError: it is from another kind of sender than its address says.
    """
    pool = [one for one in ledger.repositories() if message.source not in FORGES or one.forge == message.source]
    found = list(_for_those_named(home, message, pool))
    if found:
        return found, True
    if not thorough:
        raise _no_secret()
    held = {one.name: _secrets(home, one, message.now) for one in pool}
    nobodys = message.received(NOBODY, sorted({secret for some in held.values() for secret in some}))
    named = sorted({name for one in pool for name in addressed.names(message.source, message.content, one)})
    if named or (message.source in FORGES and message.content is not None):
        what = f"it is about {', '.join(named)[:200]}" if named else "it is about no project"
        why = f"{what}, and no repository of this box that is so called has the secret it is signed with"
        return [nobodys.with_(state=DeliveryState.IGNORED, why=why)], False
    holders = [one.name for one in pool if held[one.name] and _is_signed(message, held[one.name])]
    if len(holders) == 1:
        return [nobodys.with_(repo=holders[0])], True
    why = f"it names no repository, and {len(holders)} have the secret it is signed with"
    return [nobodys.with_(state=DeliveryState.REFUSED, why=why)], True


def _for_those_named(home: Home, message: Message, pool: Sequence[TrackedRepository]) -> Iterator[Delivery]:
    """One for each repository that the message names and whose secret signs it; what is for none of them besides."""
    whole: Delivery | None = None
    taken: set[str] = set()
    for one in pool:
        names = addressed.names_in(message.source, message.content, one)
        if not names:
            continue
        try:
            whole = message.received(one.name, _secrets(home, one, message.now))
        except VerificationFailed:
            continue
        taken.update(names)
        for name in names:
            yield whole if message.source != "alertmanager" else _of_alerts(whole, name, len(names) > 1)
    if whole and message.source == "alertmanager" and (rest := addressed.alerts_beside(message.content, taken)):
        why = f"alerts of its group that are for no repository with this secret: {', '.join(rest)[:200]}"
        yield whole.with_(repo=NOBODY, state=DeliveryState.IGNORED, why=why)


def _of_alerts(delivery: Delivery, name: str, of_several: bool) -> Delivery:
    """The alerts of a group that call their repository so; of several names, each is a delivery of its own."""
    id = f"{delivery.id}:{name}"[: reading.LONGEST_NAME] if of_several else delivery.id
    return delivery.with_(event=alertmanager.of_repository(name), id=id)


def _secrets(home: Home, repository: TrackedRepository, now: datetime) -> tuple[str, ...]:
    """Those of a repository that count now; none when it has no hook, or what it has cannot be read."""
    try:
        kept = hook_secrets.load(home, repository.name)
    except ConfigError as error:
        log.warning("%s", error.message)
        return ()
    return kept.valid(now) if kept else ()


def _is_signed(message: Message, secrets: Sequence[str]) -> bool:
    try:
        message.received(NOBODY, secrets)
    except VerificationFailed:
        return False
    return True


def _no_secret() -> VerificationFailed:
    return VerificationFailed(*reading.UNSIGNED)
