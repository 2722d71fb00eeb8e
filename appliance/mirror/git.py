"""The one place that runs git: argument lists only, hardened, with limits, and failures in words.

Nothing of a repository is ever executed: no hooks, filters, external diffs, credential helpers or file system monitors;
no configuration but the one given here. Protocols are limited to file, ssh, http and https.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from appliance.errors import FactoryError, Unavailable
from appliance.mirror import certificates
from appliance.mirror.address import PROTOCOLS, Address, ca_file
from appliance.mirror.failures import UNTRUSTED, in_words
from appliance.mirror.keys import private_file

PATH = "/usr/local/bin:/usr/bin:/bin"

SETTINGS = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.attributesFile=/dev/null",
    "core.excludesFile=/dev/null",
    "core.quotePath=false",
    "core.protectHFS=true",
    "core.protectNTFS=true",
    "core.autocrlf=false",
    "core.fsync=committed",
    "credential.helper=",
    "http.followRedirects=false",
    "http.proxy=",
    "protocol.ext.allow=never",
    "protocol.file.allow=always",
    "submodule.recurse=false",
    "fetch.recurseSubmodules=false",
    "diff.external=",
    "diff.noprefix=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "safe.directory=*",
    "safe.bareRepository=explicit",
    "init.defaultBranch=main",
    "transfer.bundleURI=false",
    "advice.detachedHead=false",
    "commit.gpgSign=false",
    "merge.renames=true",
)

ATTRIBUTES = "* -text -ident -filter !working-tree-encoding !eol\n"
"""For info/attributes, which outweighs a repository's own: files come out and go in byte by byte."""

SERVER = frozenset({"clone", "fetch", "push", "ls-remote"})
"""Verbs that speak with a server: they have children that may hang with it."""

GUARD = 'read -r _; kill -s KILL -- "-$1"'
"""Waits for the end of our process, then ends git and all its children."""


