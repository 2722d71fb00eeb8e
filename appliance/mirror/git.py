"""The one place that runs git: argument lists only, hardened, with limits, and failures in words.

Nothing of a repository is ever executed: no hooks, filters, external diffs, credential helpers or file system monitors;
no configuration but the one given here. Protocols are limited to file, ssh, http and https.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import signal
import subprocess
from pathlib import Path

from appliance.errors import Conflict, FactoryError, NotFound, PolicyRefused, Unavailable, UsageError

PROTOCOLS = "file:ssh:http:https"

SETTINGS = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.attributesFile=/dev/null",
    "core.excludesFile=/dev/null",
    "core.quotePath=false",
    "credential.helper=",
    "protocol.ext.allow=never",
    "protocol.file.allow=always",
    "submodule.recurse=false",
    "fetch.recurseSubmodules=false",
    "diff.external=",
    "gc.auto=0",
    "maintenance.auto=false",
    "safe.directory=*",
    "init.defaultBranch=main",
    "transfer.bundleURI=false",
    "advice.detachedHead=false",
    "commit.gpgSign=false",
    "merge.renames=true",
)

FAILURES: tuple[tuple[str, type[FactoryError], str, str], ...] = (
    (r"non-fast-forward|fetch first|stale info|cannot lock ref|incorrect old value|failed to update ref",
     Conflict, "the branch moved on the server", "the box tries again from a fresh base"),
    (r"hook declined|protected branch|GL-HOOK-ERR|denying|deny updating|not allowed to push",
     PolicyRefused, "the server refuses the push", "let the box's account push there, or land the change by hand"),
    (r"Authentication failed|Permission denied|could not read (Username|Password)|401|403|terminal prompts disabled",
     Unavailable, "the server does not let the box in", "check the key or token of this repository"),
    (r"Host key verification failed", Unavailable, "the server's host key is not known",
     "add it to secrets/known_hosts after comparing its fingerprint"),
    (r"transport '.*' not allowed|is not allowed", UsageError, "this kind of address is not allowed",
     f"use one of: {PROTOCOLS.replace(':', ', ')}"),
    (r"cannot run ssh", Unavailable, "ssh is not installed", "apt-get install openssh-client"),
    (r"Could not resolve host|Connection refused|Connection timed out|unable to access|Connection reset"
     r"|No route to host|early EOF|the remote end hung up|Network is unreachable|unable to connect|Couldn't connect",
     Unavailable, "the server does not answer", "is it up, and reachable from this box?"),
    (r"does not appear to be a git repository|not a git repository|Repository not found|does not exist|404", NotFound,
     "there is no repository at that address", "check the URL"),
    (r"CONFLICT|could not apply|patch does not apply|Merge conflict", Conflict, "the change does not fit",
     "it is planned again from today's branch"),
    (r"No space left on device", Unavailable, "the disk is full", "free space on the home's disk"),
)  # fmt: skip
"""What git says (pattern) → which error, what failed and what to do."""


class Git:
    """Runs git for one home."""

    def __init__(self, known_hosts: Path, timeout_seconds: float) -> None:
        self._timeout = timeout_seconds
        ssh = f"ssh -F /dev/null -o BatchMode=yes -o StrictHostKeyChecking=yes -o UserKnownHostsFile={known_hosts}"
        ssh += " -o ConnectTimeout=15"
        key = known_hosts.parent / "deploy_key"
        self._ssh = f"{ssh} -i {key} -o IdentitiesOnly=yes"

    def __call__(self, folder: Path, *words: str, stdin: bytes = b"", env: dict[str, str] | None = None) -> str:
        """Run `git WORDS` in a folder; its output without the last newline.

        Raises:
            FactoryError: as FAILURES says; one that is not listed there is a plain FactoryError with git's last line.
            Unavailable: it took longer than the limit.
        """
        settings = [word for setting in SETTINGS for word in ("-c", setting)]
        process = subprocess.Popen(
            ["git", "--no-pager", *settings, *words],
            cwd=folder,
            env={**self.environment(), **(env or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )
        try:
            out, err = process.communicate(stdin, self._timeout)
        except subprocess.TimeoutExpired as error:
            raise Unavailable(
                f"git {words[0]} took longer than {self._timeout:g} s", "raise mirror.timeout_seconds if this is normal"
            ) from error
        finally:
            _end(process)
        if process.returncode:
            raise in_words(words[0], (err + b"\n" + out).decode(errors="replace"))
        return out.decode(errors="replace").removesuffix("\n")

    def environment(self) -> dict[str, str]:
        """Everything git finds in its environment: nothing comes from ours."""
        return {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "HOME": "/nonexistent",
            "LANG": "C.UTF-8",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": "/bin/false",
            "SSH_ASKPASS": "/bin/false",
            "GIT_ALLOW_PROTOCOL": PROTOCOLS,
            "GIT_SSH_COMMAND": self._ssh,
            "GIT_LFS_SKIP_SMUDGE": "1",
            "GIT_NO_LAZY_FETCH": "1",
            "GIT_HTTP_LOW_SPEED_LIMIT": "1000",
            "GIT_HTTP_LOW_SPEED_TIME": "60",
        }


def in_words(verb: str, said: str) -> FactoryError:
    """Git's failure as an error with a remedy; addresses are shown without their credentials."""
    clean = redact(said)
    lines = [line for line in clean.splitlines() if line.strip() and not line.startswith("hint:")]
    telling = [line for line in lines if re.search(r"fatal|error|rejected|remote:|CONFLICT", line)] or lines[-1:]
    words = " / ".join(line.strip() for line in telling[:3])[:400]
    for pattern, kind, what, hint in FAILURES:
        if re.search(pattern, clean):
            return kind(f"{what}: {words}", hint)
    return FactoryError(f"git {verb} failed: {words}", "`appliance doctor` checks git and every repository")


def redact(text: str) -> str:
    """Hide user names and passwords in addresses.

    >>> redact("https://bot:secret@git.example/x.git")
    'https://***@git.example/x.git'
    """
    return re.sub(r"(\w+://)[^/@\s]+@", r"\1***@", text)


def checked_url(url: str) -> str:
    """An address git may be given. Raises UsageError for what could be read as an option, a command, or two lines."""
    if not url or url.startswith("-") or "::" in url.split("/")[0] or re.search(r"[\x00-\x20\x7f]", url):
        raise UsageError(f"{redact(url)!r} is not an address of a repository", "give a file, ssh, http or https URL")
    scheme = re.match(r"([a-z+]+)://", url)
    if scheme and scheme.group(1) not in PROTOCOLS.split(":"):
        raise UsageError(f"{scheme.group(1)}:// is not allowed", f"use one of: {PROTOCOLS.replace(':', ', ')}")
    return url


def checked_branch(name: str) -> str:
    """A branch name git may be given. Raises UsageError."""
    if not re.fullmatch(r"(?!-)(?!.*(\.\.|@\{|//|\.lock$|/$|\.$))[^\x00-\x20\x7f~^:?*\[\\]{1,200}", name):
        raise UsageError(f"{name!r} cannot be a branch", "use letters, digits, '-', '_', '.' and '/'")
    return name


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _end(process: subprocess.Popen[bytes]) -> None:
    """Leave nothing of it behind, whatever happened."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe:
            pipe.close()
