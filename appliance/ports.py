"""What the line needs from the outside, as Protocols. Adapters live in the rooms named below; stages see only these.

==============  =======================================  ==================================
port            real adapter                             fake (same contract suite)
==============  =======================================  ==================================
Clock           SystemClock (here)                       tests: SteppedClock
Model           appliance.gateway_client.GatewayModel    tests: ScriptedModel
Sandbox         appliance.computers (tiers A and B)      none: the real one runs everywhere
Repository      appliance.mirror.Mirror                  none: real git everywhere
Readable        appliance.mirror.serving                 none: real git everywhere
Forge           appliance.mirror.forges, one file each   tests: a faithful server for each forge's API
Scanner         appliance.line.scanners                  none
==============  =======================================  ==================================
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import IO, Literal, Protocol

from pydantic import Field

from appliance.by_hand import Patched
from appliance.news import News
from appliance.policy import Meaning
from appliance.work import Finding, Noun, Origin, Proposal, Result

Progress = Callable[[str], None]
"""Takes one short line for people about what is going on now."""


class Clock(Protocol):
    """Time. Wall time may jump either way; `monotonic` never goes back while the machine is up."""

    def now(self) -> datetime: ...

    def monotonic(self) -> float:
        """Seconds since the machine started, suspension included (CLOCK_BOOTTIME)."""

    def sleep(self, seconds: float) -> None: ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class Completion(Noun):
    """A model's answer."""

    text: str
    model: str = Field(description="id of the model that answered")
    digest: str = Field("", description="sha256 of its weights, first 12 hex digits")
    prompt_tokens: int = 0
    completion_tokens: int = 0
    finish_reason: str = "stop"
    seconds: float = 0.0


class Route(Noun):
    """The router's decision without a call."""

    candidates: tuple[str, ...] = Field(description="model ids in order; `search` means repair without a model")
    rule: str
    reasons: tuple[str, ...] = ()
    propensity: float | None = Field(None, description="how likely the first one was to come first; None: not told")
    explored: bool = Field(False, description="whether it comes first to learn how good it is")
    policy_version: int | None = Field(None, description="the learned policy that was looked at; None for rules alone")
    suggested: tuple[str, ...] = Field((), description="the policy's order, where the rule only observes it")


@dataclass(frozen=True)
class Embedded:
    """Vectors and who made them: those of different models cannot be compared."""

    vectors: list[list[float]]
    model: str
    digest: str
    """The beginning of the SHA-256 of its weights."""


class Embedder(Protocol):
    """Makes vectors that are kept. Raises as Model does."""

    def embedded(self, texts: Sequence[str]) -> Embedded:
        """One vector per text, as Model.embed gives them, all of one model; at least one text."""


class Model(Embedder, Protocol):
    """Models behind the gateway. Raises Unavailable when none answers, NotFound when no rule names an admitted one."""

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """One vector per text, each of unit length, all of one dimension."""

    def chat(
        self, messages: Sequence[Mapping[str, str]], *, task: str, model: str = "auto", max_tokens: int = 1024,
        temperature: float = 0.0, stop: Sequence[str] = (), seed: int | None = None, episode: str = "",
    ) -> Completion:  # fmt: skip
        """One answer. Calls with the same `episode` stay with the model that served it first, while rules allow it."""
        ...

    def route(
        self, *, task: str, stage: str = "", language: str = "", prompt_tokens: int = 0, repo: str = "",
        severity: int = 0, attempt: int = 0, meaning: Meaning | None = None,
    ) -> Route:  # fmt: skip
        """Who should do a task, best first; `meaning` is the vector of the text it is about, where there is one."""


class Limits(Noun):
    """What one sandboxed run may use. All are hard: reaching one ends the run."""

    seconds: float = Field(120.0, description="wall time")
    cpu_seconds: float = Field(120.0, description="CPU time of any one process")
    memory_mb: int = Field(2048, description="MiB of memory for all processes together, the work folder included")
    processes: int = Field(128, description="processes and threads")
    disk_mb: int = Field(512, description="MiB the run may write, the copy of the tree included")
    output_kb: int = Field(4096, description="KiB of standard output and error kept; more ends the run")


class Completed(Noun):
    """How a sandboxed command ended."""

    exit_code: int | None = Field(description="None when it was killed")
    stdout: bytes = b""
    stderr: bytes = b""
    seconds: float = 0.0
    limit: str = Field("", description="which limit ended it: time, memory, disk, processes, output; empty for none")
    files: Mapping[str, bytes] = Field(default_factory=dict, description="what `fetch` asked for and the run left")


