from __future__ import annotations

import struct
from pathlib import Path

import pytest

from appliance.errors import UsageError
from models.card import Card, CardFile, card_from, checked_name, checked_tasks, name_from_file, suggested_tasks
from models.facts import Facts, of_gguf
from models.gguf import read_header
from tests.models.gguf_files import TENSORS, TEXT, assemble, entry, text, write_good

FILE = CardFile(name="model.gguf", size_bytes=7, sha256="ab" * 32)


def facts(file: Path) -> Facts:
    return of_gguf([(file.name, read_header(file))])


def test_a_card_tells_what_the_header_tells(tmp_path: Path) -> None:
    card = card_from(facts(write_good(tmp_path / "m.gguf")), "coder", [FILE], aliases=["c", "c"])
    assert (card.architecture, card.parameters, card.context_tokens, card.quantisation) == ("llama", 160, 2048, "Q8_0")
    assert card.licence == "MIT" and card.chat_template and card.aliases == ("c",)
    assert card.tasks == () and "chat" in card.could
    assert card.digest == "abababababab" and not card.embeds
    assert Card.model_validate_json(card.model_dump_json()) == card


def test_a_persons_word_on_licence_and_tasks_goes_before_the_file(tmp_path: Path) -> None:
    found = facts(write_good(tmp_path / "m.gguf"))
    card = card_from(found, "coder", [FILE], licence="Apache-2.0", tasks=("review", "repair", "review"))
    assert card.licence == "Apache-2.0" and card.tasks == ("repair", "review")


@pytest.mark.parametrize(
    ("architecture", "pooling", "template", "tasks"),
    [
        ("llama", "", True, ("chat", "repair", "review", "triage")),
        ("llama", "", False, ()),
        ("bert", "", False, ("embedding",)),
        ("bert", "rank", False, ("rerank",)),
        ("qwen2", "last", True, ("embedding",)),
    ],
)
def test_a_header_says_what_to_try(architecture: str, pooling: str, template: bool, tasks: tuple[str, ...]) -> None:
    assert suggested_tasks(architecture, pooling, template) == tasks


@pytest.mark.parametrize("name", ["auto", "search", "", "-a", "A", "a/b", "..", "a b", "a" * 65, "ä", "a\n"])
def test_names_that_confuse_are_refused(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        checked_name(name)
    assert "a-z" in caught.value.hint


def test_unknown_tasks_are_named() -> None:
    with pytest.raises(UsageError, match="unknown task cook, sing"):
        checked_tasks(["sing", "chat", "cook"])


@pytest.mark.parametrize(
    ("stem", "name"),
    [("Qwen2.5-Coder-7B-Instruct.Q4_K_M", "qwen2.5-coder-7b-instruct.q4_k_m"), ("(1) ü", "1"), ("üü", "model")],
)
def test_names_are_made_from_file_names(stem: str, name: str) -> None:
    assert checked_name(name_from_file(stem)) == name


def test_absurd_numbers_in_a_header_do_not_become_negative_contexts(tmp_path: Path) -> None:
    file = tmp_path / "m.gguf"
    odd = [entry("general.architecture", TEXT, text("x")), entry("x.context_length", 5, struct.pack("<i", -5))]
    file.write_bytes(assemble(odd, TENSORS, 288))
    assert card_from(facts(file), "x", [FILE]).context_tokens == 0
