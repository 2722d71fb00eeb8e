"""`appliance repo check`: is there all that the box needs of a repository's server and forge, and what is owed?"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator
from datetime import timedelta
from urllib.parse import urlsplit

import click
import httpx

from appliance.cli import repo_forge
from appliance.cli.context import Box, pass_box
from appliance.cli.doctor import Check, in_words
from appliance.cli.hook import LINES
from appliance.cli.standing import ago, in_short
from appliance.errors import FactoryError
from appliance.intake import hook_secrets
from appliance.ledger import Ledger, open_ledger
from appliance.mirror.forges import adapter
from appliance.mirror.mirror import Mirror
from appliance.ports import Checked
from appliance.work import TrackedRepository, utcnow

FRESH = timedelta(days=1)
"""A webhook that is older says little of today."""
ANSWER_SECONDS = 5.0

FAILED = 5
"""Exit status: what was claimed is not so."""


@click.command()
@click.argument("name")
@pass_box
def command(box: Box, name: str) -> int:
    """Check reach, rights, branch and webhooks of a repository, with the lines to add. Exit 5 when something fails."""
    box.require_home()
    ledger = open_ledger(box.home)
    tracked = ledger.repository(name)
    rows: list[Checked] = []
    for say, step in STEPS:
        box.say(say.format(name=name, url=tracked.url, api=tracked.api or tracked.url))
        rows += step(box, ledger, tracked)
    shown = [Check(row.what, row.result, row.found, row.fix) for row in rows]
    box.emit([row.model_dump() for row in rows], lambda: "\n".join(in_words(shown)))
    return FAILED if any(row.result == "fail" for row in rows) else 0


def git(box: Box, ledger: Ledger, tracked: TrackedRepository) -> Iterator[Checked]:  # noqa: ARG001 - all are called alike
    """Can the box read there, and would the server take a push?"""
    mirror = Mirror.of(box.home, tracked, box.settings.mirror)
    try:
        behind = mirror.behind()
        yield Checked(
            what="git reads", result="pass", found="the mirror is behind" if behind else "the mirror is in step"
        )
        mirror.rehearse_push()
    except FactoryError as error:
        yield Checked(what="git", result="fail", found=error.message, fix=error.hint)
    else:
        yield Checked(what="git writes", result="pass", found="the server would take a branch of the box")


def forge(box: Box, ledger: Ledger, tracked: TrackedRepository) -> Iterator[Checked]:  # noqa: ARG001
    """What the forge says of token, project, branch and webhook."""
    if tracked.forge == "plain":
        yield Checked(what="forge", result="pass", found="a plain server: changes go back as pushes")
        return
    try:
        yield from adapter(box.home, tracked, box.settings.mirror).check(
            tracked.branch, repo_forge.hook_url(box, tracked)
        )
    except FactoryError as error:
        yield Checked(what="forge", result="fail", found=error.message, fix=error.hint)
    taken = f"those with the label {tracked.label!r}" if tracked.label else "none by a label"
    yield Checked(what="issues", result="pass", found=f"taken: {'every one' if tracked.every_issue else taken}")


def hook(box: Box, ledger: Ledger, tracked: TrackedRepository) -> Iterator[Checked]:
    """The webhook on the box's side: its secret, its address, and whether one ever came."""
    if tracked.forge == "plain":
        return
    url, name = repo_forge.hook_url(box, tracked), tracked.name
    if hook_secrets.load(box.home, name) is None:
        yield Checked(
            what="hook secret", result="warn", found="there is none: webhooks are refused, and the box polls",
            fix=f"`appliance repo hook {name}` makes one and shows it once",
        )  # fmt: skip
    else:
        yield Checked(what="hook secret", result="pass", found=f"secrets/hook-{name}.json")
    yield hook_address(tracked, url)
    last = ledger.deliveries.newest_hook(name)
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    fix = f"{url}\n{LINES[tracked.forge].format(host=parts.hostname, port=port)}"
    if last is None:
        yield Checked(what="hook came", result="warn", found="none is known to have come: the box polls", fix=fix)
        return
    fresh = utcnow() - last.received < FRESH
    found = f"the last one came {ago(last.received, utcnow())} ({last.event or 'no event named'})"
    yield Checked(what="hook came", result="pass" if fresh else "warn", found=found, fix="" if fresh else fix)


def hook_address(tracked: TrackedRepository, url: str) -> Checked:
    """Is the address that the forge is given one that it can reach? The box can only ask itself."""
    parts = urlsplit(url)
    host, there = parts.hostname or "", urlsplit(tracked.api).hostname or ""
    if is_loopback(host) and not is_loopback(there):
        return Checked(
            what="hook address", result="warn", found=f"{host} leads nowhere from {there}",
            fix='in appliance.toml, [console]: host = "0.0.0.0" and url = "http://BOX:8081", with the box\'s own name',
        )  # fmt: skip
    try:
        with httpx.Client(trust_env=False, timeout=ANSWER_SECONDS) as http:
            code = http.get(f"{parts.scheme}://{parts.netloc}/healthz").status_code
    except (httpx.HTTPError, OSError) as error:
        return Checked(
            what="hook address", result="warn", found=f"{host} does not answer the box itself: {error}",
            fix="`appliance up` starts the console; console.url is the address by which others reach it",
        )  # fmt: skip
    if code != 200:
        return Checked(
            what="hook address", result="warn", found=f"{url} is answered with {code}",
            fix=f"console.host_names has to hold {host!r}",
        )  # fmt: skip
    return Checked(what="hook address", result="pass", found=url)


def polling(box: Box, ledger: Ledger, tracked: TrackedRepository) -> Iterator[Checked]:  # noqa: ARG001
    """What the line saw when it polled."""
    health = ledger.forges.health(tracked.name)
    if health.tried is None:
        yield Checked(what="polling", result="warn", found="the line did not poll it yet", fix="`appliance up`")
        return
    trouble = health.error or health.api_error
    found = in_short(health, utcnow())
    yield Checked(what="polling", result="warn" if trouble else "pass", found=found, fix=health.hint or health.api_hint)


def is_loopback(host: str) -> bool:
    """Does a name lead back to the machine that uses it?"""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


Step = Callable[[Box, Ledger, TrackedRepository], Iterator[Checked]]

STEPS: tuple[tuple[str, Step], ...] = (
    ("asking {url} over git", git),
    ("asking {api} over its API", forge),
    ("looking at the webhook", hook),
    ("looking at what was polled", polling),
)
"""What is said while a step goes on, and the step."""