class Session(Protocol):
    """A long-lived process in the sandbox, spoken to over pipes, a line at a time."""

    def send(self, line: bytes) -> None:
        """Write one line (the newline is added). Raises Unavailable when the process is gone."""

    def receive(self, timeout: float) -> bytes | None:
        """The next line without its newline; None after `timeout` seconds. Raises Unavailable at its end."""

    def close(self) -> None:
        """Kill everything inside and free it. Safe to call twice."""


class Sandbox(Protocol):
    """A place without network where untrusted code runs on a disposable copy of a folder."""

    tier: str
    """A or B (see appliance/computers)."""

    def describe(self, limits: Limits) -> str:
        """Tier and limits in one line, recorded with every run."""

    def run(
        self,
        argv: Sequence[str],
        *,
        tree: Path,
        limits: Limits,
        env: Mapping[str, str] | None = None,
        tools: Sequence[Path] = (),
        stdin: bytes = b"",
        fetch: Sequence[str] = (),
    ) -> Completed:
        """Run `argv` in a private, size-limited copy of `tree`, which is its working folder.

        Where that folder lies differs from run to run (`/work` in tier A unless a tool lies there, a private folder in
        tier B): use relative names, or ask inside.

        `tools` are host folders to be seen read-only at the same path. `fetch` names files, relative to the working
        folder, that come back in `Completed.files` (each at most 8 MiB). The host's `tree` never changes.
        """

    def open(
        self,
        argv: Sequence[str],
        *,
        tree: Path,
        limits: Limits,
        env: Mapping[str, str] | None = None,
        tools: Sequence[Path] = (),
    ) -> Session: ...


class Workspace(Protocol):
    """A fresh clone of the server's repository, outside the sandbox, in which nothing of it is ever executed."""

    tree: Path
    base: str

    def apply(self, diff: str) -> None:
        """Apply a unified diff. Raises VerificationFailed, with nothing changed, when it does not fit or leaves
        the tree."""

    def commit(
        self, message: str, trailers: Sequence[tuple[str, str]], at: datetime | None = None, author: str = ""
    ) -> str:
        """Commit everything applied, as of `at` (None: now) and by `author` (`Name <address>`; empty: the box); returns
        the commit id, which is the same for the same change at the same time."""

    def combined(self, patch: bytes) -> Patched:
        """A person's patch, as `git diff` or `git format-patch` writes it, taken in and told as one diff against the
        base. Raises VerificationFailed when it does not fit, leaves the tree, or changes nothing."""

    def merge_onto(
        self, head: str, message: str, trailers: Sequence[tuple[str, str]], at: datetime | None = None
    ) -> str:
        """Bring our commit onto a moved head: fast-forward where possible, else a merge commit. Returns the commit to
        push. Raises Conflict when it does not merge cleanly."""

    def changed_between(self, old: str, new: str) -> tuple[str, ...]:
        """Paths that differ between two commits, of this clone or fetched from the server."""

    def export(self, commit: str, into: Path) -> Path:
        """A one-commit work tree without remotes of a commit of this clone, in the new folder `into`; returns it."""

    def revert(self, commit: str, message: str, trailers: Sequence[tuple[str, str]], at: datetime | None = None) -> str:
        """Commit the inverse of `commit`; returns the new commit id."""

    def push(self, commit: str, branch: str) -> None:
        """Push without force. Raises Conflict when the branch has moved, Unavailable when the server is away,
        PolicyRefused when a hook or protection refuses."""

    def publish(self, commit: str, branch: str, over: str | None = None) -> None:
        """Put a branch that is the box's own at a commit. `over` is where the box left it, "" for nowhere: raises
        Conflict when somebody else has put it elsewhere meanwhile. With None it does not matter where it was."""

    def delete(self, branch: str, over: str | None = None) -> None:
        """Delete a branch on the server, if it is there; Conflict as for `publish`."""

    def close(self) -> None:
        """Remove the clone. Safe to call twice."""


class Repository(Protocol):
    """One mirrored repository of the internal git server. Git runs hardened: no hooks, no filters, no prompts."""

    name: str
    branch: str

    def sync(self) -> str:
        """Fetch; returns the default branch's commit on the server. Raises Unavailable (server away, refused) or
        NotFound (empty, or no such branch)."""

    def head(self) -> str:
        """The branch's commit as of the last sync."""

    def paths(self, commit: str) -> tuple[str, ...]:
        """The files of a commit."""

    def checkout(self, commit: str, into: Path) -> Path:
        """A one-commit work tree without remotes in the new folder `into`; returns it."""

    def workspace(self, commit: str) -> Workspace:
        """A fresh clone standing at `commit`, able to push."""

    def landed(self, item: str) -> str:
        """The commit on the server's branch whose trailer `Factory-Item` names this item, or "". Asks the server."""

    def reverted(self, item: str) -> str:
        """The commit whose trailer `Factory-Revert-Of` names this item, or "". Asks the server."""


