"""What `repo add` and `repo set` are told of a repository's forge: worked out, tried, and only then kept."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeVar
from urllib.parse import unquote, urlsplit

import click

from appliance.cli.context import Box
from appliance.config import Home
from appliance.errors import UsageError, VerificationFailed
from appliance.intake import hook_secrets
from appliance.mirror.address import ca_file
from appliance.mirror.forges import ADAPTERS, adapter, token_file
from appliance.private import replace_private
from appliance.work import TrackedRepository

Command = TypeVar("Command", bound=Callable[..., object])

TRIAL = ".trial-"


@dataclass(frozen=True)
class Told:
    """The options about the forge; None where one was left out."""

    forge: str | None = None
    api: str | None = None
    project: str | None = None
    label: str | None = None
    every_issue: bool | None = None
    api_token_file: IO[str] | None = None

    def token(self) -> str:
        """The API token, "" when none was given. Raises UsageError for a file that holds none."""
        if self.api_token_file is None:
            return ""
        text = self.api_token_file.read().strip()
        if not re.fullmatch(r"[!-~]+", text):
            raise UsageError("the file with the API's token must hold it alone, on one line", "make a new token there")
        return text


def options(command: Command) -> Command:
    """The options that `Told` holds."""
    for option in (
        click.option(
            "--api-token-file", type=click.File(), help="File with the token of the forge's API; - is standard input."
        ),
        click.option("--every-issue/--handed-over", default=None, help="Take every issue, or those handed over alone."),
        click.option("--label", help="Label that hands an issue over [factory]; empty: none does."),
        click.option("--project", help="Path of the project there, like team/shop; left out: as in the address."),
        click.option("--api", help="Address of the forge, like https://git.example; left out: as in the address."),
        click.option("--forge", type=click.Choice(("plain", *ADAPTERS)), help="What serves it [plain]."),
    ):
        command = option(command)
    return command


def settled(tracked: TrackedRepository, told: Told) -> tuple[TrackedRepository, list[str]]:
    """The repository with what was told, and in words what was worked out from its address.

    Raises UsageError where that is ambiguous, naming the option that settles it.
    """
    kind = told.forge or tracked.forge
    label = tracked.label if told.label is None else told.label
    every = tracked.every_issue if told.every_issue is None else told.every_issue
    if kind == "plain":
        if told.api or told.project or told.api_token_file:
            raise UsageError("a plain server has no API", f"say --forge {', '.join(ADAPTERS)}")
        return tracked.with_(forge=kind, api="", project="", label=label, every_issue=every), []
    same = kind == tracked.forge
    api, project = told.api or (tracked.api if same else ""), told.project or (tracked.project if same else "")
    found_api, found_project = derived(kind, tracked.url, api) if not (api and project) else (api, project)
    said = [] if api else [f"the forge's address is taken to be {found_api} (--api names another)"]
    said += [] if project else [f"the project is taken to be {found_project} (--project names another)"]
    made = tracked.with_(
        forge=kind, api=_checked_api(api or found_api), project=_checked_project(project or found_project),
        label=label, every_issue=every,
    )  # fmt: skip
    return made, said


def derived(kind: str, url: str, api: str = "") -> tuple[str, str]:
    """Address and project of a forge, from the address of a repository there. Raises UsageError.

    >>> derived("gitlab", "https://git.example/group/sub/shop.git")
    ('https://git.example', 'group/sub/shop')
    >>> derived("gitea", "http://git.example:3000/forge/team/shop.git")
    ('http://git.example:3000/forge', 'team/shop')
    >>> derived("github", "git@git.example:team/shop.git")
    ('https://git.example', 'team/shop')
    """
    over_http = url.lower().startswith(("http://", "https://"))
    if "://" in url:
        parts = urlsplit(url)
        host, path = parts.netloc.rpartition("@")[2] if over_http else parts.hostname or "", parts.path
        scheme = parts.scheme if over_http else "https"
    else:
        left, _, path = url.partition(":")
        host, scheme = left.rpartition("@")[2], "https"
    steps = [unquote(step) for step in path.removesuffix("/").removesuffix(".git").split("/") if step]
    before = [step for step in urlsplit(api).path.split("/") if step]
    if not host or url.startswith("/"):
        raise UsageError("the address does not say where the forge is", "say --api https://HOST and --project PATH")
    if before and steps[: len(before)] == before:
        steps = steps[len(before) :]
    prefix, steps = ([], steps) if kind == "gitlab" or api else (steps[:-2], steps[-2:])
    if len(steps) < 2 or (prefix and not over_http):
        raise UsageError(f"{path} does not say which project it is", "say --project PATH, like team/shop")
    return api or "/".join([f"{scheme}://{host}", *prefix]), "/".join(steps)


@contextmanager
def trial(home: Home, name: str, token: str, ca: Path | None) -> Iterator[Home]:
    """A home of a moment that holds a repository's token and CA, new ones over those that are kept."""
    for left in home.secrets.glob(f"{TRIAL}{name}-*"):  # of a call that was killed
        shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{TRIAL}{name}-", dir=home.secrets))
    made = Home(folder)
    try:
        kept = token_file(home.secrets, name)
        words = token.encode() if token else kept.read_bytes() if kept.exists() else b""
        if words:
            replace_private(token_file(made.secrets, name), words)
        vouching = ca or ca_file(home.secrets, name)
        if vouching.exists():
            replace_private(ca_file(made.secrets, name), vouching.read_bytes())
        yield made
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def asked(box: Box, tracked: TrackedRepository, told: Told, token: str, ca: Path | None) -> TrackedRepository:
    """The repository with what was told of its forge, once the forge has agreed; nothing is kept.

    Raises VerificationFailed when the token is not accepted or the project cannot be seen with it, and as `settled`.
    """
    made, said = settled(tracked, told)
    for line in said:
        box.say(line)
    if made.forge == "plain":
        return made
    if not token and not token_file(box.home.secrets, made.name).exists():
        raise UsageError(f"{made.forge} needs a token for its API", "say --api-token-file FILE; see `repo check`")
    box.say(f"asking {made.api} who the box is there")
    with trial(box.home, made.name, token, ca) as home:
        rows = adapter(home, made, box.settings.mirror).check(made.branch or "main", hook_url(box, made))
    for row in rows:
        if row.what == "reach" and row.result == "fail":
            raise VerificationFailed(f"{row.found}; nothing was changed", row.fix)
    return made


