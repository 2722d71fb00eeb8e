"""How the box speaks with any forge: refusals in words, pages to their end, and a token that stays at home."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from werkzeug.serving import make_server
from werkzeug.wrappers import Request, Response

from appliance.config import Home
from appliance.errors import Conflict, FactoryError, NotFound, PolicyRefused, Unavailable, VerificationFailed
from appliance.mirror.forges import adapter
from appliance.mirror.forges.client import Client
from appliance.settings import MirrorSettings
from appliance.work import Origin, TrackedRepository

TOKEN = "s3cr3t-t0ken"


class Scripted:
    """Answers each path with what was laid down for it."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, str, dict[str, str]]] = {}
        self.url = ""
        self.asked: list[str] = []

    def __call__(self, environ: dict[str, object], start: object) -> object:
        request = Request(environ)  # type: ignore[arg-type]
        self.asked.append(request.full_path.rstrip("?"))
        code, body, headers = self.answers.get(self.asked[-1], (404, "{}", {}))
        return Response(body, code, headers, mimetype="application/json")(environ, start)  # type: ignore[arg-type]


@pytest.fixture
def server() -> Iterator[Scripted]:
    scripted = Scripted()
    running = make_server("127.0.0.1", 0, scripted, threaded=True)  # type: ignore[arg-type]
    scripted.url = f"http://127.0.0.1:{running.server_port}"
    thread = threading.Thread(target=running.serve_forever, args=(0.02,))
    thread.start()
    yield scripted
    running.shutdown()
    thread.join()
    running.server_close()


@pytest.fixture
def client(server: Scripted, tmp_path: Path) -> Client:
    return Client(f"{server.url}/api/v1", {"Authorization": f"token {TOKEN}"}, tmp_path / "none.pem", 10)


@pytest.mark.parametrize(
    ("code", "headers", "kind", "word"),
    [
        (401, {}, PolicyRefused, "token"),
        (403, {}, PolicyRefused, "repo check"),
        (403, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1"}, Unavailable, "1 s"),
        (403, {"Retry-After": "30"}, Unavailable, "30 s"),
        (429, {}, Unavailable, "60 s"),
        (429, {"RateLimit-Remaining": "0", "RateLimit-Reset": "1"}, Unavailable, "1 s"),
        (404, {}, NotFound, "project"),
        (405, {}, PolicyRefused, "by hand"),
        (409, {}, Conflict, "again"),
        (422, {}, FactoryError, "settings"),
        (500, {}, Unavailable, "later"),
        (302, {"Location": "http://elsewhere.example/"}, Unavailable, "address"),
    ],
)
def test_every_refusal_has_its_kind_and_its_remedy(
    server: Scripted, client: Client, code: int, headers: dict[str, str], kind: type[FactoryError], word: str
) -> None:
    server.answers["/api/v1/x"] = (code, '{"message": "it\\u0000 said"}', headers)
    with pytest.raises(kind) as error:
        client.get("/x")
    assert type(error.value) is kind and word in error.value.hint
    assert TOKEN not in str(error.value.as_dict()) and "\0" not in error.value.message


def test_a_redirect_is_never_followed(server: Scripted, client: Client) -> None:
    server.answers["/api/v1/x"] = (302, "", {"Location": f"{server.url}/api/v1/y"})
    with pytest.raises(Unavailable):
        client.get("/x")
    assert server.asked == ["/api/v1/x"]


def test_a_list_is_read_to_its_end_on_this_host_whatever_host_its_links_name(server: Scripted, client: Client) -> None:
    follow = '<http://inner.example/api/v1/x?page=2>; rel="next"'
    server.answers["/api/v1/x?state=all"] = (200, "[1, 2]", {"Link": follow})
    server.answers["/api/v1/x?page=2"] = (200, "[3]", {})
    assert client.pages("/x", state="all") == [1, 2, 3]


def test_a_list_that_leads_off_the_api_or_round_in_circles_is_no_list(server: Scripted, client: Client) -> None:
    server.answers["/api/v1/x"] = (200, "[1]", {"Link": '</login?page=2>; rel="next"'})
    server.answers["/api/v1/y"] = (200, "[1]", {"Link": '</api/v1/y>; rel="next"'})
    for path in ("/x", "/y"):
        with pytest.raises(Unavailable):
            client.pages(path)


def test_a_page_for_people_is_not_taken_for_an_api(server: Scripted, client: Client) -> None:
    server.answers["/api/v1/x"] = (200, "<html>Sign in</html>", {})
    with pytest.raises(Unavailable, match="API"):
        client.get("/x")


@pytest.mark.parametrize("content", ["", "two words", "a\nb", f"{TOKEN}é"])
def test_a_file_that_holds_no_token_is_refused_without_showing_it(home: Home, content: str) -> None:
    tracked = TrackedRepository(name="shop", url="/srv/x", branch="main", forge="gitea", api="http://git.example")
    with pytest.raises(NotFound):
        adapter(home, tracked, MirrorSettings())
    (home.secrets / "forge-shop.token").write_text(content)
    with pytest.raises(VerificationFailed) as error:
        adapter(home, tracked, MirrorSettings())
    assert TOKEN not in str(error.value.as_dict())


def test_a_number_from_outside_cannot_name_another_path(home: Home, server: Scripted) -> None:
    (home.secrets / "forge-shop.token").write_text(TOKEN)
    tracked = TrackedRepository(
        name="shop", url="/srv/x", branch="main", forge="gitea", api=server.url, project="team/shop"
    )
    for number in ("../../other/repo/issues/1", "1?x=y", "", "１"):
        with pytest.raises(NotFound):
            adapter(home, tracked, MirrorSettings()).close(Origin(number=number))
    assert server.asked == []
