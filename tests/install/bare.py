"""Bare machines: a Debian root that knows nothing of the box, in namespaces of its own whose only network is loopback.

Every machine is a layer over one root made by debootstrap (kept in the cache outside the checkout), so what an
installation wrote is exactly what lies in the layer. Where no mirror is reached the root is this machine's own /usr.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

SUITE = "bookworm"
PACKAGES = ("python3", "python3-venv", "openssl", "git", "bubblewrap", "ca-certificates", "libgomp1")
"""What the help page asks of a target, and nothing else."""

DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
CLEAN = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8"}

BOOT = """
set -e
ip link set lo up
mount -t overlay overlay -o "lowerdir=$LOWER,upperdir=$LAYER/upper,workdir=$LAYER/work" "$LAYER/root"
cd "$LAYER/root"
if [ -n "$BORROWED" ]; then for one in usr etc; do mkdir -p $one; done; mount --bind /usr usr; fi
mkdir -p media proc dev tmp run sys
mount -t tmpfs -o mode=755 tmpfs dev
for name in null zero full random urandom tty; do touch dev/$name; mount --bind /dev/$name dev/$name; done
mkdir dev/shm dev/pts
mount -t tmpfs -o mode=1777 tmpfs dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx; ln -s /proc/self/fd dev/fd; ln -s fd/0 dev/stdin; ln -s fd/1 dev/stdout; ln -s fd/2 dev/stderr
mount -t tmpfs -o mode=1777 tmpfs tmp
mount -t tmpfs -o mode=755 tmpfs run
mount -t proc proc proc
if [ -n "$MEDIA" ]; then mount --bind "$MEDIA" media; mount -o remount,ro,bind media; fi
if [ -n "$SMALL" ]; then mkdir -p "${SMALL%%:*}"; mount -t tmpfs -o "size=${SMALL##*:}" tmpfs "${SMALL%%:*}"; fi
mkdir -p old && pivot_root . old
umount -l /old && rmdir /old
touch /run/booted
exec /bin/sh -c 'while :; do sleep 3600 & wait $!; done'
"""
"""Runs as the machine's first process, which takes in what others leave behind."""


class NoRoot(Exception):
    """Why no bare machine can be had here."""


@dataclass(frozen=True)
class Root:
    """A root to lay machines over; `said` tells what it is."""

    folder: Path
    borrowed: bool
    said: str


def root(cache: Path) -> Root:
    """The bare root, made on the first call and kept. Raises NoRoot where namespaces or tools are missing."""
    lacking = [name for name in ("unshare", "nsenter", "mount", "ip", "openssl") if shutil.which(name) is None]
    if os.geteuid() != 0 or lacking:
        raise NoRoot("needs root" if not lacking else f"needs {', '.join(lacking)}")
    mark = hashlib.sha256(" ".join(PACKAGES).encode()).hexdigest()[:8]
    folder = cache / "roots" / f"{SUITE}-{mark}"
    if not folder.exists():
        try:
            _debootstrap(folder)
        except (OSError, subprocess.CalledProcessError, NoRoot) as error:
            return _borrowed(cache / "roots" / "borrowed", str(error))
    release = (folder / "etc" / "debian_version").read_text("utf-8").strip()
    return Root(folder, False, f"Debian {release} by debootstrap ({', '.join(PACKAGES)})")