class Stream(Protocol):
    """Bytes in pieces, as they come. To be closed in any case, read to its end or not; safe to close twice."""

    def __iter__(self) -> Iterator[bytes]:
        """Raises FactoryError when what sends them fails."""

    def close(self) -> None: ...


class Readable(Protocol):
    """The mirrors as an unmodified git reads them over smart HTTP; nothing can be written this way.

    `protocol` is what the client's `Git-Protocol` header says. Raises NotFound for a repository without a mirror,
    Unavailable when git does not start.
    """

    def refs(self, name: str, protocol: str) -> Stream:
        """Branches and tags, or what the server can do."""

    def pack(self, name: str, protocol: str, asked: IO[bytes]) -> Stream:
        """The answer to one request for refs or objects, which lies in a file."""


class Draft(Noun):
    """A merge request as the box wants it to be."""

    item: str = Field(description="the item's id; with it a repeated run finds the request it opened before")
    branch: str
    target: str
    title: str
    text: str = Field(description="the item's story in Markdown")
    closes: str = Field("", description="number of the issue that its merge settles; empty for none")
    over: str | None = Field(
        None, description="where the box left the branch, '' for nowhere: elsewhere it holds somebody's work (Conflict)"
    )
    onto: str = Field("", description="the target's head that the change was tested on; it may land on that alone")


class Rights(StrEnum):
    """What a person of the forge may do to a project."""

    NONE = "none"
    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


class Checked(Noun):
    """One thing that `repo check` looked at."""

    what: str
    result: Literal["pass", "warn", "fail"]
    found: str
    fix: str = Field("", description="the exact lines to add, and where; empty when there is nothing to mend")


class Forge(Protocol):
    """The server's side of a change: propose it, tell about it, hear what people say, bring it in.

    Every verb may be said again: the adapter looks for what it made before. All raise Unavailable when the forge does
    not answer or asks to wait (its hint says how long), PolicyRefused when it does not let the box do it, NotFound when
    what is named is not there. Methods of a plain server that has no such thing do nothing and return "nothing".
    """

    kind: str

    @property
    def account(self) -> str:
        """The box's own login there, by which it knows its own deeds; "" on a plain server."""

    def propose(self, workspace: Workspace, commit: str, draft: Draft) -> Proposal:
        """Publish the commit on the draft's branch, and open or update its merge request. Idempotent by branch.
        Raises Conflict when somebody else pushed to the branch (`draft.over`)."""

    def proposal(self, draft: Draft) -> Proposal | None:
        """The merge request of the draft's branch as it stands; None when there never was one."""

    def land(self, workspace: Workspace, commit: str, draft: Draft) -> str:
        """Bring `commit` onto the draft's target: by the forge where it rules, by a push where it does not. Returns the
        commit that is on the target now, which a forge may have made itself (squash, rebase, merge).

        An open request whose head is `commit` is merged as it stands, with its approvals, even when the target moved:
        `draft.onto` says which head of the target was tested with it, and Conflict is raised when it moved on.
        Raises as Workspace.push does; PolicyRefused also for a review that is still owed, in words.
        """

    def withdraw(self, workspace: Workspace, draft: Draft, why: str) -> None:
        """Close what is still open of the change and remove its branch."""

    def status(self, commit: str, gate: str, verdict: Result | None, text: str, url: str) -> None:
        """Set a commit status, one for each gate; None means under way."""

    def say(self, origin: Origin, mark: str, text: str) -> None:
        """Write a comment, or rewrite the box's own one of this mark."""

    def review(self, proposal: Proposal, findings: Sequence[Finding]) -> None:
        """Show findings as comments on their lines, each once."""

    def close(self, origin: Origin) -> None:
        """Close an issue."""

    def rights(self, login: str) -> Rights:
        """What a person may do to the project."""

    def news(self, cursor: str) -> tuple[tuple[News, ...], str]:
        """What happened since the cursor ("" for: from now on), oldest first, and the next cursor. For where no webhook
        comes through."""

    def check(self, branch: str, hook_url: str) -> tuple[Checked, ...]:
        """Reach, the token's rights, the branch's protection and the webhook, with the exact lines to add."""


class Scanner(Protocol):
    """Finds weaknesses in files; without network."""

    @property
    def name(self) -> str: ...

    def scan(self, tree: Path, files: Sequence[str]) -> tuple[Finding, ...]:
        """Findings in these files. Raises Unavailable when the tool did not run to its end: no result is not a pass."""
