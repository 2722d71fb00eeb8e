"""Code that tries to take more than it may, to stay, or to look around, in ways that are easy to overlook."""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from appliance.computers import cgroup
from appliance.computers.landlock import wipe
from appliance.computers.probe import open_sandbox
from appliance.computers.sandbox import BoxedSandbox
from appliance.config import Home
from appliance.errors import NoSandbox
from appliance.ports import Completed, Limits
from appliance.settings import ComputersSettings

pytestmark = pytest.mark.integration
Tree = Callable[..., Path]
SMALL = Limits(seconds=20, cpu_seconds=5, memory_mb=256, processes=32, disk_mb=32, output_kb=64)


def python(box: BoxedSandbox, folder: Path, code: str, limits: Limits = SMALL, **more: object) -> Completed:
    return box.run([box.python, "-c", code], tree=folder, limits=limits, **more)  # type: ignore[arg-type]


FILE = "    fd = os.open('f', os.O_RDWR | os.O_CREAT | os.O_EXCL); os.write(fd, bytes(12 << 20)); "
UNLINKED = f"import os, time\nkept = []\nfor n in range(12):\n{FILE}os.unlink('f'); kept.append(fd)\n"
MAPPED = (
    f"import mmap, os, time\nkept = []\nfor n in range(12):\n{FILE}"
    "kept.append(mmap.mmap(fd, 12 << 20)); os.unlink('f'); os.close(fd)\n"
)
LOCKED = (
    "import os, time\nfor n in range(12):\n"
    "    os.mkdir(f'd{n}'); open(f'd{n}/f', 'wb').write(bytes(12 << 20)); os.chmod(f'd{n}', 0)\n"
)


@pytest.mark.parametrize("code", [UNLINKED, MAPPED, LOCKED], ids=["unlinked", "mapped", "locked"])
def test_files_hidden_from_a_walk_count_as_disk_space(box: BoxedSandbox, tree: Tree, code: str) -> None:
    done = python(box, tree(), code + "time.sleep(15); print('evaded')")
    assert b"evaded" not in done.stdout
    assert done.limit == "disk" or done.exit_code not in (0, None), done


def test_shared_memory_and_temporary_files_are_the_runs_own_and_limited(box: BoxedSandbox, tree: Tree) -> None:
    mark = f"mark-{uuid.uuid4().hex}"
    code = (
        "import os, tempfile\n"
        f"for folder in ('/tmp', '/var/tmp', '/dev/shm', tempfile.gettempdir()):\n"
        f"    try: open(os.path.join(folder, {mark!r}), 'w').write('x')\n"
        "    except OSError: pass\n"
        "print([entry.name for entry in os.scandir(tempfile.gettempdir()) if entry.is_file()])\n"
    )
    assert python(box, tree(), code).stdout == f"[{mark!r}]\n".encode()
    for folder in ("/tmp", "/var/tmp", "/dev/shm"):
        assert not Path(folder, mark).exists()
    fill = "import tempfile\nfor n in range(64): open(f'{tempfile.gettempdir()}/{n}', 'wb').write(bytes(1 << 20))"
    done = python(box, tree(), fill + "\nimport time; time.sleep(15); print('evaded')")
    assert done.limit == "disk" and b"evaded" not in done.stdout


def test_a_command_has_no_privileges_and_can_gain_none(box: BoxedSandbox, tree: Tree) -> None:
    code = (
        "import ctypes\nlibc = ctypes.CDLL(None)\n"
        "header, sets = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)(*[9] * 6)\n"
        "libc.capget(header, sets)\n"
        "bound = sum(libc.prctl(23, n, 0, 0, 0) for n in range(38))\n"
        "print(list(sets), bound, libc.prctl(39, 0, 0, 0, 0), libc.prctl(21, 0, 0, 0, 0))"
    )
    bounding, no_new_privileges, filtered = 0, 1, 2
    wanted = f"{[0] * 6} {bounding} {no_new_privileges} {filtered}\n"
    assert python(box, tree(), code).stdout == wanted.encode()


def test_a_command_is_given_nothing_open_but_its_three_streams(box: BoxedSandbox, tree: Tree) -> None:
    code = (
        "import os\nfound = []\nfor n in range(4096):\n"
        "    try: os.fstat(n); found.append(n)\n    except OSError: pass\nprint(found)"
    )
    assert python(box, tree(), code).stdout == b"[0, 1, 2]\n"


def test_every_kind_of_socket_is_refused_or_leads_nowhere(box: BoxedSandbox, tree: Tree, tmp_path: Path) -> None:
    code = (
        "import socket\n"
        "for family, kind in ((socket.AF_PACKET, socket.SOCK_RAW), (socket.AF_NETLINK, socket.SOCK_RAW),\n"
        "                     (socket.AF_VSOCK, socket.SOCK_STREAM), (socket.AF_ALG, socket.SOCK_SEQPACKET),\n"
        "                     (socket.AF_INET, socket.SOCK_RAW)):\n"
        "    try: socket.socket(family, kind); print('made', family)\n"
        "    except OSError: print('no')\n"
        "try:\n"
        "    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.sendto(b'x', ('192.0.2.1', 53)); print('sent')\n"
        "except OSError: print('no')\n"
    )
    assert python(box, tree(), code).stdout.split() == [b"no"] * 6