def _debootstrap(folder: Path) -> None:
    if shutil.which("debootstrap") is None:
        raise NoRoot("debootstrap is not installed (apt-get install debootstrap)")
    asked = ["apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME)", "Created-By: Packages"]
    said = subprocess.run(asked, capture_output=True, text=True, check=True)
    mirrors = [line.split()[0] for line in said.stdout.splitlines() if line.split()[1:] == [SUITE]]
    if not mirrors:
        raise NoRoot(f"apt knows no mirror of {SUITE}")
    half = folder.with_name(f"{folder.name}.{os.getpid()}")
    half.parent.mkdir(parents=True, exist_ok=True)
    print(f"making a bare Debian root in {folder} (once, about a minute)", file=sys.stderr)
    words = ["debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE, str(half), mirrors[0]]
    try:
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
        half.rename(folder)
    finally:
        shutil.rmtree(half, ignore_errors=True)


def _borrowed(folder: Path, why: str) -> Root:
    """A root with this machine's /usr and nothing else of it."""
    etc = folder / "etc"
    etc.mkdir(parents=True, exist_ok=True)
    for name in ("bin", "lib", "lib64", "sbin"):
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"usr/{name}")
    for name in ("passwd", "group", "nsswitch.conf", "ld.so.cache", "ssl", "alternatives"):
        source = Path("/etc") / name
        if source.is_dir():
            shutil.copytree(source, etc / name, symlinks=True, dirs_exist_ok=True, ignore_dangling_symlinks=True)
        elif source.exists():
            shutil.copyfile(source, etc / name)
    for name in ("root", "var/lib", "opt"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    return Root(folder, True, f"this machine's own /usr, for no bare root could be made: {why}")


@dataclass
class Machine:
    """A machine that runs: start it, run programs in it, end it with everything in it."""

    root: Root
    layer: Path
    """A folder of its own, on a file system that can hold an upper layer."""
    media: Path
    small: str = ""
    """`opt:64m` makes that folder a file system of that size."""
    first: subprocess.Popen[bytes] | None = None
    inits: int = 0
    strays: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def boot(self) -> Machine:
        """Start its first process."""
        for name in ("upper", "work", "root"):
            (self.layer / name).mkdir(parents=True, exist_ok=True)
        said = {"LOWER": str(self.root.folder), "LAYER": str(self.layer), "MEDIA": str(self.media), "SMALL": self.small,
                "BORROWED": "1" if self.root.borrowed else ""}  # fmt: skip
        words = ["unshare", "--mount", "--net", "--pid", "--ipc", "--uts", "--fork", "--kill-child",
                 "--propagation", "private", "sh", "-c", BOOT]  # fmt: skip
        complaints = self.layer / "boot.log"
        with complaints.open("wb") as log:
            self.first = subprocess.Popen(words, env=os.environ | said, start_new_session=True, stderr=log)
        until = time.monotonic() + 20
        while time.monotonic() < until and self.first.poll() is None:
            children = Path(f"/proc/{self.first.pid}/task/{self.first.pid}/children").read_text().split()
            if children:
                self.inits = int(children[0])
                if self.path("/run/booted").exists():
                    return self
            time.sleep(0.02)
        raise NoRoot(f"no namespaces for a machine: {complaints.read_text('utf-8', 'replace')}")

    def words(self, words: Sequence[str], env: dict[str, str] | None = None) -> list[str]:
        """The command that runs `words` in the machine."""
        given = [f"{name}={value}" for name, value in (CLEAN | (env or {})).items()]
        enter = ["nsenter", "--target", str(self.inits), "--mount", "--net", "--pid", "--ipc", "--uts", "--"]
        return [*enter, "env", "-i", *given, *words]

    def run(
        self, words: Sequence[str], seconds: float = 600, env: dict[str, str] | None = None, before: Sequence[str] = ()
    ) -> subprocess.CompletedProcess[str]:
        """Run a program in the machine; `before` are words put in front of entering it (a tracer)."""
        return subprocess.run(
            [*before, *self.words(words, env)], capture_output=True, text=True, errors="replace", timeout=seconds,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def kill_all(self) -> None:
        """SIGKILL every process but the first: what a power cut leaves of them."""
        code = "import os, signal\nos.kill(-1, signal.SIGKILL)"
        self.run(["python3", "-c", code])

    def wrote(self) -> set[str]:
        """Every path its layer holds: files and folders made, changed or removed since it came up."""
        upper = self.layer / "upper"
        return {place.relative_to(upper).as_posix() for place in upper.rglob("*")}

    def path(self, inside: str) -> Path:
        """Where a path of the machine is seen from outside."""
        return Path(f"/proc/{self.inits}/root") / inside.lstrip("/")

    def end(self) -> None:
        """End it with everything in it, and remove its layer."""
        if self.first is not None:
            if self.inits:
                os.kill(self.inits, signal.SIGKILL)
            self.first.wait(timeout=30)
            self.first = None
        shutil.rmtree(self.layer, ignore_errors=True)
