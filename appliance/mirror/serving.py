"""Mirrors as git clients read them over smart HTTP (ports.Readable): `git upload-pack`, and nothing that writes.

What git sends is passed on in pieces and never held: a pack may be larger than memory. Whoever stops reading takes git
and its children with them.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from appliance.errors import FactoryError, NotFound, Unavailable
from appliance.mirror.failures import in_words
from appliance.mirror.git import PATH, SETTINGS

PIECE = 64 * 1024

SHOWN = (
    "uploadpack.hideRefs=refs",
    "uploadpack.hideRefs=!refs/heads",
    "uploadpack.hideRefs=!refs/tags",
    "uploadpack.allowFilter=true",
    "uploadpackfilter.allow=false",
    "uploadpackfilter.blob:none.allow=true",
    "uploadpackfilter.blob:limit.allow=true",
    "uploadpackfilter.tree.allow=true",
    "uploadpack.keepAlive=5",
    "pack.threads=1",
    "pack.windowMemory=64m",
)
"""Branches and tags alone, and of the partial clones those that cost little. A sign of life every 5 s, so that git is
told soon when nobody reads any more. One client has one core and little memory."""

ENVIRONMENT = {
    "PATH": PATH, "HOME": "/nonexistent", "LANG": "C.UTF-8", "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_ATTR_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0", "GIT_NO_LAZY_FETCH": "1",
    "GIT_ALLOW_PROTOCOL": "none",
}  # fmt: skip


class Stream:
    """What one git says, as it says it. To be closed in any case: then nothing of it runs any more."""

    def __init__(self, process: subprocess.Popen[bytes], said: IO[bytes], opening: bytes) -> None:
        self._process = process
        self._said = said
        self._opening = opening

    def __iter__(self) -> Iterator[bytes]:
        """Raises FactoryError, in git's words, when git fails."""
        if self._opening:
            yield self._opening
        pipe = self._process.stdout
        while pipe and (piece := os.read(pipe.fileno(), PIECE)):
            yield piece
        if self._process.wait():
            raise self._failure()

    def close(self) -> None:
        """End git and all its children. Safe to call twice."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()
        self._said.close()

    def _failure(self) -> FactoryError:
        self._said.seek(0)
        return in_words("upload-pack", self._said.read(PIECE).decode(errors="replace"))


class Served:
    """See ports.Readable."""

    def __init__(self, mirrors: Path) -> None:
        self._mirrors = mirrors
        setpriv = shutil.which("setpriv", path=PATH)
        self._mortal = [setpriv, "--pdeathsig", "KILL"] if setpriv else []

    def refs(self, name: str, protocol: str) -> Stream:
        """See ports.Readable."""
        spoken = _spoken(protocol)
        first = b"" if spoken == "version=2" else b"001e# service=git-upload-pack\n0000"
        return self._upload_pack(name, ("--http-backend-info-refs",), spoken, None, first)

    def pack(self, name: str, protocol: str, asked: IO[bytes]) -> Stream:
        """See ports.Readable."""
        return self._upload_pack(name, (), _spoken(protocol), asked, b"")

    def _upload_pack(
        self, name: str, mode: tuple[str, ...], spoken: str, asked: IO[bytes] | None, opening: bytes
    ) -> Stream:
        folder = self._mirrors / f"{name}.git"
        if not folder.is_dir():
            raise NotFound(f"{name} is not mirrored yet", f"`appliance repo sync {name}`")
        settings = [word for setting in (*SETTINGS, *SHOWN) for word in ("-c", setting)]
        command = ["git", "--no-pager", *settings, "upload-pack", "--strict", "--stateless-rpc", *mode, str(folder)]
        said = tempfile.TemporaryFile()  # noqa: SIM115 - the stream closes it
        try:
            process = subprocess.Popen(
                [*self._mortal, *command],
                cwd=folder,
                env={**ENVIRONMENT, **({"GIT_PROTOCOL": spoken} if spoken else {})},
                stdin=asked if asked is not None else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=said,
                start_new_session=True,
            )
        except OSError as error:
            said.close()
            raise Unavailable(f"git does not start: {error}", "apt-get install git") from error
        return Stream(process, said, opening)


def _spoken(protocol: str) -> str:
    """The newest protocol that a client offers in its `Git-Protocol` header, and nothing else of it."""
    offered = re.findall(r"(?:^|:)version=([12])(?=:|$)", protocol)
    return f"version={max(offered)}" if offered else ""