def test_abstract_sockets_of_the_host_are_out_of_reach(box: BoxedSandbox, tree: Tree) -> None:
    import socket

    name = f"\0appliance-{uuid.uuid4().hex}"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(name)
        server.listen()
        code = (
            f"import socket\ntry: socket.socket(socket.AF_UNIX).connect({name!r}); print('reached')\n"
            "except OSError: print('no')"
        )
        assert python(box, tree(), code).stdout == b"no\n"


def test_runs_at_once_do_not_see_one_another(box: BoxedSandbox, tree: Tree) -> None:
    folder = tree(a_py="x")
    seen: list[bytes] = []

    def one(number: int) -> None:
        code = (
            f"import os, time; open('mine-{number}', 'w').close(); time.sleep(0.5)\n"
            "print(sorted(n for n in os.listdir('.') if n.startswith('mine')))"
        )
        seen.append(python(box, folder, code).stdout)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seen) == [f"['mine-{number}']\n".encode() for number in range(4)]


def test_a_tree_comes_in_as_it_is_without_pipes_and_devices(box: BoxedSandbox, tree: Tree) -> None:
    folder = tree(a_py="x")
    (folder / "run.sh").write_text("#!/bin/sh\necho ran\n")
    (folder / "run.sh").chmod(0o755)
    (folder / "link").symlink_to("a.py")
    (folder / "away").symlink_to("/etc/shadow")
    (folder / "ünï \n c").write_text("odd")
    os.mkfifo(folder / "pipe")
    code = (
        "import os, subprocess\nprint(sorted(os.listdir('.')), os.readlink('link'), open('ünï \\n c').read())\n"
        "try: open('away').read(); print('read')\nexcept OSError: print('no')\n"
        "print(subprocess.run(['./run.sh'], capture_output=True).stdout)"
    )
    said = python(box, folder, code).stdout.decode().splitlines()
    assert said == [
        f"{sorted(['a.py', 'run.sh', 'link', 'away', 'ünï ' + chr(10) + ' c'])} a.py odd",
        "no",
        r"b'ran\n'",
    ]


def test_a_tree_bigger_than_the_disk_it_may_use_is_said_so(box: BoxedSandbox, tree: Tree) -> None:
    folder = tree()
    for number in range(40):
        (folder / f"{number}.bin").write_bytes(bytes(1 << 20))
    done = python(box, folder, "print('ran')\nimport time; time.sleep(15)")
    assert done.limit == "disk" and done.exit_code is None


def test_how_it_ended_is_told_as_a_shell_tells_it(box: BoxedSandbox, tree: Tree) -> None:
    assert box.run(["/nonexistent"], tree=tree(), limits=SMALL).exit_code == 127
    assert python(box, tree(), "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)").exit_code == 128 + 11


def test_files_written_before_a_limit_still_come_back(box: BoxedSandbox, tree: Tree) -> None:
    code = "import time; open('so-far', 'w').write('half'); time.sleep(60)"
    done = python(box, tree(), code, SMALL.with_(seconds=2), fetch=["so-far"])
    assert (done.limit, done.exit_code, done.files) == ("time", None, {"so-far": b"half"})


def test_nothing_of_a_run_stays_on_the_host(tmp_path: Path, box: BoxedSandbox, tree: Tree) -> None:
    home = Home(tmp_path / "home")
    own = open_sandbox(ComputersSettings(tier=box.tier), home)  # type: ignore[arg-type]
    groups = set(cgroup.find().places.values())
    before = len(list(Path("/proc/self/fd").iterdir()))
    for code in ("import os; os.mkdir('d'); open('d/f', 'w'); os.chmod('d', 0)", "raise SystemExit(1)"):
        python(own, tree(), code)
    with own.open(["/bin/cat"], tree=tree(), limits=SMALL) as session:
        session.send(b"x")
        assert session.receive(10) == b"x"
    assert not home.computers.exists() or list(home.computers.iterdir()) == []
    assert not [left for place in groups for left in place.glob(f"{cgroup.PREFIX}{os.getpid()}-*")]
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert not [child for child in psutil.Process().children() if child.status() == psutil.STATUS_ZOMBIE]


def test_a_locked_folder_is_wiped_too(tmp_path: Path) -> None:
    (tmp_path / "b-x" / "outer" / "inner").mkdir(parents=True)
    (tmp_path / "b-x" / "link").symlink_to(tmp_path / "kept")
    (tmp_path / "kept").mkdir(mode=0o500)
    (tmp_path / "b-x" / "outer" / "inner").chmod(0)
    (tmp_path / "b-x" / "outer").chmod(0)
    wipe(tmp_path / "b-x")
    assert not (tmp_path / "b-x").exists()
    assert (tmp_path / "kept").stat().st_mode & 0o777 == 0o500


def test_the_second_best_sandbox_is_taken_where_the_best_is_missing(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.computers.bubblewrap.find", lambda _python: None)
    assert open_sandbox(ComputersSettings(), home).tier == "B"
    with pytest.raises(NoSandbox, match="tier A is not usable"):
        open_sandbox(ComputersSettings(tier="A"), home)
