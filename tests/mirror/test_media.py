"""Repositories on media: bundles, patches and receipts across a one-way gap, with what can be wrong with them."""

from __future__ import annotations

import json
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from appliance.cli.main import root
from appliance.config import Home
from appliance.errors import Conflict, FactoryError, NotFound, Unavailable, UsageError, VerificationFailed
from appliance.ledger import open_ledger
from appliance.mirror import bundles, receipts
from appliance.mirror.depot import decide
from appliance.mirror.mirror import Mirror
from appliance.settings import MirrorSettings
from appliance.work import Change, TrackedRepository
from tests.e2e.world import git
from tests.mirror.conftest import Server

SETTINGS = MirrorSettings(timeout_seconds=30)


class Side:
    """One box of the two, and its command line."""

    def __init__(self, folder: Path) -> None:
        self.home = Home(folder)
        for place in self.home.folders:
            place.mkdir(parents=True, exist_ok=True)
        self.home.settings_file.write_text("")
        open_ledger(self.home).close()

    def run(self, *words: str) -> Any:
        """What a command prints with --json. Raises what it raises."""
        done: Result = CliRunner().invoke(root, ["--home", str(self.home.root), "--json", "repo", *words])
        if done.exception is not None:
            raise done.exception
        return json.loads(done.stdout)

    def fails(self, kind: type[FactoryError], *words: str) -> str:
        with pytest.raises(kind) as error:
            self.run(*words)
        return f"{error.value.message} / {error.value.hint}"

    def refs(self, name: str = "shop") -> dict[str, str]:
        bare = self.home.media / f"{name}.git"
        rows = git(bare, "for-each-ref", "--format=%(refname) %(objectname)").splitlines() if bare.exists() else []
        return dict(row.split(" ") for row in rows)

    def commit(self, message: str, branch: str = "main", path: str = "till.py") -> str:
        """What the line does: a commit onto a branch of the depot."""
        mirror = Mirror(self.home, "shop", (self.home.media / "shop.git").as_uri(), "main", SETTINGS)
        clone = mirror.workspace(mirror.sync())
        clone.apply(f"--- /dev/null\n+++ b/{path}\n@@ -0,0 +1 @@\n+{message}\n")
        commit = clone.commit(message, [("Factory-Item", "W-1")])
        clone.push(commit, branch)
        clone.close()
        return commit


@pytest.fixture
def low(tmp_path: Path, server: Server) -> Side:
    """The side that has the server."""
    side = Side(tmp_path / "low")
    mirror = Mirror(side.home, "shop", server.bare.as_uri(), "", SETTINGS)
    mirror.create()
    open_ledger(side.home).add_repository(TrackedRepository(name="shop", url=mirror.url, branch="main"))
    return side


@pytest.fixture
def high(tmp_path: Path) -> Side:
    """The side that has none."""
    return Side(tmp_path / "high")


@pytest.fixture
def carried(low: Side, high: Side, tmp_path: Path) -> Path:
    """The whole repository, exported and imported once."""
    bundle = tmp_path / "shop.bundle"
    low.run("export", "shop", str(bundle))
    high.run("import", str(bundle), "--signer", low.run("signer")["fingerprint"])
    return bundle


def test_a_repository_that_nobody_knew_is_made_and_looked_after(
    low: Side, high: Side, server: Server, carried: Path
) -> None:
    (tracked,) = open_ledger(high.home).repositories()
    assert (tracked.name, tracked.branch, tracked.url) == ("shop", "main", (high.home.media / "shop.git").as_uri())
    head = git(server.bare, "rev-parse", "main")
    mirror = Mirror(high.home, "shop", tracked.url, "main", SETTINGS)
    assert mirror.sync() == head and high.commit("mine") == mirror.sync()
    assert receipts.read(carried.with_name("shop.bundle.receipt")).refs == {"refs/heads/main": head}


