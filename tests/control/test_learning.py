"""What the box learned, on pages and for programs: figures, frictions, replays, the learned policy, SQL."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
from nanoarrow import ArrayStream

from appliance.learning.queries import QUERIES
from control.questions import EXAMPLES, question
from control.shares import by_week, share
from tests.control.learned import learning, live, publish
from tests.control.world import Console, Site

WORDS = "\"'><script>alert(1)</script>{{7*7}}</textarea>"
PAGES = (
    "/learning",
    "/learning/report",
    "/learning/policy",
    "/learning/frictions",
    "/learning/replays",
    "/learning/query",
    "/lessons",
)


@pytest.fixture
def full(console: Console, site: Site) -> Iterator[Console]:
    """A console with a history and the store's process."""
    assert site.live
    live(console.ledger)
    with learning(console.home):
        yield console


def test_figures_are_told_as_shares_with_their_question(full: Console) -> None:
    page = full.browser().get("/learning").text
    assert "Without a person" in page and "too few to say a share" in page and 'class="share"' in page
    assert "What attempts at repairs took" in page and "question=costs" in page
    assert "From the question <code>autonomy</code>" in page and "question=review_precision" in page
    by_week = full.browser().get("/learning?by=week&repo=shop&days=7").text
    assert "2026-W" in by_week or "-W" in by_week
    assert full.browser().get("/learning?by=moon").status_code == 400
    assert full.browser().get("/learning?days=-1").status_code == 400


def test_the_report_is_that_of_the_command_line_on_a_page_and_for_programs(full: Console) -> None:
    full.home.settings_file.write_text("")
    full.home.routes_file.write_text(
        '[[rule]]\nname = "code repair"\nwhen.task = ["repair"]\ncandidates = ["search"]\nlearning = "apply"\n'
    )
    told = full.program("GET", "/api/v1/learning/report").get_json()
    assert "words" in told, told
    assert told["words"][0] == "rules decide alone: no policy is in use" and told["policy"] == 0
    assert told["rules"][0]["rule"] == "code repair" and told["lessons"]["lessons"] == 0
    [cost] = told["costs"]
    assert cost["group"] == "code repair" and cost["attempts"] > 0
    assert any(
        line.startswith(f"rule code repair: {cost['attempts']} attempts took 0 tokens") for line in told["words"]
    )
    page = full.browser().get("/learning/report").text
    assert "What was learned, and what it saves" in page and "question=costs" in page
    assert all(line in page for line in told["words"])


def test_frictions_name_their_items_and_evidence_and_replays_their_intervals(full: Console) -> None:
    page = full.browser().get("/learning/frictions").text
    assert 'href="/items/W-102"' in page and "event 12" in page and "not filed" in page
    assert 'href="/items/W-102/trajectory/trajectory-ab12.json#step-7"' in page
    page = full.browser().get("/learning/replays").text
    assert (
        "8 of 12; 39 to 86\u00a0%" in page and "no difference can be shown" in page and "appliance learn replay" in page
    )
    assert "M-3" in full.browser().get("/learning/replays?repo=shop&run=1").text


def test_pages_say_calmly_that_the_learning_process_is_away(console: Console, site: Site) -> None:
    assert site.live
    console.home.settings_file.write_text("")
    for path in PAGES:
        answer = console.browser().get(path)
        assert answer.status_code == 200, path
    assert "not there just now" in console.browser().get("/learning").text
    answer = console.browser().post("/learning/query", sql="SELECT 1 AS mine")
    assert answer.status_code == 503 and "appliance up" in answer.text and "SELECT 1 AS mine" in answer.text
    refused = console.program("GET", "/api/v1/learning/figures")
    assert refused.status_code == 503 and refused.get_json()["error"]["code"] == "unavailable"


def test_the_question_that_a_page_shows_has_the_very_rows_of_the_figure(full: Console) -> None:
    client = full.program("GET", "/api/v1/learning/questions/autonomy?by=week&repo=shop").get_json()
    asked = full.program("POST", "/api/v1/learning/query", json={"sql": client["sql"]}).get_json()
    assert [dict(zip(asked["columns"], row, strict=True)) for row in asked["rows"]] == client["rows"] != []
    assert "'o''clock'" in question("autonomy", repo="o'clock").sql
    for name in QUERIES:
        sent = {"sql": question(name).sql}
        assert full.program("POST", "/api/v1/learning/query", json=sent).status_code == 200, name


def test_every_example_can_be_asked(full: Console) -> None:
    browser = full.browser()
    for name, sql in EXAMPLES.items():
        assert sql.partition("\n")[0] in browser.get("/learning/query", query_string={"example": name}).text.replace(
            "&gt;", ">"
        )
        assert browser.post("/learning/query", sql=sql).status_code == 200, name


