"""Repositories on a forge: added once the forge agrees, changed, checked, and forgotten with all their secrets."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from werkzeug.serving import make_server

from appliance.cli.main import main
from appliance.cli.repo_forge import derived
from appliance.config import Home, render
from appliance.errors import UsageError
from appliance.ledger import Ledger, open_ledger
from appliance.news import Delivery
from appliance.settings import ConsoleSettings, Settings
from appliance.work import Outcome, Signal, State, WorkItem
from tests.contracts.conftest import SERVERS
from tests.contracts.forges.gitea import Gitea
from tests.contracts.forges.server import Server, serving
from tests.control.world import Console
from tests.e2e.world import git, remote


@pytest.fixture
def ledger(home: Home) -> Iterator[Ledger]:
    home.settings_file.write_text(render(Settings()))
    (home.secrets / "audit.key").write_bytes(b"k" * 32)
    opened = open_ledger(home)
    yield opened
    opened.close()


@pytest.fixture(params=SERVERS, ids=[server.kind for server in SERVERS])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    with serving(request.param(remote(tmp_path, "shop", {"shop.py": "PRICE = 1\n"}))) as running:
        yield running


@pytest.fixture
def gitea(tmp_path: Path) -> Iterator[Server]:
    with serving(Gitea(remote(tmp_path, "shop", {"shop.py": "PRICE = 1\n"}))) as running:
        yield running


class Terminal:
    """A person at the command line of one home."""

    def __init__(self, home: Home, capsys: pytest.CaptureFixture[str]) -> None:
        self.home, self.capsys = home, capsys
        self.token = home.root.with_name("token.txt")
        self.token.write_text("t0ken\n")

    def say(self, *words: str) -> tuple[int, str, str]:
        status = main(["repo", *words, "--home", str(self.home.root)])
        said = self.capsys.readouterr()
        return status, said.out, said.err

    def add(self, server: Server, *words: str) -> tuple[int, str, str]:
        url = f"{server.url}/{server.path}.git"
        return self.say("add", "shop", "--url", url, "--forge", server.kind, *words)

    def added(self, server: Server) -> None:
        status, _, err = self.add(server, "--api-token-file", str(self.token))
        assert status == 0, err

    def secrets(self) -> set[str]:
        return {file.name for file in self.home.secrets.iterdir()} - {"audit.key"}


@pytest.fixture
def terminal(home: Home, ledger: Ledger, capsys: pytest.CaptureFixture[str]) -> Terminal:
    return Terminal(home, capsys)


def test_a_repository_of_a_forge_is_added_with_what_its_address_says(
    terminal: Terminal, server: Server, ledger: Ledger
) -> None:
    status, out, err = terminal.add(server, "--api-token-file", str(terminal.token), "--label", "box", "--json")
    assert status == 0, err
    shown = json.loads(out)
    assert (shown["forge"], shown["api"], shown["project"]) == (server.kind, server.url, "team/shop")
    assert f"address is taken to be {server.url}" in err and "project is taken to be team/shop" in err
    assert "git uses the API's token too" in err and "t0ken" not in out + err
    tracked = ledger.repository("shop")
    assert (tracked.label, tracked.every_issue, tracked.branch) == ("box", False, "main")
    assert terminal.secrets() == {"forge-shop.token", "git-shop"}
    assert (terminal.home.secrets / "forge-shop.token").stat().st_mode & 0o777 == 0o600
    assert "warn: webhook" in err, "what is owed on the forge's side is said"


@pytest.mark.parametrize(
    ("words", "token", "said"),
    [
        ((), "wr0ng", "nothing was changed"),
        (("--project", "team/other"), "t0ken", "nothing was changed"),
        (("--project", "-x/.."), "t0ken", "no path of a project"),
        (("--api", "git.example"), "t0ken", "no address of a forge"),
        ((), "two words", "alone, on one line"),
        ((), "", "needs a token"),
    ],
)
def test_what_the_forge_does_not_agree_to_changes_nothing_and_says_the_fix(
    terminal: Terminal, gitea: Server, ledger: Ledger, words: tuple[str, ...], token: str, said: str
) -> None:
    terminal.token.write_text(token)
    given = ("--api-token-file", str(terminal.token)) if token else ()
    status, out, err = terminal.add(gitea, *given, *words)
    assert status in (2, 5) and out == "" and said in err and "hint: " in err
    assert ledger.repositories() == [] and terminal.secrets() == set()
    assert list(terminal.home.mirrors.iterdir()) == []


def test_a_plain_server_has_no_api(terminal: Terminal, tmp_path: Path) -> None:
    bare = remote(tmp_path, "plain", {"a.py": ""})
    status, _, err = terminal.say("add", "shop", "--url", bare.as_uri(), "--project", "team/shop")
    assert status == 2 and "no API" in err
    assert terminal.say("add", "shop", "--url", bare.as_uri())[0] == 0
    assert "branches" in terminal.say("show", "shop")[1] or terminal.say("sync", "shop")[0] == 0


def test_settings_are_changed_later_and_a_wrong_one_changes_nothing(
    terminal: Terminal, gitea: Server, ledger: Ledger
) -> None:
    terminal.added(gitea)
    before, kept = ledger.repository("shop"), (terminal.home.secrets / "forge-shop.token").read_bytes()
    wrong = terminal.token.with_name("wrong.txt")
    wrong.write_text("wr0ng")
    for words in (("--api-token-file", str(wrong)), ("--project", "team/other"), ("--branch", "nowhere"), ()):
        status, _, err = terminal.say("set", "shop", *words)
        assert status in (2, 4, 5) and "hint: " in err, words
        assert ledger.repository("shop") == before
        assert (terminal.home.secrets / "forge-shop.token").read_bytes() == kept
    git(gitea.bare, "branch", "next", "main")
    status, out, _ = terminal.say(
        "set", "shop", "--branch", "next", "--label", "", "--every-issue", "--autonomy", "high"
    )
    assert status == 0 and "branch: next" in out
    after = ledger.repository("shop")
    assert (after.branch, after.label, after.every_issue, after.autonomy) == ("next", "", True, "high")
    assert terminal.say("set", "shop", "--forge", "plain")[0] == 0
    assert (ledger.repository("shop").api, terminal.secrets()) == ("", {"git-shop"})


def test_a_new_token_is_git_s_too_where_the_old_one_was(terminal: Terminal, gitea: Server) -> None:
    terminal.added(gitea)
    gitea.tokens["n3w"] = gitea.tokens.pop("t0ken")
    terminal.token.write_text("n3w")
    assert terminal.say("sync", "shop")[0] == 1
    assert terminal.say("set", "shop", "--api-token-file", str(terminal.token))[0] == 0
    assert terminal.say("sync", "shop")[0] == 0 and terminal.say("check", "shop")[0] == 0


def test_remove_asks_first_and_then_forgets_every_secret_and_row(
    terminal: Terminal, gitea: Server, ledger: Ledger
) -> None:
    terminal.added(gitea)
    terminal.say("hook", "shop")
    terminal.say("sync", "shop")
    for name in ("ca-shop.pem", "ssh-shop", "ssh-shop.pub"):
        (terminal.home.secrets / name).write_text("x")
    (terminal.home.secrets / "forge-other.token").write_text("x")
    status, _, err = terminal.say("remove", "shop", "--json")
    assert status == 2 and "--yes" in err and ledger.repository("shop")
    assert terminal.say("remove", "shop", "--yes")[0] == 0
    assert terminal.secrets() == {"forge-other.token"}
    assert ledger.repositories() == [] and ledger.forges.all_health() == {}


def test_list_and_show_tell_how_the_mirror_stands(terminal: Terminal, gitea: Server, ledger: Ledger) -> None:
    terminal.added(gitea)
    assert "not fetched yet" in terminal.say("show", "shop")[1]
    assert terminal.say("sync", "shop")[0] == 0
    (row,) = json.loads(terminal.say("list", "--json")[1])
    assert row["mirror"]["head"] == gitea.head("main") and row["mirror"]["lag_seconds"] >= 0
    assert "fetched 0 s ago" in terminal.say("show", "shop")[1] or "fetched 1 s ago" in terminal.say("show", "shop")[1]
    gitea.stop()
    status, _, err = terminal.say("sync", "shop")
    assert status == 1 and "does not answer" in err
    gitea.start()
    assert main(["status", "--home", str(terminal.home.root)]) == 1
    assert "mirrors: 1, 1 in trouble" in (said := terminal.capsys.readouterr().out) and "shop: fetched" in said
    main(["doctor", "--json", "--home", str(terminal.home.root)])
    (row,) = [row for row in json.loads(terminal.capsys.readouterr().out) if row["name"] == "  shop"]
    assert row["verdict"] == "fail" and "does not answer" in row["found"] and row["fix"]
    shown = terminal.say("show", "shop")[1]
    assert "away: the server does not answer" in shown and "fix: " in shown


def test_show_tells_what_the_box_pushed_since_the_last_fetch_and_what_became_of_items(
    terminal: Terminal, tmp_path: Path, ledger: Ledger, home: Home
) -> None:
    bare = remote(tmp_path, "shop", {"a.py": "A = 1\n"})
    assert terminal.say("add", "shop", "--url", bare.as_uri())[0] == 0
    signal = ledger.receive(Signal(id="", repo="shop", title="it breaks"))
    item = WorkItem(id="", repo="shop", title="it breaks", state=State.CLOSED, stage="learn")
    ledger.open_item(signal.id, Outcome(item=item, reason="opened"))
    tree = bare.with_name("shop-tree")
    git(tree, "commit", "-q", "--allow-empty", "-m", "second")
    git(tree, "push", "-q", str(home.mirrors / "shop.git"), "main")  # as a stage does with what it shipped
    said = terminal.say("show", "shop")[1]
    assert f"head: {git(tree, 'rev-parse', 'HEAD')}\n" in said and "items: 1 closed\n" in said and "api: -\n" in said


def test_a_table_that_goes_into_a_pipe_has_every_cell_whole(terminal: Terminal, tmp_path: Path) -> None:
    bare = remote(tmp_path, "a-name-that-is-rather-long-as-names-of-repositories-go", {"a.py": "A = 1\n"})
    assert terminal.say("add", "shop", "--url", bare.as_uri())[0] == 0
    assert bare.as_uri() in terminal.say("list")[1]


def test_nothing_is_exported_into_a_folder_that_is_not_there(terminal: Terminal, tmp_path: Path) -> None:
    assert terminal.say("add", "shop", "--url", remote(tmp_path, "shop", {"a.py": ""}).as_uri())[0] == 0
    status, _, err = terminal.say("export", "shop", str(tmp_path / "none" / "shop.bundle"))
    assert status == 4 and err == f"error: there is no folder {tmp_path}/none\nhint: is the medium mounted?\n"


def test_check_tells_what_is_there_and_what_is_owed_on_either_side(
    terminal: Terminal, server: Server, ledger: Ledger
) -> None:
    terminal.added(server)
    status, out, err = terminal.say("check", "shop", "--json")
    rows = {row["what"]: row for row in json.loads(out)}
    assert status == 0, rows
    assert {rows[what]["result"] for what in ("git reads", "git writes", "reach", "rights", "branch")} == {"pass"}
    assert rows["webhook"]["result"] == rows["hook secret"]["result"] == rows["hook came"]["result"] == "warn"
    assert f"/hooks/{server.kind}/shop" in rows["webhook"]["fix"] + rows["hook came"]["fix"]
    assert "repo hook shop" in rows["hook secret"]["fix"] and rows["polling"]["result"] == "warn"
    assert "over its API" in err, "each step says that it is under way"
    server.people["factory"] = "read"
    status, out, _ = terminal.say("check", "shop")
    assert status == 5 and "fail" in out and "fix: " in out
    server.stop()
    status, out, _ = terminal.say("check", "shop", "--json")
    assert status == 5 and {row["result"] for row in json.loads(out)} >= {"fail"}
    server.start()


def test_check_knows_a_hook_that_works(terminal: Terminal, gitea: Server, ledger: Ledger) -> None:
    console = Console(terminal.home)
    running = make_server("127.0.0.1", 0, console.app, threaded=True)
    threading.Thread(target=running.serve_forever, args=(0.02,)).start()
    try:
        settings = Settings(console=ConsoleSettings(port=running.server_port))
        terminal.home.settings_file.write_text(render(settings))
        terminal.added(gitea)
        terminal.say("hook", "shop")
        ledger.deliveries.take(Delivery(source="gitea", repo="shop", id="1", event="push"), b"{}")
        rows = {row["what"]: row for row in json.loads(terminal.say("check", "shop", "--json")[1])}
    finally:
        running.shutdown()
        running.server_close()
        console.ledger.close()
    assert {rows[what]["result"] for what in ("hook secret", "hook address", "hook came")} == {"pass"}, rows
    assert "(push)" in rows["hook came"]["found"]


@pytest.mark.parametrize(
    ("kind", "url", "api"),
    [
        ("gitea", "file:///srv/git/shop.git", ""),
        ("gitea", "/srv/git/shop.git", ""),
        ("gitlab", "https://git.example/shop.git", ""),
        ("gitea", "ssh://git@git.example/srv/git/team/shop.git", ""),
    ],
)
def test_an_address_that_does_not_say_which_project_it_is_is_asked_about(kind: str, url: str, api: str) -> None:
    with pytest.raises(UsageError) as refused:
        derived(kind, url, api)
    assert "--project" in refused.value.hint


def test_a_forge_below_a_path_is_found_from_its_address() -> None:
    assert derived("gitlab", "https://git.example/lab/group/shop.git", "https://git.example/lab")[1] == "group/shop"
    assert derived("gitea", "ssh://git@git.example:2222/team/shop.git") == ("https://git.example", "team/shop")
    assert derived("github", "https://bot:word@git.example/team/shop") == ("https://git.example", "team/shop")