def test_a_file_without_a_folder_is_in_the_folder_one_stands_in(
    low: Side, high: Side, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    low.run("export", "shop", "shop.bundle")
    high.run("import", "shop.bundle", "--signer", low.run("signer")["fingerprint"])
    assert {"shop.bundle", "shop.bundle.receipt"} <= {one.name for one in tmp_path.iterdir()}
    assert [one.name for one in open_ledger(high.home).repositories()] == ["shop"]


def test_only_what_is_new_travels_the_second_time(low: Side, high: Side, server: Server, carried: Path) -> None:
    new = server.push("shop.py", "PRICE = 2\n")
    git(server.tree, "push", "-q", "origin", f"{new}~1:refs/heads/old")  # a new branch of a commit that is known
    low.run("sync", "shop")
    second = carried.with_name("second.bundle")
    made = low.run("export", "shop", str(second), "--since", f"{carried}.receipt")
    assert made["needs"] == [git(server.bare, "rev-parse", f"{new}~1")]
    high.run("import", str(second))
    assert high.refs() == {"refs/heads/main": new, "refs/heads/old": f"{made['needs'][0]}"}
    assert "nothing new" in low.fails(NotFound, "export", "shop", f"{carried}.3", "--since", f"{second}.receipt")
    assert high.run("import", str(second))["moved"] == {}


def test_the_answer_of_the_other_side_says_what_need_not_travel_again(low: Side, high: Side, carried: Path) -> None:
    high.commit("mine")
    answer = high.run("import", str(carried))["receipt"]
    assert receipts.read(Path(answer)).kind == "taken"
    low.fails(NotFound, "export", "shop", str(carried.with_name("x")), "--since", answer)
    back = carried.with_name("back.bundle")
    high.run("export", "shop", str(back), "--since", f"{carried}.receipt")
    assert set(bundles.header(back).heads) == {"refs/heads/main"}


def test_what_builds_on_something_that_is_not_here_changes_nothing(
    low: Side, high: Side, server: Server, carried: Path, tmp_path: Path
) -> None:
    server.push("shop.py", "PRICE = 2\n")
    low.run("sync", "shop")
    second = tmp_path / "second.bundle"
    low.run("export", "shop", str(second))
    server.push("shop.py", "PRICE = 3\n")
    low.run("sync", "shop")
    third, before = tmp_path / "third.bundle", high.refs()
    low.run("export", "shop", str(third), "--since", f"{second}.receipt")
    assert "not here" in high.fails(VerificationFailed, "import", str(third))
    assert high.refs() == before
    other = Side(tmp_path / "other")
    other.fails(VerificationFailed, "import", str(third), "--unsigned", "--name", "shop")
    assert open_ledger(other.home).repositories() == [] and not (other.home.media / "shop.git").exists()
    high.run("import", str(second))
    high.run("import", str(third))


def test_a_file_that_was_cut_off_or_changed_is_refused_before_anything_moves(
    low: Side, high: Side, carried: Path, tmp_path: Path
) -> None:
    whole, before = carried.read_bytes(), high.refs()
    spoiled = bytearray(whole)
    spoiled[-40] ^= 1
    for number, content in enumerate((whole[: len(whole) // 2], whole[:30], bytes(spoiled), b"", b"hello\n" * 100)):
        file = tmp_path / f"bad-{number}.bundle"
        file.write_bytes(content)
        high.fails(VerificationFailed, "import", str(file), "--receipt", f"{carried}.receipt")
        high.fails(VerificationFailed, "import", str(file), "--unsigned", "--name", "shop")
        Side(tmp_path / "empty").fails(VerificationFailed, "import", str(file), "--unsigned", "--name", "shop")
    assert high.refs() == before


def test_only_a_receipt_of_whom_somebody_vouched_for_counts(
    low: Side, high: Side, carried: Path, tmp_path: Path
) -> None:
    stranger = Side(tmp_path / "stranger")
    said = stranger.fails(VerificationFailed, "import", str(carried))
    assert low.run("signer")["fingerprint"] in said and "nobody vouches" in said
    stranger.fails(VerificationFailed, "import", str(carried), "--signer", "SHA256:another")
    assert open_ledger(stranger.home).repositories() == []
    high.run("import", str(carried))  # the key was pinned
    receipt = receipts.read(Path(f"{carried}.receipt"))
    forged = receipts.signed(receipt, stranger.home.secrets)
    Path(f"{carried}.receipt").write_text(forged.model_dump_json())
    assert "as before" in high.fails(VerificationFailed, "import", str(carried))
    Path(f"{carried}.receipt").write_text(receipt.with_(repository="till").model_dump_json())
    assert "signature" in high.fails(VerificationFailed, "import", str(carried))
    answer = high.run("import", str(carried), "--unsigned", "--name", "shop")["receipt"]
    assert "answer" in high.fails(VerificationFailed, "import", str(carried), "--receipt", answer)
    for text in ("{}", "[", "x" * 100):
        Path(f"{carried}.receipt").write_text(text)
        high.fails(VerificationFailed, "import", str(carried))
    Path(f"{carried}.receipt").unlink()
    assert "--unsigned" in high.fails(NotFound, "import", str(carried))
    high.fails(UsageError, "import", str(carried), "--unsigned")


@pytest.mark.parametrize(
    "name",
    ["refs/heads/../../x", "refs/heads/-upload", "refs/factory/x", "refs/heads/a b", "refs/heads/HEAD", "config",
     "refs/heads/a.lock", "refs/tags/~", "refs/heads/\udcff"],
)  # fmt: skip
def test_hostile_names_in_a_bundle_are_refused_whole(high: Side, carried: Path, tmp_path: Path, name: str) -> None:
    file, before = tmp_path / "hostile.bundle", high.refs()
    line = f"{next(iter(before.values()))} {name}\n".encode("utf-8", "surrogateescape")
    first, rest = carried.read_bytes().split(b"\n", 1)
    file.write_bytes(first + b"\n" + line + rest)
    assert "refused" in high.fails(VerificationFailed, "import", str(file), "--unsigned", "--name", "shop")
    assert high.refs() == before


@given(content=st.binary(max_size=300), lines=st.lists(st.binary(max_size=60), max_size=5))
def test_whatever_a_file_holds_its_header_is_read_or_refused(content: bytes, lines: list[bytes]) -> None:
    with tempfile.NamedTemporaryFile() as file:
        for text in (content, b"# v2 git bundle\n" + b"\n".join(lines) + content):
            file.seek(0)
            file.truncate()
            file.write(text)
            file.flush()
            with suppress(VerificationFailed):
                for name in bundles.header(Path(file.name)).heads:
                    assert name.startswith(("refs/heads/", "refs/tags/")) and ".." not in name and "\n" not in name


def test_what_a_killed_import_left_is_swept_away(high: Side, carried: Path) -> None:
    left = high.home.media / ".shop.abcd1234"
    left.mkdir()
    bare, head = high.home.media / "shop.git", high.refs()["refs/heads/main"]
    git(bare, "update-ref", "refs/incoming/heads/main", head)
    high.run("import", str(carried))
    assert not left.exists() and high.refs() == {"refs/heads/main": head}


def test_what_the_box_put_on_a_branch_stays_and_what_parted_is_a_conflict(
    low: Side, high: Side, server: Server, carried: Path
) -> None:
    mine = high.commit("mine")
    high.run("import", str(carried))  # the box is ahead of the medium: that is no conflict
    assert high.refs()["refs/heads/main"] == mine
    theirs = server.push("shop.py", "PRICE = 2\n")
    low.run("sync", "shop")
    second = carried.with_name("second.bundle")
    low.run("export", "shop", str(second), "--since", f"{carried}.receipt")
    assert "refs/heads/main" in high.fails(Conflict, "import", str(second))
    assert high.refs() == {"refs/heads/main": mine}
    high.run("import", str(second), "--force")
    assert high.refs() == {"refs/heads/main": theirs, f"refs/heads/aside/{mine[:12]}/main": mine}


def test_a_tag_moves_by_force_alone() -> None:
    def holds(old: str, new: str) -> bool:
        return True

    with pytest.raises(Conflict):
        decide({"refs/tags/v1": "1"}, {"refs/tags/v1": "2"}, holds, force=False)
    moved = decide({"refs/tags/v1": "1"}, {"refs/tags/v1": "2"}, holds, force=True)
    assert moved == {"refs/tags/v1": ("1", "2"), "refs/tags/aside/1/v1": ("", "1")}


def test_a_repository_with_a_server_takes_no_bundle_and_nothing_is_written_over(
    low: Side, high: Side, carried: Path
) -> None:
    assert "comes from its server" in low.fails(NotFound, "import", str(carried))
    low.fails(Conflict, "export", "shop", str(carried))
    low.fails(NotFound, "export", "till", f"{carried}.2")


def test_a_medium_that_is_full_or_gone_is_told_and_keeps_no_half(low: Side, server: Server, tmp_path: Path) -> None:
    base = server.push("shop.py", "PRICE = 2\n")
    server.push("shop.py", "PRICE = 3\n")
    low.run("sync", "shop")
    gone = str(tmp_path / "gone" / "file")
    low.fails(FactoryError, "export", "shop", gone)
    low.fails(NotFound, "export", "shop", gone, "--range", f"{base}..main")
    kept = tmp_path / "kept"
    kept.with_name("kept.receipt").symlink_to("/dev/full")
    low.fails(Unavailable, "export", "shop", str(kept))
    assert not kept.exists()


def test_patches_of_a_range_become_a_branch_with_their_authors_and_the_same_commits(
    low: Side, high: Side, server: Server, carried: Path
) -> None:
    base = git(server.bare, "rev-parse", "main")
    server.push("shop.py", "PRICE = 2\n", "first of two")
    tip = server.push("shop.py", "PRICE = 3\n", "second of two")
    low.run("sync", "shop")
    mails = carried.with_name("two.mbox")
    made = low.run("export", "shop", str(mails), "--range", f"{base[:12]}..main")
    assert made["kind"] == "patches" and made["needs"] == [base]
    taken = high.run("import", str(mails), "--branch", "incoming/two")
    (commit,) = [one["to"] for one in taken["moved"].values()]
    assert high.refs() == {"refs/heads/main": base, "refs/heads/incoming/two": commit}
    bare = high.home.media / "shop.git"
    told = git(bare, "log", "-2", "--format=%an %s", commit)
    assert told == "Tester second of two\nTester first of two"
    assert git(bare, "rev-parse", f"{commit}^{{tree}}") == git(server.bare, "rev-parse", f"{tip}^{{tree}}")
    assert (
        high.run("import", str(mails), "--branch", "incoming/two")["moved"]["refs/heads/incoming/two"]["to"] == commit
    )
    plain = server.tree.parent / "plain"
    git(server.tree, "clone", "-q", str(server.bare), str(plain))
    git(plain, "checkout", "-q", base)
    git(plain, "am", "-q", str(mails))
    assert git(plain, "rev-parse", "HEAD^{tree}") == git(bare, "rev-parse", f"{commit}^{{tree}}")


def test_patches_that_do_not_fit_or_leave_the_tree_change_nothing(high: Side, carried: Path, server: Server) -> None:
    base, before = git(server.bare, "rev-parse", "main"), high.refs()
    mail = (
        f"From {base} Mon Sep 17 00:00:00 2001\nFrom: Eve <eve@localhost>\nDate: Thu, 1 Jan 2026 00:00:00 +0000\n"
        "Subject: [PATCH] x\n\n---\n{diff}\n"
    )
    for diff in (
        "--- a/shop.py\n+++ b/shop.py\n@@ -1 +1 @@\n-PRICE = 7\n+PRICE = 8\n",
        "--- /dev/null\n+++ b/../out.py\n@@ -0,0 +1 @@\n+x\n",
        "--- /dev/null\n+++ b/.git/hooks/post-commit\n@@ -0,0 +1 @@\n+x\n",
        "diff --git a/l b/l\nnew file mode 120000\n--- /dev/null\n+++ b/l\n@@ -0,0 +1 @@\n+/etc/passwd\n",
    ):
        file = carried.with_name("bad.mbox")
        file.write_text(mail.replace("{diff}", diff))
        high.fails(VerificationFailed, "import", str(file), "--unsigned", "--name", "shop")
    assert high.refs() == before and not (high.home.root / "out.py").exists()
    high.fails(NotFound, "import", str(file), "--unsigned", "--name", "till")


def test_the_change_of_an_item_goes_out_as_a_patch_even_when_it_was_never_pushed(
    low: Side, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = git(server.bare, "rev-parse", "main")
    diff = "--- a/shop.py\n+++ b/shop.py\n@@ -1 +1 @@\n-PRICE = 1\n+PRICE = 2\n"
    from appliance.ledger import Ledger
    from appliance.work import WorkItem

    item = WorkItem(
        id="W-1", repo="shop", title="Mend", change=Change(branch="x", base=base, diff=diff, message="Mend")
    )
    monkeypatch.setattr(Ledger, "item", lambda self, id: item)
    for number in range(2):
        low.run("export", "shop", str(tmp_path / f"{number}.mbox"), "--item", "W-1")
    first, second = ((tmp_path / f"{number}.mbox").read_text() for number in range(2))
    assert first == second and "Factory-Item: W-1" in first and f"base-commit: {base}" in first


def test_removing_a_repository_from_media_removes_what_came(high: Side, carried: Path) -> None:
    high.run("remove", "shop", "--yes")
    assert not (high.home.media / "shop.git").exists() and not (high.home.secrets / "signer-shop.pub").exists()
