"""Rules in a running gateway: facts, parameters, episodes, policies, files that change."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from appliance.gateway_client import GatewayModel
from appliance.policy import Meaning
from inference.asked import RouteRequest
from inference.gateway.episodes import Episodes, episode_of
from tests.inference.gateway_process import BIG, CODER, Gateway, eventually, make_home, publish, running_gateway
from tests.inference.mock_engine import WORDS, MockEngine, delta, fail, say, talk

pytestmark = pytest.mark.integration
HELLO = [{"role": "user", "content": "Hello?"}]
ROUTES = f"""
[[rule]]
name = "worst first"
when = {{ task = "chat", severity = {{ max = 1 }}, attempt = {{ min = 2 }} }}
candidates = ["{BIG}"]

[[rule]]
name = "ours"
when = {{ key = ["li*"], stage = "plan" }}
candidates = ["{BIG}", "{CODER}"]
parameters = {{ strip = ["seed", "top_k"], set = {{ temperature = 0.5 }} }}

[[rule]]
name = "busy"
when = {{ load = {{ min = 1 }} }}
candidates = ["{BIG}"]

[[rule]]
name = "talk"
when = {{ task = ["chat"] }}
candidates = ["{CODER}", "{BIG}"]
learning = "apply"
"""


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with running_gateway(make_home(tmp_path_factory.mktemp("gateway"), ROUTES)) as running:
        yield running


@pytest.fixture
def gateway(process: Gateway, engine: MockEngine) -> Gateway:
    engine.will(talk())
    publish(process.home, {CODER: engine.url, BIG: engine.url})
    return process


def chat(gateway: Gateway, headers: dict[str, str] | None = None, **more: Any) -> httpx.Response:
    body = {"model": "auto", "messages": HELLO, **more}
    return gateway.http.post("/v1/chat/completions", json=body, headers=headers)


def rule_of(response: httpx.Response) -> str:
    return response.headers["x-appliance-route"].partition(":")[0]


def test_facts_of_a_call_come_from_its_metadata_and_its_key(gateway: Gateway) -> None:
    assert rule_of(chat(gateway, metadata={"severity": "1", "attempt": "2"})) == "worst first"
    assert rule_of(chat(gateway, metadata={"stage": "plan"})) == "ours"
    assert rule_of(chat(gateway)) == "talk"


def test_words_that_other_programs_use_are_no_facts(gateway: Gateway) -> None:
    assert rule_of(chat(gateway, metadata={"severity": "high", "attempt": None})) == "talk"
    assert rule_of(chat(gateway, metadata={"severity": "17", "attempt": "²"})) == "talk"
    assert rule_of(chat(gateway, metadata={"severity": 1.0, "attempt": "9" * 5000})) == "talk"


def test_a_rule_strips_and_sets_parameters_and_names_them(gateway: Gateway, engine: MockEngine) -> None:
    response = chat(gateway, metadata={"stage": "plan"}, seed=4, temperature=1.0, top_p=0.9)
    sent = engine.asked[-1].body
    assert "seed" not in sent and (sent["temperature"], sent["top_p"]) == (0.5, 0.9)
    assert set(response.headers["x-appliance-ignored"].split(", ")) == {"seed", "temperature"}
    assert "x-appliance-ignored" not in chat(gateway, seed=4).headers


def test_an_episode_stays_with_the_model_that_answered_first(gateway: Gateway, engine: MockEngine) -> None:
    engine.will(fail(500), fail(500), fail(500), talk())
    episode = {"x-appliance-episode": "one"}
    assert chat(gateway, episode).headers["x-appliance-model"] == BIG
    publish(gateway.home, {CODER: engine.url, BIG: engine.url})
    again = chat(gateway, episode, stream=True)
    assert again.headers["x-appliance-model"] == BIG
    assert chat(gateway, {"x-appliance-episode": "two"}).headers["x-appliance-model"] == CODER
    shown = gateway.http.post("/v1/route", json={"task": "chat"}, headers=episode).json()
    assert shown["candidates"] == [BIG, CODER] and "has served this episode" in shown["reasons"][-1]


def test_a_stream_that_has_begun_to_speak_binds_its_episode(gateway: Gateway, engine: MockEngine) -> None:
    engine.will(fail(500), fail(500), fail(500), say(*WORDS[:2], *[delta(content=".")] * 3, WORDS[-1], pause=0.2))
    episode = {"x-appliance-episode": "four"}
    body = {"model": "auto", "messages": HELLO, "stream": True}
    with gateway.http.stream("POST", "/v1/chat/completions", json=body, headers=episode) as response:
        lines = response.iter_lines()
        while "Hello" not in next(lines):
            pass
        shown = gateway.http.post("/v1/route", json={"task": "chat", "load": 0}, headers=episode).json()
        assert (shown["rule"], shown["candidates"][0], response.headers["x-appliance-model"]) == ("talk", BIG, BIG)
        assert rule_of(gateway.http.post("/v1/route", json={})) == "busy"  # this stream is the load
        assert list(lines)
    assert eventually(lambda: gateway.metric("appliance_gateway_in_flight") == 0)


def test_an_episode_does_not_make_its_model_eligible(gateway: Gateway) -> None:
    episode = {"x-appliance-episode": "three"}
    assert chat(gateway, episode).headers["x-appliance-model"] == CODER
    moved = chat(gateway, episode, metadata={"severity": "1", "attempt": "2"})
    assert moved.headers["x-appliance-model"] == BIG


def test_route_tells_of_every_rule_and_all_that_it_does(gateway: Gateway) -> None:
    asked = {"task": "chat", "stage": "plan", "at": "2026-11-26T09:00:00+01:00", "needs": ["tools"], "load": 2}
    shown = gateway.http.post("/v1/route", json=asked).json()
    assert [(row["rule"], row["matched"]) for row in shown["considered"]] == [
        ("worst first", False), ("ours", True), ("busy", False), ("talk", False),
    ]  # fmt: skip
    assert "'ours' came first" in shown["considered"][2]["why"]
    assert shown["parameters"] == {"strip": ["seed", "top_k"], "set": {"temperature": 0.5}}
    assert shown["policy"] == "rules alone: there is no policy yet"
    wrong = gateway.http.post("/v1/route", json={"severety": 1})
    assert wrong.status_code == 400 and "'severety'" in wrong.json()["error"]["message"]
    assert gateway.http.post("/v1/route", json={"sensitivity": "top"}).status_code == 400


def test_route_takes_the_vector_of_a_text_and_refuses_what_is_none(gateway: Gateway) -> None:
    meaning = Meaning.of([0.6, 0.8], "mini", "ab").model_dump()
    assert gateway.http.post("/v1/route", json={"task": "chat", "meaning": meaning}).status_code == 200
    assert gateway.http.post("/v1/route", json={"task": "chat", "meaning": None}).status_code == 200
    wrong = gateway.http.post("/v1/route", json={"task": "chat", "meaning": meaning | {"numbers": "?"}})
    assert wrong.status_code == 400 and wrong.json()["error"]["param"] == "meaning"


def publish_policy(gateway: Gateway, made: datetime, **more: Any) -> None:
    content = {"format": 1, "version": 3, "made": made.isoformat(), **more}
    draft = gateway.home.policy / "policy.json.new"
    draft.write_text(json.dumps(content | {"preferences": [{"rule": "talk", "order": [BIG, CODER]}]}))
    draft.replace(gateway.home.policy_file)


def policy_said(gateway: Gateway) -> str:
    return str(gateway.http.post("/v1/route", json={"task": "chat"}).json()["policy"])


def test_a_policy_is_taken_over_while_the_gateway_runs_and_a_bad_one_is_not(gateway: Gateway) -> None:
    now = datetime.now(UTC)
    try:
        publish_policy(gateway, now)
        assert eventually(lambda: policy_said(gateway) == "policy 3 ordered")
        assert chat(gateway).headers["x-appliance-model"] == BIG
        assert gateway.metric("appliance_gateway_policy_in_use") == 1
        publish_policy(gateway, now, more=1)
        assert eventually(lambda: "is not valid" in policy_said(gateway))
        assert chat(gateway).headers["x-appliance-model"] == CODER
        ready = gateway.http.get("/readyz")
        assert ready.status_code == 200 and ready.json()["policy"] == "broken"
        assert "rules decide alone" in ready.json()["warnings"][0]
        publish_policy(gateway, now - timedelta(days=15))
        assert eventually(lambda: "15 days old" in policy_said(gateway))
        assert gateway.metric("appliance_gateway_policy_in_use") == 0
    finally:
        gateway.home.policy_file.unlink()
    assert eventually(lambda: "no policy" in policy_said(gateway))


def test_a_usage_line_says_what_was_asked_so_that_it_can_be_asked_again(gateway: Gateway) -> None:
    chat(gateway, metadata={"stage": "plan", "severity": "2"})
    line = gateway.usage()[-1]
    asked = RouteRequest.model_validate(line["asked"])
    assert (asked.stage, asked.severity, asked.key, asked.answering) == ("plan", 2, "line", True)
    assert (line["propensity"], line["explored"], line["policy_version"]) == (1.0, False, None)
    assert asked.at is not None and asked.at.tzinfo is not None


def test_first_tries_may_begin_with_another_candidate_but_not_within_an_episode(tmp_path: Path) -> None:
    home = make_home(tmp_path, ROUTES)
    home.settings_file.write_text(home.settings_file.read_text().replace("[gateway]", "[gateway]\nexplore_share = 0.5"))
    with running_gateway(home) as exploring:
        first = {"task": "chat", "severity": 3, "attempt": 1}

        def told(headers: dict[str, str] | None = None, **more: int) -> list[tuple[str, bool, float]]:
            shown = [exploring.http.post("/v1/route", json=first | more, headers=headers).json() for _ in range(30)]
            return [(one["candidates"][0], one["explored"], one["propensity"]) for one in shown]

        assert {(CODER, False, 0.5), (BIG, True, 0.5)} <= {*told()}
        never = {(CODER, False, 1.0)}
        assert set(told({"x-appliance-episode": "one"})) == set(told(severity=1)) == set(told(attempt=2)) == never


def test_only_the_last_episodes_are_remembered() -> None:
    known = Episodes(2)
    a, b, c = (("key", name, "chat") for name in "abc")
    known.served(a, "m")
    known.served(b, "m")
    assert known.model(a) == "m"
    known.served(c, "m")
    assert (known.model(a), known.model(b), len(known)) == ("m", "", 2)
    none = Episodes(0)
    none.served(a, "m")
    assert none.model(a) == ""


def test_episodes_of_two_keys_are_two() -> None:
    assert episode_of("a", "x", "chat") != episode_of("b", "x", "chat")
    assert episode_of("a", "  ", "chat") is None and episode_of("a", None, "chat") is None


def test_calls_of_the_line_for_one_item_stay_with_the_model_that_served_it(
    gateway: Gateway, engine: MockEngine
) -> None:
    line = GatewayModel(gateway.url, gateway.key)
    engine.will(fail(500), fail(500), fail(500), talk())
    assert line.chat(HELLO, task="chat", episode="W-7").model == BIG
    assert line.chat(HELLO, task="chat", episode="W-7").model == BIG
    assert line.chat(HELLO, task="chat", episode="W-8").model == CODER
    assert line.chat(HELLO, task="chat").model == CODER
    line.close()


@pytest.mark.parametrize(("asked", "told"), [("flex", "flex"), ("auto", "default"), ("priority", "default")])
def test_an_answer_says_in_which_service_tier_it_was_given(gateway: Gateway, asked: str, told: str) -> None:
    assert chat(gateway, service_tier=asked).json()["service_tier"] == told
    chunks = chat(gateway, service_tier=asked, stream=True, stream_options={"include_usage": True}).text.split("\n\n")
    assert all(f'"service_tier":"{told}"' in chunk for chunk in chunks[:-2]) and len(chunks) > 4
    body = {"model": CODER, "input": "Hello?", "service_tier": asked}
    assert gateway.http.post("/v1/responses", json=body).json()["service_tier"] == told
    events = gateway.http.post("/v1/responses", json={**body, "stream": True}).text.split("\n\n")
    assert f'"service_tier":"{told}"' in events[0] and f'"service_tier":"{told}"' in events[-2]


def test_an_answer_says_nothing_of_a_tier_that_nobody_named(gateway: Gateway) -> None:
    assert "service_tier" not in chat(gateway).text + chat(gateway, stream=True).text


@pytest.mark.parametrize(("metadata", "told"), [({}, "standard"), ({"priority": "batch"}, "batch")])
def test_the_usage_of_a_message_says_how_it_was_served(gateway: Gateway, metadata: dict[str, str], told: str) -> None:
    body = {"model": CODER, "messages": HELLO, "max_tokens": 9, "metadata": metadata}
    assert gateway.http.post("/v1/messages", json=body).json()["usage"]["service_tier"] == told
    events = gateway.http.post("/v1/messages", json={**body, "stream": True}).text.split("\n\n")
    assert [f'"service_tier":"{told}"' in event for event in events[:-1]] == [True] + [False] * (len(events) - 2)