def test_a_select_is_answered_as_table_and_file_and_anything_else_refused_with_a_hint(full: Console) -> None:
    browser = full.browser()
    page = browser.post(
        "/learning/query", sql="SELECT '<b>' || state AS s, NULL AS n, [1] AS l FROM items LIMIT 3"
    ).text
    assert "3 rows" in page and "&lt;b&gt;" in page and "<b>" not in page and "NULL" in page
    file = browser.post("/learning/query/csv", sql="SELECT '=1+1' AS a, -1.5 AS b, '-2' AS c, 'x,y' AS d")
    assert file.text == 'a,b,c,d\r\n\'=1+1,-1.5,-2,"x,y"\r\n' and "attachment" in file.headers["Content-Disposition"]
    assert "and more rows" in browser.post("/learning/query", sql="SELECT * FROM range(1000)").text
    for sql, said in (
        ("DELETE FROM items", "no SELECT"),
        ("SELECT * FROM read_csv('/etc/passwd')", "cannot be asked from"),
        ("SELECT nothing FROM items", "nothing"),
        ("SELECT 1; SELECT 2", "at once"),
    ):
        answer = browser.post("/learning/query", sql=sql)
        assert answer.status_code == 400 and said in answer.text and 'id="problem"' in answer.text, sql
    assert browser.post("/learning/query/csv", sql="DROP TABLE items").status_code == 400
    sent = {"sql": "SELECT item FROM items ORDER BY item", "limit": 2, "format": "arrow"}
    stream = full.program("POST", "/api/v1/learning/query", json=sent)
    assert (stream.mimetype, stream.headers["x-more-rows"]) == ("application/vnd.apache.arrow.stream", "true")
    rows = full.program("POST", "/api/v1/learning/query", json={**sent, "format": "json"}).get_json()["rows"]
    assert [list(row.values()) for row in ArrayStream.from_readable(stream.data).read_all().to_pylist()] == rows
    numbers = full.program("POST", "/api/v1/learning/query", json={"sql": "SELECT 'nan'::DOUBLE AS x"})
    assert numbers.get_json()["rows"] == [["nan"]] and "NaN" not in numbers.text


def test_what_a_program_cannot_have_is_refused(full: Console) -> None:
    refused: tuple[tuple[str, str, dict[str, object] | None, int], ...] = (
        ("POST", "/query", {"sql": ""}, 400),
        ("POST", "/query", {"sql": "SELECT 1", "limit": 0}, 400),
        ("POST", "/query", {"sql": "DROP TABLE items"}, 400),
        ("GET", "/questions/nothing", None, 404),
        ("GET", "/questions/outcomes?days=soon", None, 400),
        ("GET", "/frictions?limit=0", None, 400),
        ("GET", "/policy/7", None, 404),
        ("POST", "/policy/7/promote", None, 404),
        ("POST", "/policy/roll-back", {"version": 0}, 409),
    )
    for method, path, sent, status in refused:
        answer = full.program(method, f"/api/v1/learning{path}", json=sent)
        assert answer.status_code == status and answer.get_json()["error"]["message"], (path, answer.text)


def test_a_policy_is_told_in_words_promoted_and_taken_back_by_name(console: Console) -> None:
    policies = publish(console.home, console.ledger)
    browser = console.browser()
    page = browser.get("/learning/policy").text
    assert (
        "holds 93\u00a0% instead of 95\u00a0%; takes 2.5 s instead of 21 s" in page
        and "appliance learn promote 2" in page
    )
    assert browser.get("/learning/policy/2/promote").status_code == 200 and policies.current() == 1, (
        "asking does nothing"
    )
    assert browser.post("/learning/policy/2/promote").status_code == 303 and policies.current() == 2
    assert browser.post("/learning/policy/2/promote").status_code == 409
    assert browser.post("/learning/policy/roll-back", version="1", why="x").status_code == 409, "another one is in use"
    assert browser.post("/learning/policy/roll-back", version="2", why="it is slow").status_code == 303
    assert policies.current() == 1
    told = console.program("GET", "/api/v1/learning/policy").get_json()
    assert told["current"] == 1 and told["versions"][0]["steps"][-1]["why"] == "it is slow"
    assert (told["versions"][0]["steps"][-1]["by"], told["versions"][0]["steps"][-1]["to"]) == ("console", 1)
    sent = {"version": 1, "why": "enough"}
    assert console.program("POST", "/api/v1/learning/policy/roll-back", json=sent).get_json() == {"current": 0}
    newest = console.program("GET", "/api/v1/learning/policy?limit=1").get_json()["versions"]
    assert [one["number"] for one in newest] == [2]
    assert "rules decide alone" in browser.get("/learning/policy").text
    assert browser.get("/learning/policy/roll-back").status_code == 409


