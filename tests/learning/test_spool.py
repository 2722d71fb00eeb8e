"""Calls of the gateway: from lines of its spool to rows, each once."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.config import Home
from appliance.learning import opening, spool
from appliance.learning.service import Learning, rebuild_stopped
from appliance.learning.spool import chunk_at
from appliance.learning.store import Store
from appliance.ledger import open_ledger
from appliance.settings import Settings
from appliance.work import utcnow
from tests.learning.world import calls, spooled, tell, with_repositories


@pytest.fixture
def learning(home: Home) -> Iterator[Learning]:
    opened = Learning(home, Settings())
    yield opened
    opened.close()


def rows(learning: Learning, sql: str) -> list[dict[str, Any]]:
    return learning._store.ask(sql, {}, 5)


def test_a_call_is_a_row_and_the_routers_choice_another(home: Home, learning: Learning) -> None:
    lines = calls(range(1, 41))
    spooled(home, lines)
    learning.catch_up()
    found = {row["call"]: row for row in rows(learning, "SELECT * FROM model_calls")}
    assert len(found) == 40
    for line in lines:
        row = found[line["id"]]
        for name in ("task", "stage", "repo", "item", "episode", "model", "digest", "rule", "prompt_tokens",
                     "completion_tokens", "seconds", "status", "error", "prompt_digest", "attempts"):  # fmt: skip
            assert row[name] == line[name], name
        assert row["happened"].isoformat(timespec="milliseconds") + "+00:00" == line["at"]
    chosen = {row["call"]: row for row in rows(learning, "SELECT * FROM decisions")}
    routed = [line for line in lines if line["rule"] != "the caller"]
    assert set(chosen) == {line["id"] for line in routed} and routed
    one = chosen[routed[0]["id"]]
    assert (one["candidates"], one["chosen"]) == (routed[0]["candidates"], routed[0]["candidates"][0])
    assert (one["source"], one["propensity"], one["policy_version"], one["explored"]) == ("gateway", 0.9, 3, False)
    assert json.loads(one["objective"]) == routed[0]["objective"] and one["language"] == "python"


def test_lines_of_an_older_gateway_leave_open_what_they_do_not_say(home: Home, learning: Learning) -> None:
    spooled(home, [{"at": "2026-11-26T10:00:00.000+00:00", "id": "old", "rule": "r", "model": "m"}])
    learning.catch_up()
    (call,) = rows(learning, "SELECT * FROM model_calls")
    assert (call["task"], call["prompt_tokens"], call["seconds"], call["status"]) == ("", 0, None, None)
    (choice,) = rows(learning, "SELECT * FROM decisions")
    assert (choice["chosen"], choice["candidates"], choice["propensity"]) == ("m", [], None)


def test_what_else_a_line_holds_never_comes_in(home: Home, learning: Learning) -> None:
    line = {**calls(range(1, 2))[0], "prompt": "my secret", "token": "s3cr3t", "asked": {"body": "my secret"}}
    spooled(home, [line])
    learning.catch_up()
    told = str([rows(learning, f"SELECT * FROM {table}") for table in ("model_calls", "decisions")])
    assert line["id"] in told and "secret" not in told and "s3cr3t" not in told


def test_the_same_rows_come_out_however_the_spool_is_cut(home: Home, store: Store, tmp_path: Path) -> None:
    file = spooled(home, calls(range(1, 60)))
    whole = chunk_at(file, 0)
    assert whole is not None
    store.take_calls(whole)
    for limit in (2_000, 5_000):
        other, position = Store(tmp_path / f"by{limit}.duckdb", 128), 0
        while chunk := chunk_at(file, position, limit):
            position = other.take_calls(chunk)
        assert position == file.stat().st_size and other.digest() == store.digest()
        other.close()


def test_a_chunk_told_twice_is_kept_once_and_a_gap_is_refused(home: Home, store: Store) -> None:
    file = spooled(home, calls(range(1, 30)))
    first = chunk_at(file, 0, 4_000)
    assert first is not None
    store.take_calls(first)
    before = store.digest()
    assert store.take_calls(first) == first.end and store.digest() == before
    later = chunk_at(file, first.end + 900, 4_000)
    assert later is not None
    with pytest.raises(ValueError, match="was read up to byte"):
        store.take_calls(later)
    assert store.digest() == before


def test_the_sums_of_each_day_are_those_of_its_calls_however_they_came(home: Home, store: Store) -> None:
    file = spooled(home, calls(range(1, 120_000, 997)))
    position = 0
    while chunk := chunk_at(file, position, 9_000):
        position = store.take_calls(chunk)
    rows = store.ask("SELECT happened::DATE AS day, count(*) AS calls, sum(prompt_tokens) AS tokens FROM model_calls"
                     " GROUP BY day ORDER BY day", {}, 5)  # fmt: skip
    sums = store.ask("SELECT day, sum(calls) AS calls, sum(prompt_tokens) AS tokens FROM call_days"
                     " GROUP BY day ORDER BY day", {}, 5)  # fmt: skip
    assert sums == rows and rows
    twice = store.ask("SELECT count(*) AS n FROM call_days GROUP BY day, repo, task, stage, rule, model"
                      " HAVING n > 1", {}, 5)  # fmt: skip
    assert twice == []


def test_the_speeds_told_are_right_to_a_step(home: Home, learning: Learning) -> None:
    lines = [{**line, "model": "m", "task": "chat", "status": 200} for line in calls(range(1, 400))]
    spooled(home, lines)
    learning.catch_up()
    (told,) = learning.answer({"ask": "speeds"})["rows"]
    took = sorted(line["seconds"] for line in lines)
    for name, share in (("median", 0.5), ("p95", 0.95)):
        exact = took[math.ceil(share * len(took)) - 1]
        assert exact <= told[name] * 1.001 and told[name] <= exact * 2 ** (1 / 8) * 1.001
    assert told["calls"] == len(lines)


def test_half_a_line_waits_for_its_end(home: Home, learning: Learning) -> None:
    whole, half = calls(range(1, 3))
    file = spooled(home, [whole])
    raw = json.dumps(half).encode() + b"\n"
    with file.open("ab") as out:
        out.write(raw[:100])
    learning.catch_up()
    assert len(rows(learning, "SELECT 1 FROM model_calls")) == 1
    with file.open("ab") as out:
        out.write(raw[100:])
    learning.catch_up()
    assert len(rows(learning, "SELECT 1 FROM model_calls")) == 2


DAMAGED = [
    b"", b"{", b"[1, 2]", b"null", b'"text"', b"\xff\xfe\x00", b'{"at": "2026-11-26T10:00:00+00:00"}',
    b'{"id": "x", "at": "nonsense"}', b'{"id": 5}', b'{"id": "a", "at": "2026-11-26T10:00:00', b"{" * 70_000,
]  # fmt: skip


def test_damaged_lines_are_counted_and_passed_over(home: Home, learning: Learning) -> None:
    file = spooled(home, calls(range(1, 4)))
    with file.open("ab") as out:
        out.writelines(line + b"\n" for line in DAMAGED)
    spooled(home, calls(range(4, 6)))
    learning.catch_up()
    assert len(rows(learning, "SELECT 1 FROM model_calls")) == 5
    (told,) = rows(learning, "SELECT * FROM spool_files")
    assert (told["damaged"], told["lines"], told["position"]) == (
        len(DAMAGED), 5 + len(DAMAGED), file.stat().st_size,
    )  # fmt: skip


def test_a_line_that_is_longer_than_a_chunk_is_passed_over(home: Home) -> None:
    file = spooled(home, calls(range(1, 2)))
    start = file.stat().st_size
    with file.open("ab") as out:
        out.write(b"x" * 5_000)
    assert chunk_at(file, start, 2_000) is None
    with file.open("ab") as out:
        out.write(b"x\n")
    spooled(home, calls(range(2, 3)))
    chunk = chunk_at(file, start, 2_000)
    assert chunk is not None and (chunk.end, chunk.lines, chunk.text) == (start + 5_002, 1, "")
    after = chunk_at(file, chunk.end, 2_000)
    assert after is not None and after.lines == 1


def test_values_of_another_type_count_as_not_said(home: Home, learning: Learning) -> None:
    odd = {"prompt_tokens": "many", "seconds": [], "candidates": "none", "asked": 7, "stream": "perhaps", "status": {}}
    spooled(home, [{**calls(range(1, 2))[0], "rule": "r", **odd}])
    learning.catch_up()
    (call,) = rows(learning, "SELECT * FROM model_calls")
    assert (call["prompt_tokens"], call["seconds"], call["status"]) == (0, None, None)


def test_a_shortened_file_is_read_on_from_its_new_end_and_said(
    home: Home, learning: Learning, caplog: pytest.LogCaptureFixture
) -> None:
    file = spooled(home, calls(range(1, 11)))
    learning.catch_up()
    raw = file.read_bytes()
    file.write_bytes(raw[: raw.index(b"\n", 3_000) + 1])
    with caplog.at_level(logging.WARNING):
        learning.catch_up()
    assert "shortened from" in caplog.text
    spooled(home, calls(range(11, 13)))
    learning.catch_up()
    found = [row["call"] for row in rows(learning, "SELECT call FROM model_calls ORDER BY ALL")]
    assert found == sorted(f"{number:032x}" for number in range(1, 13))
    assert "stay until the next rebuild" in rows(learning, "SELECT note FROM spool_files")[0]["note"]


def test_only_files_of_calls_are_read(home: Home) -> None:
    for name in ("transcripts-20261126.jsonl", "usage-x.jsonl", "usage-20261126.jsonl.gz", "counts.jsonl"):
        (home.spool / name).write_bytes(b"{}\n")
    spooled(home, calls(range(1, 2)), "usage-20261125.jsonl")
    assert [file.name for file in spool.files(home.spool)] == ["usage-20261125.jsonl"]


def test_a_rebuild_from_ledger_and_spool_gives_the_same_rows(home: Home) -> None:
    ledger = with_repositories(open_ledger(home))
    learning = Learning(home, Settings())
    for part in range(5):
        tell(ledger, range(part * 4, part * 4 + 4))
        spooled(home, calls(range(part * 20, part * 20 + 20)), f"usage-2026112{part}.jsonl")
        learning.catch_up()
    before = learning.digest()
    learning.close()
    ledger.close()
    assert rebuild_stopped(home, Settings())["model_calls"] == 100
    again = Learning(home, Settings())
    assert again.digest() == before
    again.close()


def test_calls_that_a_cut_log_lost_are_noticed_by_the_ledgers_mark(home: Home, learning: Learning) -> None:
    file = spooled(home, calls(range(1, 11)))
    learning.catch_up()
    size = file.stat().st_size
    assert learning.ledger.watermark(opening.OF_FILE + file.name) == size
    learning._store.set_back(file.name, size - 1, "")
    assert "were in it once" in opening.unread(learning._store, home.spool, learning.ledger)


def test_calls_are_told_by_the_person_whom_their_caller_names(home: Home, learning: Learning) -> None:
    first, second, third, other = calls(range(4))
    old, now = "2020-01-01T00:00:00+00:00", utcnow().isoformat()
    named = [
        {**first, "person": "ada", "at": old, "status": 200}, {**second, "person": "ada", "at": old, "status": 502},
        {**third, "person": "eve", "at": now},
    ]  # fmt: skip
    spooled(home, [*named, other])
    learning.catch_up()
    rows = learning.answer({"ask": "calls_by_person"})["rows"]
    assert [(row["person"], row["key"], row["calls"]) for row in rows] == [("ada", "k1", 2), ("eve", "k1", 1)]
    assert rows[0]["failed"] == 1
    assert rows[0]["completion_tokens"] == first["completion_tokens"] + second["completion_tokens"]
    late = learning.answer({"ask": "calls_by_person", "with": {"days": 1}})["rows"]
    assert [row["person"] for row in late] == ["eve"]
