"""A real ssh server for git: sshd on a free port, which runs nothing but git-shell for the keys it was given.

With a `home` of their own, keys bring the command that they may run (as gitolite writes them), and it runs there.
"""

from __future__ import annotations

import getpass
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.world import free_port, until

SSHD = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/usr/bin")
GIT_SHELL = shutil.which("git-shell")


class SshServer:
    """`host_key` is the server's identity; `admit` lets a public key in."""

    def __init__(self, folder: Path, home: Path | None = None) -> None:
        self.folder = folder
        self.port = free_port()
        self.keys = (home / ".ssh" if home else folder) / "authorized_keys"
        self.keys.touch()
        self._runs = f'SetEnv HOME="{home}"' if home else f'ForceCommand {GIT_SHELL} -c "$SSH_ORIGINAL_COMMAND"'
        self.new_host_key()
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, path: Path) -> str:
        return f"ssh://{getpass.getuser()}@127.0.0.1:{self.port}{path}"

    def admit(self, *lines: str) -> None:
        self.keys.write_text("".join(f"{line}\n" for line in lines))

    def new_host_key(self) -> None:
        for old in self.folder.glob("host_key*"):
            old.unlink()
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.folder / "host_key")]
        subprocess.run(command, check=True)

    @property
    def fingerprint(self) -> str:
        command = ["ssh-keygen", "-lf", str(self.folder / "host_key.pub")]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[1]

    def start(self) -> None:
        config = self.folder / "sshd_config"
        config.write_text(
            f"ListenAddress 127.0.0.1:{self.port}\nHostKey {self.folder / 'host_key'}\nPidFile none\nUsePAM no\n"
            f"AuthorizedKeysFile {self.keys}\nStrictModes no\nPasswordAuthentication no\n"
            f"KbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\n"
            f"{self._runs}\n"
        )
        (self.folder / "log").unlink(missing_ok=True)  # what an earlier start wrote would be taken for this one's
        self._process = subprocess.Popen([str(SSHD), "-D", "-f", str(config), "-E", str(self.folder / "log")])
        until(self._listens, "sshd listens", 30)

    def stop(self) -> None:
        if self._process:
            self._process.terminate()
            self._process.wait(10)
            self._process = None

    def _listens(self) -> bool:
        return "Server listening" in (self.folder / "log").read_text() if (self.folder / "log").exists() else False


@contextmanager
def ssh_serving(folder: Path, home: Path | None = None) -> Iterator[SshServer]:
    """A running server; the test is skipped where there is no sshd."""
    if SSHD is None or GIT_SHELL is None:
        pytest.skip("no sshd here (apt-get install openssh-server)")
    folder.mkdir()
    Path("/run/sshd").mkdir(exist_ok=True) if getpass.getuser() == "root" else None
    server = SshServer(folder, home)
    server.start()
    try:
        yield server
    finally:
        server.stop()
