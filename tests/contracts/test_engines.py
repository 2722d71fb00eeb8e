"""The contract of engines over those that need no more than the development set: llama.cpp, and another server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.settings import EnginesSettings, Settings
from inference.engines.engine import Engine
from inference.engines.llamacpp import LlamaCpp
from inference.engines.remote import RemoteServer
from models.importing import import_model
from models.minilm import ID, ensure_default
from models.registry import Registry
from models.remote import add_remote
from tests.contracts.engine_suite import EngineContract
from tests.contracts.engines import Served, served
from tests.contracts.other_box import NAME, OtherBox
from tests.inference.engines_process import make_home
from tests.inference.tiny_model import write_tiny_llama

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]
SETTINGS = Settings(engines=EnginesSettings(threads=2, slots=2, context_tokens=512))


class TestLlamaCpp(EngineContract):
    @pytest.fixture(scope="class")
    @classmethod
    def kind(cls) -> Engine:
        return LlamaCpp()

    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
        home = make_home(tmp_path_factory.mktemp("llamacpp"))
        import_model(write_tiny_llama(home.spool / "tiny.gguf"), Registry(home.models), "tiny", tasks=("chat",))
        with served(home, SETTINGS, "tiny") as made:
            yield made


def test_a_reranker_puts_the_fitting_document_first(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    registry = Registry(home.models)
    ensure_default(registry, lambda line: None)
    registry.update(registry.get(ID).with_(tasks=("rerank",), pooling="rank"))
    with served(home, SETTINGS, ID) as engine:
        documents = ["a car engine", "dogs and cats", "a kitten"]
        ranked = engine.post("/v1/rerank", query="cats", documents=documents)["results"]
    assert [result["index"] for result in sorted(ranked, key=lambda r: -r["relevance_score"])][-1] == 0


class TestRemote(EngineContract):
    """Another box: a llama-server with a key, behind TLS with a certificate of its own CA."""

    @pytest.fixture(scope="class")
    @classmethod
    def kind(cls) -> Engine:
        return RemoteServer()

    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
        folder = tmp_path_factory.mktemp("remote")
        home = make_home(folder / "home")
        other = OtherBox(folder)
        other.start()
        add_remote(
            Registry(home.models), "far", other.url + "/v1", NAME, str(other.ca), str(other.key_file),
            tasks=("chat",), context_tokens=512,
        )  # fmt: skip
        try:
            with served(home, SETTINGS, "far", process=False, kill=other.stop, bring_back=other.start) as made:
                yield made
        finally:
            other.stop()
            other.close()
