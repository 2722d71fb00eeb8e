"""A clone through the box against git alone: CPU time, wall time and the console's memory; and whether the first fetch
of a large repository holds up fetches of another.

One repository of many files and commits, read from the same bare mirror: by `git clone --no-local` (git alone, both
sides over pipes) and over HTTP from a console of its own with a key.

Run: python tests/benchmarks/bench_clone.py [FILES COMMITS [MB]]; MB of files that nothing makes smaller come on top,
and each way is measured once. `100000 50000 5000` is the largest repository that the box is meant for (30 GB of disk).
"""

from __future__ import annotations

import os
import random
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from appliance.config import Home
from appliance.ledger import open_ledger
from appliance.mirror.mirror import Mirror
from appliance.settings import MirrorSettings
from appliance.work import TrackedRepository
from inference.keys import KeyStore
from tests.e2e.world import free_port, git, remote, until

RUNS = 3
"""Clones each way; the best counts."""
LINES = 60
BLOB = 16_000_000


def history(folder: Path, files: int, commits: int, mb: int) -> Path:
    """A bare repository: each commit rewrites some of its files; the first one brings the large ones, too."""
    bare, chance = folder / "server.git", random.Random(7)
    git(folder, "init", "-q", "--bare", "-b", "main", str(bare))
    feed = subprocess.Popen(
        ["git", "-c", "pack.compression=1", "fast-import", "--quiet"], cwd=bare, stdin=subprocess.PIPE
    )
    assert feed.stdin is not None
    for number in range(commits):
        feed.stdin.write(
            f"commit refs/heads/main\ncommitter A <a@localhost> {1_700_000_000 + number} +0000\ndata 1\nx\n".encode()
        )
        for file in range(files) if number == 0 else chance.sample(range(files), min(files, 5)):
            text = "".join(f"value_{line} = {chance.random()}\n" for line in range(LINES))
            feed.stdin.write(f"M 100644 inline d{file % 100}/f{file}.py\ndata {len(text)}\n{text}\n".encode())
        for blob in range(mb * 1_000_000 // BLOB) if number == 0 else ():
            feed.stdin.write(
                f"M 100644 inline large/{blob}.bin\ndata {BLOB}\n".encode() + chance.randbytes(BLOB) + b"\n"
            )
    feed.stdin.close()
    if feed.wait():
        raise SystemExit("the repository could not be made")
    return bare


def clone(words: list[str], into: Path) -> tuple[float, float]:
    """CPU seconds of git's children here, and wall seconds."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(["git", "clone", "--quiet", "--no-checkout", *words, str(into)], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, time.monotonic() - start


class Console:
    """The console's process, and what it and the git it started have used."""

    def __init__(self, home: Home) -> None:
        self.port = free_port()
        words = [sys.executable, "-m", "appliance", "--home", str(home.root), "serve", "console"]
        environment = {**os.environ, "APPLIANCE_CONSOLE_PORT": str(self.port)}
        self.process = subprocess.Popen(words, env=environment, stderr=subprocess.DEVNULL)

    def worker(self) -> str:
        found = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return found[0] if found else ""

    def cpu(self) -> float:
        fields = Path(f"/proc/{self.worker()}/stat").read_text().rsplit(")", 1)[1].split()
        return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")

    def peak_mb(self) -> float:
        (line,) = [one for one in Path(f"/proc/{self.worker()}/status").read_text().splitlines() if "VmHWM" in one]
        return int(line.split()[1]) / 1024


def beside(home: Home, bare: Path, folder: Path) -> None:
    """Print how a small repository is fetched alone, and while the large one is mirrored by another thread."""
    server = remote(folder, "small", {"a.py": "x = 1\n"})
    small = Mirror(home, "small", server.as_uri(), "", MirrorSettings())
    small.create()
    large = Mirror(home, "large", bare.as_uri(), "main", MirrorSettings(clone_seconds=7200))

    def fetched() -> float:
        git(server.parent / "small-tree", "commit", "-q", "--allow-empty", "-m", "more")
        git(server.parent / "small-tree", "push", "-q", "origin", "HEAD:main")
        start = time.monotonic()
        small.sync()
        return time.monotonic() - start

    alone = [fetched() for _ in range(10)]
    thread = threading.Thread(target=large.create)
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    thread.start()
    meanwhile = []
    while thread.is_alive():
        meanwhile.append(fetched())
        time.sleep(0.2)
    most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    took, after = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"the large one mirrored in {took:.1f} s ({cpu:.1f} s CPU of git, the small one's included), "
          f"no git larger than {most:.0f} MB, with what it maps of files; beside it")  # fmt: skip
    print(f"  fetches of another alone  {sorted(alone)[5]:6.2f} s in the middle, {max(alone):.2f} s at most")
    print(f"  {len(meanwhile):5} meanwhile           {sorted(meanwhile)[len(meanwhile) // 2]:6.2f} s in the middle, "
          f"{max(meanwhile):.2f} s at most")  # fmt: skip
    start = time.monotonic()
    head = large.sync()
    print(f"  an idle sync of the large {time.monotonic() - start:6.2f} s")
    start = time.monotonic()
    large.workspace(head).close()
    print(f"  a clone to work in        {time.monotonic() - start:6.2f} s")
    large.remove()


def main() -> None:
    """Print the table."""
    files, commits, mb = (int(word) for word in (*(sys.argv[1:4] or ("5000", "1000")), "0")[:3])
    runs = 1 if mb else RUNS
    with tempfile.TemporaryDirectory(prefix="bench-clone-") as name:
        folder = Path(name)
        home = Home(folder / "home")
        for place in (home.root, *home.folders):
            place.mkdir()
        home.settings_file.write_text("")
        (home.secrets / "audit.key").write_bytes(os.urandom(32))  # a console does not start over a ledger without it
        bare = history(folder, files, commits, mb)
        beside(home, bare, folder)
        mirror = Mirror(home, "shop", bare.as_uri(), "main", MirrorSettings())
        mirror.create()
        open_ledger(home).add_repository(TrackedRepository(name="shop", url=mirror.url, branch="main"))
        _, token = KeyStore(home.secrets / "keys.json").create("bench", scopes=("git",))
        console = Console(home)
        try:
            url = f"http://x:{token}@127.0.0.1:{console.port}/git/shop.git"
            look = ["git", "ls-remote", "--quiet", url]
            until(lambda: subprocess.run(look, capture_output=True).returncode == 0, "the console is up")
            at_first = console.peak_mb()
            alone = [clone(["--no-local", str(mirror.folder)], folder / f"alone-{run}") for run in range(runs)]
            through, served = [], []
            for run in range(runs):
                before = console.cpu()
                through.append(clone([url], folder / f"through-{run}"))
                served.append(console.cpu() - before)
            pack = sum(file.stat().st_size for file in (folder / "through-0").rglob("*.pack")) / 1e6
            least, soonest = min(cpu for cpu, _ in alone), min(wall for _, wall in alone)
            both = min(here + there for (here, _), there in zip(through, served, strict=True))
            wall = min(wall for _, wall in through)
            print(f"a clone of {files} files, {commits} commits, a pack of {pack:.1f} MB; best of {runs}")
            print(f"  git alone, both sides     {least:6.2f} s CPU {soonest:6.2f} s")
            print(f"  through the box, both     {both:6.2f} s CPU {wall:6.2f} s")
            print(f"  console's memory          {at_first:6.1f} MB before, {console.peak_mb():.1f} MB at its peak")
        finally:
            console.process.terminate()
            console.process.wait(30)


if __name__ == "__main__":
    main()