def owed(box: Box, tracked: TrackedRepository) -> None:
    """Tell what is still to be done on the forge's side."""
    if tracked.forge == "plain":
        return
    for row in adapter(box.home, tracked, box.settings.mirror).check(tracked.branch, hook_url(box, tracked)):
        if row.result != "pass":
            box.say(f"{row.result}: {row.what}: {row.found}" + (f"\n  {row.fix}" if row.fix else ""))


def keep(home: Home, tracked: TrackedRepository, token: str) -> None:
    """Keep a new token, for git too where git used the old one; forget that of a repository without an API."""
    file, login = token_file(home.secrets, tracked.name), home.secrets / f"git-{tracked.name}"
    if tracked.forge == "plain":
        file.unlink(missing_ok=True)
    elif token:
        old = file.read_text(encoding="utf-8").strip() if file.exists() else ""
        replace_private(file, token.encode())
        if old and login.exists() and login.read_text(encoding="utf-8") == f"git:{old}":
            replace_private(login, f"git:{token}".encode())


def forget(home: Home, name: str) -> None:
    """Forget what a repository's forge was spoken to with: the API's token and the hook's secrets."""
    token_file(home.secrets, name).unlink(missing_ok=True)
    hook_secrets.forget(home, name)


def hook_url(box: Box, tracked: TrackedRepository) -> str:
    """Where the forge delivers its webhooks to."""
    return f"{box.settings.console.address}/hooks/{tracked.forge}/{tracked.name}"


def _checked_api(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None or parts.query:
        raise UsageError(f"{text.rpartition('@')[2]!r} is no address of a forge", "give one like https://git.example")
    return text.rstrip("/")


def _checked_project(text: str) -> str:
    found = text.strip("/")
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)+", found) or ".." in found.split("/"):
        raise UsageError(f"{text!r} is no path of a project", "give one like team/shop")
    return found
