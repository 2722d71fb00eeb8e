"""What must hold inside either tier, tried by running hostile code for real."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from appliance.computers.probe import open_sandbox, probe
from appliance.computers.sandbox import BoxedSandbox
from appliance.config import Home
from appliance.errors import ConfigError, NoSandbox, NotFound, Unavailable, UsageError
from appliance.ports import Completed, Limits
from appliance.settings import ComputersSettings

pytestmark = pytest.mark.integration
Tree = Callable[..., Path]
SMALL = Limits(seconds=20, cpu_seconds=5, memory_mb=256, processes=32, disk_mb=32, output_kb=64)


def running(word: str) -> list[int]:
    """Processes, here or in any sandbox, whose command line holds a word."""
    return [one.pid for one in psutil.process_iter(["cmdline"]) if word in " ".join(one.info["cmdline"] or ())]


def python(box: BoxedSandbox, folder: Path, code: str, limits: Limits = SMALL, **more: object) -> Completed:
    return box.run([box.python, "-c", code], tree=folder, limits=limits, **more)  # type: ignore[arg-type]


def test_a_command_sees_its_copy_and_tells_how_it_ended(box: BoxedSandbox, tree: Tree) -> None:
    done = python(
        box, tree(a_py="x"), "import sys; print(open('a.py').read()); print('e', file=sys.stderr); sys.exit(3)"
    )
    assert (done.exit_code, done.stdout, done.stderr, done.limit) == (3, b"x\n", b"e\n", "")


def test_standard_input_reaches_the_command(box: BoxedSandbox, tree: Tree) -> None:
    assert python(box, tree(), "print(input()[::-1])", stdin=b"abc\n").stdout == b"cba\n"


def test_the_hosts_tree_never_changes(box: BoxedSandbox, tree: Tree) -> None:
    folder = tree(a_py="x")
    python(box, folder, "import os; open('a.py','w').write('y'); open('new','w'); os.mkdir('d')")
    assert sorted(path.name for path in folder.iterdir()) == ["a.py"]
    assert (folder / "a.py").read_text() == "x"


def test_the_network_is_out_of_reach(box: BoxedSandbox, tree: Tree) -> None:
    code = (
        "import socket\n"
        "for where in (('192.0.2.1', 80), ('8.8.8.8', 53)):\n"
        "    try:\n        socket.create_connection(where, 1); print('reached')\n"
        "    except OSError as e: print('refused')\n"
        "try:\n    socket.getaddrinfo('example.org', 80); print('resolved')\nexcept OSError: print('unresolved')\n"
    )
    assert python(box, tree(), code).stdout.split() == [b"refused", b"refused", b"unresolved"]


def test_nothing_of_the_hosts_environment_leaks(box: BoxedSandbox, tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY_TOKEN", "canary-9137")
    code = "import os, glob; print(dict(os.environ)); print(open('/proc/self/environ').read())"
    done = python(box, tree(), code, env={"GIVEN": "yes"})
    assert b"canary" not in done.stdout + done.stderr
    assert b"GIVEN" in python(box, tree(), "import os; print(dict(os.environ))", env={"GIVEN": "yes"}).stdout


def test_the_hosts_files_cannot_be_read_or_written(box: BoxedSandbox, tree: Tree, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("canary-9137")
    code = (
        f"for path in ({str(secret)!r}, '/etc/shadow', '/root/.ssh/id_rsa'):\n"
        "    try: print(open(path).read())\n    except OSError: print('no')\n"
        f"for path in ({str(secret)!r}, '/etc/x', '/usr/x', '/x'):\n"
        "    try: open(path, 'w').write('z'); print('wrote')\n    except OSError: print('no')\n"
    )
    assert python(box, tree(), code).stdout.split() == [b"no"] * 7
    assert secret.read_text() == "canary-9137"


def test_other_processes_cannot_be_seen_or_signalled(box: BoxedSandbox, tree: Tree) -> None:
    victim = subprocess.Popen(["sleep", "60"])
    try:
        code = (
            "import os, signal\n"
            f"try: os.kill({victim.pid}, signal.SIGKILL); print('killed')\n"
            "except (ProcessLookupError, PermissionError): print('no')\n"
        )
        assert python(box, tree(), code).stdout == b"no\n"
        assert victim.poll() is None
    finally:
        victim.kill()
        victim.wait()


def test_ways_past_the_sandbox_are_refused(box: BoxedSandbox, tree: Tree) -> None:
    code = (
        "import ctypes, os\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "print(libc.unshare(0x10000000) , libc.mount(b'none', b'/tmp', b'tmpfs', 0, None), libc.ptrace(16, 1, 0, 0),\n"
        "      libc.chroot(b'/'), libc.syscall(321, 0, 0, 0), libc.syscall(425, 1, 0))\n"
    )
    assert python(box, tree(), code).stdout.split() == [b"-1"] * 6


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("time", "import time; time.sleep(60)"),
        ("time", "while True: pass"),
        ("memory", "x = []\nwhile True: x.append(bytearray(1 << 20))"),
        ("output", "while True: print('x' * 1000)"),
        ("disk", "open('f', 'wb').write(bytes(64 << 20))"),
        ("disk", "for n in range(64): open(f'f{n}', 'wb').write(bytes(1 << 20))"),
        ("processes", "import os, time\nwhile True:\n    if os.fork() == 0: time.sleep(60)"),
        ("processes", "import os\nwhile True: os.fork()"),
    ],
)
def test_every_limit_ends_the_run_and_is_named(box: BoxedSandbox, tree: Tree, name: str, code: str) -> None:
    limits = SMALL.with_(seconds=4, cpu_seconds=2) if name == "time" else SMALL
    word = f"limit-{uuid.uuid4().hex}"
    done = python(box, tree(), f"{code}\n# {word}", limits)
    ended_itself = done.exit_code not in (0, None)  # memory and forks may be refused before the limit has to kill
    assert done.limit == name or (name in ("memory", "processes", "disk") and ended_itself), done
    assert len(done.stdout) <= limits.output_kb * 1024
    assert not running(word), "nothing is left behind"


def test_daemons_die_with_the_run(box: BoxedSandbox, tree: Tree) -> None:
    code = (
        "import os, time\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork() == 0:\n"
        "        os.execv('/bin/sleep', ['sleep', '987654'])\n"
        "    os._exit(0)\n"
        "time.sleep(0.5)\n"
    )
    python(box, tree(), code)
    assert not running("987654")


def test_only_plain_files_come_back(box: BoxedSandbox, tree: Tree) -> None:
    code = (
        "import os\nopen('good', 'w').write('g'); os.symlink('/etc/passwd', 'link'); os.mkfifo('pipe')\n"
        "os.mkdir('d'); open('d/inner', 'w').write('i'); os.symlink('d', 'l'); open('big', 'wb').write(bytes(9 << 20))"
    )
    names = ["good", "link", "pipe", "d", "d/inner", "l/inner", "../escape", "/etc/passwd", "missing", "big"]
    done = python(box, tree(), code, fetch=names)
    assert done.files == {"good": b"g", "d/inner": b"i"}


def test_a_session_answers_line_by_line_until_closed(box: BoxedSandbox, tree: Tree) -> None:
    code = "import sys\nfor line in sys.stdin: print(line.strip().upper(), flush=True)"
    session = box.open([box.python, "-c", code], tree=tree(), limits=SMALL)
    session.send(b"one")
    session.send(b"two")
    assert (session.receive(10), session.receive(10)) == (b"ONE", b"TWO")
    assert session.receive(0.05) is None
    session.close()
    session.close()
    with pytest.raises(Unavailable):
        session.send(b"three")


def test_a_session_that_ended_says_why(box: BoxedSandbox, tree: Tree) -> None:
    session = box.open([box.python, "-c", "raise SystemExit('bad luck')"], tree=tree(), limits=SMALL)
    with pytest.raises(Unavailable, match="bad luck"):
        session.receive(10)
    session.close()


def test_everything_inside_dies_with_the_process_that_started_it(tmp_path: Path, box: BoxedSandbox) -> None:
    script = (
        "import sys, tempfile; from pathlib import Path\n"
        "from appliance.computers.probe import open_sandbox\n"
        "from appliance.config import Home\nfrom appliance.settings import ComputersSettings\n"
        "from appliance.ports import Limits\n"
        f"box = open_sandbox(ComputersSettings(tier={box.tier!r}), Home(Path(sys.argv[1])))\n"
        "print('ready', flush=True)\n"
        "box.run(['/bin/sleep', '876' + '543'], tree=Path(sys.argv[1]), limits=Limits())\n"
    )
    (tmp_path / "tree").mkdir()
    parent = subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "tree")], stdout=subprocess.PIPE)
    assert parent.stdout is not None and parent.stdout.readline() == b"ready\n"

    deadline = time.monotonic() + 20
    while not running("876543") and time.monotonic() < deadline:
        time.sleep(0.05)
    assert running("876543")
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 20
    while running("876543") and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not running("876543")


def test_wrong_calls_are_refused_before_anything_starts(box: BoxedSandbox, tree: Tree) -> None:
    with pytest.raises(UsageError):
        box.run([], tree=tree(), limits=SMALL)
    with pytest.raises(UsageError):
        box.run(["a\0b"], tree=tree(), limits=SMALL)
    with pytest.raises(NotFound):
        box.run(["true"], tree=Path("/nonexistent"), limits=SMALL)


def test_the_description_names_tier_and_limits_with_units(box: BoxedSandbox) -> None:
    text = box.describe(SMALL)
    assert f"tier {box.tier}" in text
    assert all(part in text for part in ("20 s", "5 s CPU", "256 MiB memory", "32 processes", "32 MiB disk", "64 KiB"))


def test_the_probe_tells_what_each_tier_offers_here(home: Home) -> None:
    result = probe(home)
    assert result.tier == "A"
    assert all(tier.usable and not tier.fix for tier in result.tiers)


def test_a_machine_without_any_sandbox_refuses_and_says_how_to_mend_it(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.computers.bubblewrap.find", lambda _python: None)
    monkeypatch.setattr("appliance.computers.landlock.find", lambda _python, _folder: None)
    with pytest.raises(NoSandbox, match="no usable sandbox") as caught:
        open_sandbox(ComputersSettings(), home)
    assert "apt-get install bubblewrap" in caught.value.hint
    assert probe(home).tier == "C"


def test_a_python_that_does_not_run_is_a_wrong_setting(home: Home) -> None:
    with pytest.raises(ConfigError, match="not a working Python"):
        open_sandbox(ComputersSettings(python="/nonexistent/python"), home)