class Git:
    """Runs git for one repository of one home."""

    def __init__(self, secrets: Path, name: str, timeout_seconds: float, address: Address) -> None:
        self._timeout = timeout_seconds
        self._address = address
        self._ssh = ssh_command(secrets, name)
        self._ca = ca_file(secrets, name)
        setpriv = shutil.which("setpriv", path=PATH)
        self._mortal = [setpriv, "--pdeathsig", "KILL"] if setpriv else []

    def __call__(
        self, folder: Path, *words: str, stdin: bytes = b"", env: Mapping[str, str] | None = None, seconds: float = 0
    ) -> str:
        """Run `git WORDS` in a folder; its output without the last newline. `seconds` is another limit than usual.

        Raises:
            FactoryError: as failures.FAILURES says; what is not listed there is a plain FactoryError in git's words.
            Unavailable: it took longer than the limit, or git is not installed.
        """
        return (
            self.raw(folder, *words, stdin=stdin, env=env, seconds=seconds).decode(errors="replace").removesuffix("\n")
        )

    def raw(
        self, folder: Path, *words: str, stdin: bytes = b"", env: Mapping[str, str] | None = None, seconds: float = 0
    ) -> bytes:
        """As a call, with the output as it is."""
        status, out, err = self._run(folder, words, stdin, env or {}, seconds)
        if status:
            raise self._failure(words[0], (err + b"\n" + out).decode(errors="replace"))
        return out

    def trouble(self, folder: Path, *words: str, env: Mapping[str, str] | None = None, seconds: float = 0) -> str:
        """What git says when it fails; "" when it does not. Raises Unavailable alone."""
        status, out, err = self._run(folder, words, b"", env or {}, seconds)
        said = (err + b"\n" + out).decode(errors="replace")
        return in_words(words[0], said).message if status else ""

    @contextlib.contextmanager
    def talking(
        self, folder: Path, *words: str, env: Mapping[str, str] | None = None
    ) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
        """A git that runs meanwhile, with where to write to and where to read from: for what is too large to be held
        at once. Raises as a call does, when it is left; there is no limit in time."""
        settings = [word for setting in SETTINGS for word in ("-c", setting)]
        with self._started(folder, ["git", "--no-pager", *settings, *words], env or {}) as process:
            to, out, err = process.stdin, process.stdout, process.stderr
            if to is None or out is None or err is None:
                raise Unavailable("git has no pipes", "try again")
            with contextlib.suppress(BrokenPipeError):  # it ended early, and says why
                yield to, out
            with contextlib.suppress(BrokenPipeError):
                to.close()
            said = err.read() + out.read()
            if process.wait():
                raise self._failure(words[0], said.decode(errors="replace"))

    def _failure(self, verb: str, said: str) -> FactoryError:
        error = in_words(verb, said)
        closer = certificates.look(self._address.url, self._ca) if error.message.startswith(UNTRUSTED) else None
        return closer or error

    def _run(
        self, folder: Path, words: Sequence[str], stdin: bytes, env: Mapping[str, str], seconds: float
    ) -> tuple[int, bytes, bytes]:
        settings = [word for setting in SETTINGS for word in ("-c", setting)]
        command = ["git", "--no-pager", *settings, *words]
        guarded = _guarded if words[0] in SERVER else contextlib.nullcontext
        limit = seconds or self._timeout
        with self._started(folder, command, env) as process, guarded(process):
            try:
                out, err = process.communicate(stdin, limit)
            except subprocess.TimeoutExpired as error:
                raise Unavailable(
                    f"git {words[0]} took longer than {limit:g} s",
                    "raise mirror.timeout_seconds (clones: mirror.clone_seconds) if this is normal",
                ) from error
        return process.returncode, out, err

    def environment(self) -> dict[str, str]:
        """Everything git finds in its environment: nothing comes from ours."""
        return {
            "PATH": PATH,
            "HOME": "/nonexistent",
            "LANG": "C.UTF-8",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": "/bin/false",
            "SSH_ASKPASS": "/bin/false",
            "GIT_ALLOW_PROTOCOL": ":".join(PROTOCOLS),
            "GIT_SSH_COMMAND": self._ssh,
            "GIT_SSH_VARIANT": "ssh",
            "GIT_LFS_SKIP_SMUDGE": "1",
            "GIT_NO_LAZY_FETCH": "1",
            "GIT_HTTP_LOW_SPEED_LIMIT": "1000",
            "GIT_HTTP_LOW_SPEED_TIME": "60",
            **({"GIT_SSL_CAINFO": str(self._ca)} if self._ca.exists() else {}),
            **self._address.variables(),
        }

    @contextlib.contextmanager
    def _started(self, folder: Path, command: list[str], env: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
        """A started git that is gone afterwards, with everything it started, whatever happens."""
        try:
            process = subprocess.Popen(
                [*self._mortal, *command],
                cwd=folder,
                env={**self.environment(), **env},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except FileNotFoundError as error:
            if not folder.is_dir():
                raise Unavailable(f"{folder} is gone", "somebody removed it meanwhile; try again") from error
            raise Unavailable("git is not installed", "apt-get install git") from error
        try:
            yield process
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe:
                    pipe.close()


@contextlib.contextmanager
def _guarded(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """When we are killed, the kernel ends git (see `setpriv`), but not its children, which may wait for a server."""
    guard = subprocess.Popen(
        ["/bin/sh", "-c", GUARD, "sh", str(process.pid)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={"PATH": PATH},
        start_new_session=True,
    )
    try:
        yield
    finally:
        guard.kill()
        guard.wait()
        if guard.stdin:
            guard.stdin.close()


def ssh_command(secrets: Path, name: str) -> str:
    """How git calls ssh: pinned hosts only, this repository's key only, no questions."""
    options = (
        "BatchMode=yes", "StrictHostKeyChecking=yes", f'UserKnownHostsFile="{secrets / "known_hosts"}"',
        "IdentitiesOnly=yes", f'IdentityFile="{private_file(secrets, name)}"', "IdentityAgent=none",
        'GlobalKnownHostsFile="/dev/null"', "UpdateHostKeys=no", "ConnectTimeout=15",
        "ServerAliveInterval=15", "ServerAliveCountMax=4", "ForwardAgent=no", "PermitLocalCommand=no",
    )  # fmt: skip
    return shlex.join(["ssh", "-F", "/dev/null", *(word for option in options for word in ("-o", option))])
