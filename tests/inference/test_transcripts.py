"""What is kept of prompts and answers: nothing by default, without secrets when it is wanted, and not for longer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from inference.gateway.daily import Daily
from inference.gateway.transcripts import Heard, answer_in, cleaned
from tests.inference.gateway_process import CODER, EMBEDDER, Gateway, eventually, make_home, publish, running_gateway
from tests.inference.mock_engine import MockEngine, delta, say, talk, whole_answer

SECRET = "ghp_" + "a1b2" * 8
ASKED = [{"role": "user", "content": f"The key is {SECRET}, is it not?"}]
LOOK = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at"'}}


def test_secrets_and_pictures_are_taken_out_wherever_they_are() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    clean = cleaned({"messages": [{"content": [picture, {"text": f"use {SECRET}"}], "n": 1}], "none": None})
    assert SECRET not in str(clean) and "iVBOR" not in str(clean)
    assert clean["messages"][0]["content"][0]["image_url"] == {"url": "[picture]"}
    assert clean["messages"][0]["n"] == 1 and clean["none"] is None


def test_a_stream_is_put_together() -> None:
    heard = Heard()
    for parts in (
        {"reasoning_content": "hm"}, {"content": "I "}, {"content": "look."}, {"tool_calls": [{"index": 0, **LOOK}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": ":1}"}}]}, {},
    ):  # fmt: skip
        heard.take(delta(**parts))
    heard.take({"choices": [{"index": 1, "text": "x"}]})
    assert heard.whole() == [
        {"reasoning_content": "hm", "content": "I look.", "tool_calls": [{"name": "look", "arguments": '{"at":1}'}]},
        {"text": "x"},
    ]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (whole_answer("Hi"), [{"role": "assistant", "content": "Hi"}]),
        ({"choices": [{"text": "Hi"}]}, ["Hi"]),
        ({"data": []}, None),
        ("rubbish", None),
        (None, None),
    ],
)
def test_only_answers_with_words_are_kept(answer: Any, said: Any) -> None:
    assert answer_in(answer) == said


def test_files_are_removed_when_their_days_are_over(tmp_path: Path) -> None:
    today = datetime(2026, 3, 2, 12, tzinfo=UTC)
    lines = Daily(tmp_path, "transcripts", lambda: today)
    assert lines.append({"id": "x"})
    for name in ("transcripts-20260228", "transcripts-20260227", "usage-20200101", "transcripts-mine"):
        (tmp_path / f"{name}.jsonl").write_text("{}\n")
    assert lines.forget(2) == ["transcripts-20260227.jsonl"]
    assert lines.forget(0) == ["transcripts-20260228.jsonl", "transcripts-20260302.jsonl"]
    assert sorted(file.stem for file in tmp_path.iterdir()) == ["transcripts-mine", "usage-20200101"]


@pytest.fixture(scope="module")
def gateway(engine: MockEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    home = make_home(tmp_path_factory.mktemp("gateway"))
    written = home.settings_file.read_text()
    home.settings_file.write_text(written.replace("max_body_mb = 1", "max_body_mb = 1\ntranscript_days = 3"))
    (home.spool / "transcripts-20200101.jsonl").write_text("{}\n")
    publish(home, {CODER: engine.url, EMBEDDER: engine.url})
    with running_gateway(home) as running:
        yield running


def kept(gateway: Gateway) -> list[dict[str, Any]]:
    files = sorted(gateway.home.spool.glob("transcripts-*.jsonl"))
    assert all(file.stat().st_mode & 0o077 == 0 for file in files)
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def test_every_call_is_kept_by_its_id_whole_streamed_and_failed(gateway: Gateway, engine: MockEngine) -> None:
    engine.will(talk())
    assert eventually(lambda: not (gateway.home.spool / "transcripts-20200101.jsonl").exists())
    before = len(kept(gateway))
    body = {"model": CODER, "messages": ASKED}
    whole = gateway.http.post("/v1/chat/completions", json=body)
    engine.will(say(delta(content=f"Yes, {SECRET}"), delta(content="."), delta("stop")))
    stream = gateway.http.post("/v1/messages", json={**body, "max_tokens": 9, "stream": True})
    vectors = gateway.http.post("/v1/embeddings", json={"model": EMBEDDER, "input": [f"about {SECRET}"]})
    assert eventually(lambda: len(kept(gateway)) == before + 3)
    lines = kept(gateway)[before:]
    assert [line["id"] for line in lines] == [made.headers["x-request-id"] for made in (whole, stream, vectors)]
    assert SECRET not in str(lines) and all(line["key"] and line["at"] for line in lines)
    assert (
        lines[0]["answered"][0]["content"] == "Hello there"
        and "is it not?" in lines[0]["asked"]["messages"][0]["content"]
    )
    assert lines[1]["answered"][0]["content"].startswith("Yes, [redacted-")
    assert lines[2]["answered"] is None and lines[2]["asked"]["input"][0].startswith("about [redacted-")
