"""What every `Model` keeps to: the gateway's client before real models, and the fake that stands in for it."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from appliance.config import Home
from appliance.errors import LimitExceeded, NotFound
from appliance.gateway_client import GatewayModel
from appliance.ports import Completion, Model
from inference import rules
from models.importing import import_model
from models.minilm import ensure_default
from models.registry import Registry
from tests.contracts.model import ScriptedModel
from tests.inference.gateway_process import free_port, running_gateway, stop
from tests.inference.tiny_model import write_tiny_llama

HELLO = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Say something about apples."}]
CONTEXT = 1024


@dataclass(frozen=True)
class Subject:
    """A model under test and the name of one that chats."""

    model: Model
    name: str

    def chat(self, max_tokens: int = 16, **options: object) -> Completion:
        chosen = {"model": self.name, "task": "repair", **options}
        return self.model.chat(HELLO, max_tokens=max_tokens, **chosen)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Subject]:
    home = Home(tmp_path_factory.mktemp("contract"))
    for folder in (home.root, *home.folders):
        folder.mkdir(exist_ok=True)
    registry = Registry(home.models)
    ensure_default(registry, lambda line: None)
    import_model(write_tiny_llama(home.root / "tiny.gguf"), registry, "tiny", tasks=("chat", "repair"))
    home.routes_file.write_text(rules.default_text())
    home.settings_file.write_text(
        f"[gateway]\nport = {free_port()}\n[engines]\ncontext_tokens = {CONTEXT}\nthreads = 2\n"
    )
    with (home.logs / "engines.log").open("wb") as log:
        engines = subprocess.Popen(
            [sys.executable, "-m", "appliance", "--home", str(home.root), "serve", "engines"], stdout=log, stderr=log
        )
    try:
        with running_gateway(home) as running:
            model = GatewayModel(running.url, running.key)
            yield Subject(model, "tiny")
            model.close()
    finally:
        stop(engines)


@pytest.fixture(params=["scripted", pytest.param("gateway", marks=[pytest.mark.integration, pytest.mark.timeout(300)])])
def subject(request: pytest.FixtureRequest) -> Subject:
    if request.param == "gateway":
        found: Subject = request.getfixturevalue("real")
        return found
    words = "apples are round and red and sweet and " * 10
    return Subject(ScriptedModel(words, name="tiny", context_tokens=CONTEXT), "tiny")


def test_embedding_gives_one_unit_vector_a_text_in_order_and_of_one_dimension(subject: Subject) -> None:
    texts = ["red apples", "the tax office", "red apples", ""]
    vectors = subject.model.embed(texts)
    assert len(vectors) == 4 and len({len(vector) for vector in vectors}) == 1
    assert all(math.isclose(math.hypot(*vector), 1.0, rel_tol=1e-4) for vector in vectors)
    assert vectors[0] == pytest.approx(vectors[2], abs=1e-3)
    assert vectors[0] != pytest.approx(vectors[1], abs=1e-1)


def test_embedding_nothing_gives_nothing(subject: Subject) -> None:
    assert subject.model.embed([]) == []


def test_kept_vectors_name_who_made_them(subject: Subject) -> None:
    made = subject.model.embedded(["red apples"])  # type: ignore[attr-defined]
    assert made.vectors[0] == pytest.approx(subject.model.embed(["red apples"])[0], abs=1e-3)
    assert made.model and len(made.digest) == 12


def test_an_answer_names_its_model_and_what_it_cost(subject: Subject) -> None:
    made = subject.chat()
    assert made.model == subject.name and len(made.digest) == 12
    assert made.prompt_tokens > 0 and 0 < made.completion_tokens <= 16 and made.seconds > 0


def test_an_answer_that_reaches_its_length_says_so(subject: Subject) -> None:
    made = [subject.chat(max_tokens=2, temperature=1.0, seed=seed) for seed in range(8)]
    assert all(one.completion_tokens <= 2 and one.finish_reason in ("stop", "length") for one in made)
    assert any(one.finish_reason == "length" for one in made)


def test_without_chance_the_same_question_has_the_same_answer(subject: Subject) -> None:
    assert subject.chat(temperature=0.0, seed=1).text == subject.chat(temperature=0.0, seed=1).text


def test_a_stop_text_is_not_part_of_the_answer(subject: Subject) -> None:
    whole = subject.chat().text
    mark = whole.strip()[3:5] or whole[:1]
    if mark:
        assert mark not in subject.chat(stop=(mark,)).text


def test_a_model_that_is_not_there_is_not_found(subject: Subject) -> None:
    with pytest.raises(NotFound):
        subject.chat(model="no-such-model")


def test_a_prompt_longer_than_the_context_is_a_limit(subject: Subject) -> None:
    long = [{"role": "user", "content": "apple pie " * CONTEXT}]
    with pytest.raises(LimitExceeded):
        subject.model.chat(long, task="repair", model=subject.name, max_tokens=4)


def test_a_route_names_candidates_and_its_rule(subject: Subject) -> None:
    route = subject.model.route(
        task="repair", stage="build", language="python", prompt_tokens=10, repo="shop", severity=2, attempt=1
    )
    assert subject.name in route.candidates and route.rule


def test_a_task_that_no_rule_serves_is_not_found(subject: Subject) -> None:
    with pytest.raises(NotFound):
        subject.model.route(task="review")