def test_a_policy_of_another_format_or_a_broken_file_is_shown_as_far_as_it_goes(console: Console) -> None:
    policies = publish(console.home, console.ledger)
    folder = console.home.policy / "versions"
    (folder / "2.json").write_text("no JSON")
    (folder / "3.json").write_text(
        '{"policy": {"format": 2, "version": 3, "predictors": [{"rule": "r",'
        ' "quality": {"models": ["small", "big"], "evidence": 9}}]},'
        ' "prospects": [{"rule": "r", "why": "+0.1"}, {"rule": "z", "why": "INCONCLUSIVE: <few>", "tries": "?"}, 7],'
        ' "evaluation": {"rules": [{"rule": "r", "candidates": [{"candidate": "c", "quality": "?"}], "trust": 0.5},'
        ' {"rule": "q", "changes": true, "order": ["b"], "offpolicy": {"conclusive": false, "why": "<INCONCLUSIVE>"}}],'
        ' "replayed": {"tasks": 20}}}'
    )
    (folder / "4.json").write_text('["not", "a policy"]')
    assert policies.versions() == [1, 2, 3, 4]
    page = console.browser().get("/learning/policy").text
    assert page.count("its file cannot be read") == 2 and "&lt;INCONCLUSIVE&gt;" in page
    assert all(word in page for word in ("not shown on the log", "trust", "replayed", "9 outcomes", "small, big"))
    assert "Rule z: what reports mean does not decide: INCONCLUSIVE: &lt;few&gt;" in page


def test_nothing_that_comes_from_outside_is_markup_on_these_pages(console: Console) -> None:
    live(console.ledger, WORDS)
    publish(console.home, console.ledger, WORDS)
    browser = console.browser()
    with learning(console.home):
        pages = [browser.get(path).text for path in PAGES]
        pages.append(browser.get("/learning/policy/2/promote").text)
        pages.append(browser.get("/learning/replays", query_string={"repo": WORDS, "run": "1"}).text)
        pages.append(browser.post("/learning/query", sql="SELECT DISTINCT subject FROM events").text)
        pages.append(browser.post("/learning/query", sql=f"SELECT {WORDS}").text)
        pages.append(browser.post("/lessons", text=WORDS, repo=WORDS).text)
    shown = [page for page in pages if "alert(1)" in page]
    assert len(shown) >= 7
    for page in pages:
        assert "<script>alert" not in page and "{{7*7}}</textarea>" not in page


@pytest.mark.parametrize(
    "path", ["/learning/policy/1/promote", "/learning/policy/roll-back", "/learning/query", "/lessons"]
)
def test_a_form_without_the_sessions_token_does_nothing(console: Console, path: str) -> None:
    policies = publish(console.home, console.ledger)
    assert (
        console.browser().client.post(path, data={"version": "1", "text": "mine", "sql": "SELECT 1"}).status_code == 403
    )
    assert console.stranger().post(path).status_code in (303, 401, 403)
    assert policies.current() == 1 and console.ledger.lessons.all() == []


def test_a_person_writes_down_a_lesson_and_its_life_is_told(console: Console, site: Site) -> None:
    assert site.live
    browser = console.browser()
    assert browser.post("/lessons", text="rates are cents", repo="shop").headers["Location"] == "/lessons/L-1"
    again = browser.post("/lessons", text="rates are cents", repo="shop")
    assert again.status_code == 409 and "L-1 says that already" in again.text
    assert browser.post("/lessons", text=" ").status_code == 400
    browser.post("/lessons/L-1/edit", text="rates are whole cents", repo="shop")
    browser.post("/lessons/L-1/retire", why="gone")
    page = browser.get("/lessons/L-1").text
    assert (
        page.index("Retired") < page.index("Edited") and "was confirmed" in page and "“rates are whole cents”" in page
    )
    told = console.program("GET", "/api/v1/lessons/L-1").get_json()["history"]
    assert [(step["what"], step["by"]) for step in told] == [
        ("retired", "person:console"), ("edited", "person:console"), ("confirmed", "person:console"),
    ]  # fmt: skip


def test_shares_and_weeks_say_no_more_than_there_is() -> None:
    assert share(0, 0).in_words() == "–" and share(2, 3).beside() == "too few to say a share"
    assert 0 <= share(0, 50).low <= share(0, 50).high < 0.1
    rows = [
        {"group": f"2025-W{n + 1:02}", "shipped": n, "alone": n // 2, "reverted": 0, "median_seconds": None}
        for n in range(52)
    ]
    drawn = by_week(rows)
    assert drawn.counts[-1] == (1766361600, "2025-W52", (51, 25, 0)) and drawn.hours[-1][2] == (None,)
    assert len(by_week([*rows, *rows]).counts) == 53 and by_week([]).counts == []


def test_the_console_loads_no_duckdb() -> None:
    said = "import sys, control.server, control.app; sys.exit('duckdb' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", said], check=False).returncode == 0


def test_a_command_to_copy_quotes_what_the_address_says(full: Console) -> None:
    page = full.browser().get("/learning/replays", query_string={"repo": "x; rm -rf ~"}).text
    assert "--repo &#39;x; rm -rf ~&#39;" in page
