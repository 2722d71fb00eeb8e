"""What the format gate makes of files and folders, and how it is shut in."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.errors import FactoryError, LimitExceeded, UsageError, VerificationFailed
from models import gate
from models.confined import MEANS
from models.examine import examine
from models.facts import Facts, licence_in, tool_format
from models.gate import ROOT, examined
from models.source import find
from tests.models import gguf_files
from tests.models.gguf_files import TEXT, entry, number, tensor, text
from tests.models.tensor_files import CONFIG, assemble, header, write_folder, write_shards
from tests.models.test_content import Runs


def look(path: Path) -> Facts:
    source = find(path)
    return examine(source.folder, source.names)


def refusal(path: Path) -> str:
    with pytest.raises(FactoryError) as caught:
        look(path)
    assert caught.value.hint
    return caught.value.message


def write_split(folder: Path, count: int = 3, **wrong: int) -> Path:
    """A GGUF model in parts as llama.cpp splits them; the first part holds no tensor."""
    folder.mkdir(exist_ok=True)
    for n in range(count):
        entries = [number("split.no", wrong.get("no", n)), number("split.count", wrong.get("of", count))]
        entries.append(number("split.tensors.count", wrong.get("tensors", count - 1)))
        tensors = [] if n == 0 else [tensor(f"t{wrong.get('name', n)}", (8,))]
        raw = gguf_files.assemble([*(gguf_files.METADATA if n == 0 else []), *entries], tensors, 32 if n else 0)
        (folder / f"big-{n + 1:05}-of-{count:05}.gguf").write_bytes(raw)
    return folder


def test_a_folder_with_safetensors_is_known_with_all_that_a_card_needs(tmp_path: Path) -> None:
    facts = look(write_folder(tmp_path / "m"))
    assert (facts.format, facts.file, facts.architecture, facts.parameters) == ("safetensors", ".", "qwen2", 40)
    assert (facts.context_tokens, facts.embedding_length, facts.quantisation) == (4096, 8, "BF16")
    assert (facts.licence, facts.chat_template, facts.tools, facts.pooling) == ("apache-2.0", True, "hermes", "")
    assert facts.files == (
        "README.md", "config.json", "generation_config.json", "model.safetensors", "tokenizer.json",
        "tokenizer_config.json",
    )  # fmt: skip
    assert facts.left_out == ("picture.png",)


def test_a_file_with_the_name_of_our_own_card_is_left_out(tmp_path: Path) -> None:
    assert "card.json" in look(write_folder(tmp_path / "m", card__json="{}")).left_out


def test_shards_and_their_index_make_one_model(tmp_path: Path) -> None:
    facts = look(write_shards(tmp_path / "m"))
    assert facts.parameters == 5 and sum(name.endswith(".safetensors") for name in facts.files) == 2


def test_the_parts_of_a_split_gguf_make_one_model_from_any_part_or_the_folder(tmp_path: Path) -> None:
    folder = write_split(tmp_path / "m")
    for path in (folder, folder / "big-00001-of-00003.gguf", folder / "big-00003-of-00003.gguf"):
        facts = look(path)
        assert (facts.format, facts.parameters, facts.file) == ("gguf", 16, "big-00001-of-00003.gguf")
        assert find(path).stem == "big"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [({"no": 1}, "is not part 1 of 3"), ({"of": 2}, "split into 2"), ({"tensors": 9}, "hold 2 tensors, not 9"),
     ({"name": 1}, "is in another part too")],
)  # fmt: skip
def test_parts_that_do_not_belong_together_are_refused(tmp_path: Path, wrong: dict[str, int], said: str) -> None:
    assert said in refusal(write_split(tmp_path / "m", **wrong))


def test_a_part_without_the_others_is_refused(tmp_path: Path) -> None:
    folder = write_split(tmp_path / "m")
    (folder / "big-00002-of-00003.gguf").rename(folder / "other.gguf")
    assert "1 of 3 parts are missing: big-00002" in refusal(folder / "big-00001-of-00003.gguf")
    assert "one part of a model split into 3" in refusal(folder / "other.gguf")


def test_a_projector_beside_the_model_is_left_out_and_two_models_are_not_guessed_between(tmp_path: Path) -> None:
    gguf_files.write_good(tmp_path / "m.gguf")
    projector = [entry("general.architecture", TEXT, text("clip"))]
    (tmp_path / "mmproj.gguf").write_bytes(gguf_files.assemble(projector, [tensor("v", (8,))], 32))
    facts = look(tmp_path)
    assert facts.files == ("m.gguf",) and facts.left_out == ("mmproj.gguf",) and facts.licence == "MIT"
    gguf_files.write_good(tmp_path / "n.gguf", 1)
    assert "several models: m.gguf, n.gguf" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"pytorch_model__bin": pickle.dumps(Runs())}, "pytorch_model.bin is refused: it is a Python pickle"),
        ({"tokenizer__json": pickle.dumps(Runs())}, "tokenizer.json is refused: it is a Python pickle"),
        ({"modeling_x__py": "import os"}, "modeling_x.py is refused: it is code"),
        ({"setup": "#!/bin/sh\n"}, "setup is refused: it is a script"),
        ({"x__bin": b"PK\3\4"}, "zip archive"),
        ({"config__json": json.dumps({**CONFIG, "auto_map": {"AutoModel": "x.Y"}})}, "auto_map asks for Python code"),
        ({"tokenizer_config__json": '{"a": [{"auto_map": {}}]}'}, "auto_map asks for Python code"),
        ({"config__json": None}, "no config.json"),
        ({"config__json": "{"}, "config.json is not sound JSON"),
        ({"config__json": "[" * 100_000}, "config.json is not sound JSON"),
        ({"config__json": "[]"}, "no config.json"),
        ({"config__json": "{}"}, "no model_type"),
        ({"config__json": b"\xff\xfe"}, "not text in UTF-8"),
        ({"tokenizer__json": None}, "no tokenizer"),
        ({"tokenizer__model": b"\x0a\xff\x01x"}, "tokenizer.model is not a sound tokenizer"),
        ({"tokenizer__model": b"\0"}, "tokenizer.model is not a sound tokenizer"),
        ({"model__safetensors": b"junk"}, "not a sound safetensors file"),
        ({"other__safetensors": assemble(b"{}", 0)}, "2 weight files and no index"),
        ({"model__safetensors": None}, "no GGUF and no safetensors"),
        ({"m__gguf": gguf_files.good()}, "holds both m.gguf and model.safetensors"),
        ({"tokenizer_config__json": '{"chat_template": "{{ x.__globals__ }}"}'}, "'__globals__', a way to run code"),
        ({"chat_template__jinja": "{{ x.__class__ }}"}, "'__class__', a way to run code"),
        ({"other__jinja": "{{ x.__mro__ }}"}, "'__mro__', a way to run code"),
        ({"processor_config__json": '{"chat_template": [{"template": "__init__"}]}'}, "'__init__', a way to run code"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_folder_is_said(tmp_path: Path, changes: dict[str, bytes | str | None], said: str) -> None:
    assert said in refusal(write_folder(tmp_path / "m", **changes))


@pytest.mark.parametrize(
    ("places", "said"),
    [
        ({"a": "model-00001-of-00002.safetensors"}, "do not agree about b"),
        ({"a": "model-00002-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}, "do not agree about a"),
        ({"a": "model-00003-of-00002.safetensors"}, "model-00003-of-00002.safetensors are missing"),
        ({"a": "../../../etc/passwd"}, "etc/passwd are missing"),
        ({"a": 1}, "no single index"),
        ([], "no single index"),
    ],
)
def test_an_index_that_does_not_match_its_shards_is_refused(tmp_path: Path, places: object, said: str) -> None:
    folder = write_shards(tmp_path / "m")
    if isinstance(places, dict) and len(places) == 1 and "do not agree" in said:
        places = {"a": "model-00001-of-00002.safetensors", "c": "model-00002-of-00002.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    assert said in refusal(folder)


def write_adapter(folder: Path, **config: object) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "adapter_model.safetensors").write_bytes(assemble(header({"a.lora_A": ("F16", [2, 4], (0, 16))}), 16))
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 2, **config}))
    return folder


def test_an_adapter_is_known_and_other_kinds_are_refused(tmp_path: Path) -> None:
    facts = look(write_adapter(tmp_path / "a"))
    assert (facts.format, facts.parameters, facts.file) == ("lora", 8, ".")
    for wrong in ({"peft_type": "IA3"}, {"r": 0}, {"r": "2"}):
        assert "no LoRA adapter" in refusal(write_adapter(tmp_path / "a", **wrong))
    assert "auto_map" in refusal(write_adapter(tmp_path / "a", auto_map={}))


def test_a_model_that_is_made_to_see_says_so(tmp_path: Path) -> None:
    config = {**CONFIG, "vision_config": {"depth": 1}, "text_config": {"hidden_size": 9}}
    facts = look(write_folder(tmp_path / "m", config__json=json.dumps(config)))
    assert facts.vision and facts.embedding_length == 9


def test_packed_weights_count_as_what_they_stand_for(tmp_path: Path) -> None:
    config = {**CONFIG, "quantization_config": {"quant_method": "awq", "bits": 4}}
    raw = assemble(header({"x.qweight": ("I32", [2], (0, 8))}), 8)
    facts = look(write_folder(tmp_path / "m", config__json=json.dumps(config), model__safetensors=raw))
    assert (facts.quantisation, facts.parameters) == ("awq-4bit", 16)


@pytest.mark.parametrize(
    ("config", "pooling"),
    [({"model_type": "bert"}, "mean"), ({"model_type": "llama"}, ""),
     ({"model_type": "xlm-roberta", "architectures": ["XForSequenceClassification"]}, "rank")],
)  # fmt: skip
def test_encoders_are_told_from_writers(tmp_path: Path, config: dict[str, object], pooling: str) -> None:
    assert look(write_folder(tmp_path / "m", config__json=json.dumps(config))).pooling == pooling


def test_sentence_transformers_say_how_tokens_are_summed_up(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "m", config__json='{"model_type": "bert"}')
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')
    facts = look(folder)
    assert facts.pooling == "cls" and "1_Pooling/config.json" in facts.files


@pytest.mark.parametrize(
    ("template", "name"),
    [("tools [TOOL_CALLS]", "mistral"), ("tools <|python_tag|>", "llama3_json"), ("tools", "generic"), ("x", "")],
)
def test_the_way_of_writing_tool_calls_is_read_off_the_template(template: str, name: str) -> None:
    assert tool_format(template) == name


def test_a_licence_is_found_in_readme_or_in_its_own_text() -> None:
    assert licence_in("---\nlicense: other\n---\n", "Apache License\nVersion 2.0") == "Apache-2.0"
    assert licence_in("no head", "something else") == ""


def test_a_gguf_that_names_no_licence_has_that_of_its_folder(tmp_path: Path) -> None:
    plain = [one for one in gguf_files.METADATA if b"license" not in one]
    (tmp_path / "m.gguf").write_bytes(gguf_files.assemble(plain, gguf_files.TENSORS, 288))
    (tmp_path / "LICENSE").write_text("MIT License\n")
    assert look(tmp_path).licence == "MIT"


def test_every_template_of_a_gguf_is_looked_at(tmp_path: Path) -> None:
    second = entry("tokenizer.chat_template.tool_use", TEXT, text("{{ x.__subclasses__() }}"))
    raw = gguf_files.assemble([*gguf_files.METADATA, second], gguf_files.TENSORS, 288)
    (tmp_path / "m.gguf").write_bytes(raw)
    assert "'__subclasses__', a way to run code" in refusal(tmp_path / "m.gguf")


def test_names_that_cannot_be_shown_are_refused(tmp_path: Path) -> None:
    gguf_files.write_good(tmp_path / "m.gguf")
    (tmp_path / "a\nb").write_text("x")
    assert "called 'a\\nb'" in refusal(tmp_path)


SHUT_IN = """
import sys; sys.path.insert(0, sys.argv[1])
import os, socket, subprocess
from models.confined import shut_in
missing = shut_in()
def tried(what):
    try:
        what()
    except (OSError, MemoryError) as error:
        return type(error).__name__
    return "done"
print(*missing, *(tried(what) for what in (
    socket.socket, os.fork, lambda: open(sys.argv[2], "w"), lambda: os.mkdir(sys.argv[2]),
    lambda: os.unlink(sys.argv[3]), lambda: subprocess.run(["true"]), lambda: bytearray(3 << 30),
    lambda: open(sys.argv[3]).read(), lambda: os.listdir("/"),
)), sep="|")
"""


def test_the_gates_process_can_only_read(tmp_path: Path) -> None:
    file = tmp_path / "kept"
    file.write_text("kept")
    argv = [sys.executable, "-I", "-S", "-c", SHUT_IN, str(ROOT), str(tmp_path / "new"), str(file)]
    said = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip().split("|")
    refused = ["PermissionError"] * 6
    if "system call filter" not in said:
        assert [word for word in said if word not in MEANS] == [*refused, "MemoryError", "done", "done"]
    assert file.read_text() == "kept" and not (tmp_path / "new").exists()


def test_the_gate_tells_what_it_found_and_what_the_machine_lacks(tmp_path: Path) -> None:
    passed = examined(write_folder(tmp_path / "m"), find(tmp_path / "m").names)
    assert passed.facts == look(tmp_path / "m") and set(passed.missing) <= set(MEANS)
    with pytest.raises(VerificationFailed, match="it is a script"):
        examined(write_folder(tmp_path / "m", x="#!"), ["x"])
    with pytest.raises(UsageError, match="holds both"):
        examined(write_folder(tmp_path / "m", m__gguf=gguf_files.good()), ["m.gguf", "model.safetensors"])


def test_a_file_that_makes_the_gate_fail_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "START", "import os; os.abort()")
    with pytest.raises(VerificationFailed, match="made the process that looks at formats end"):
        examined(tmp_path, ["m.gguf"])
    monkeypatch.setattr(gate, "START", "import time; time.sleep(60)")
    monkeypatch.setattr(gate, "WALL_SECONDS", 0.2)
    with pytest.raises(LimitExceeded, match="took longer"):
        examined(tmp_path, ["m.gguf"])


def test_a_header_that_takes_too_much_memory_is_refused_and_costs_us_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    narrow = (
        "import sys; sys.path.insert(0, sys.argv[1]); from models import confined; confined.MEMORY_BYTES = 80 << 20; "
    )
    monkeypatch.setattr(gate, "START", narrow + "from models.examine import main; main()")
    folder = write_folder(tmp_path / "m", tokenizer__json="[" + "[{}]," * 1_000_000 + "0]")
    with pytest.raises(VerificationFailed, match=r"not sound JSON|made the process"):
        examined(folder, find(folder).names)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_gguf_is_read_or_refused(tmp_path: Path, data: st.DataObject) -> None:
    raw = bytearray(gguf_files.good())
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(raw) - 1))
        if data.draw(st.booleans()):
            raw[at] = data.draw(st.integers(0, 255))
        else:
            raw[at : at + data.draw(st.integers(0, 9))] = data.draw(st.binary(min_size=1, max_size=9))
    (tmp_path / "m.gguf").write_bytes(raw)
    try:
        assert examine(tmp_path, ["m.gguf"]).format == "gguf"
    except FactoryError as error:
        assert error.message and error.hint


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["config.json", "tokenizer_config.json", "model.safetensors.index.json", "tokenizer.model"]),
    st.data(),
)
def test_damaged_files_of_a_folder_are_read_or_refused(tmp_path: Path, name: str, data: st.DataObject) -> None:
    folder = write_folder(tmp_path / "m")
    sound = (folder / name).read_bytes() if (folder / name).exists() else b'{"weight_map": {"a.weight": "x"}}'
    at = data.draw(st.integers(0, len(sound)))
    (folder / name).write_bytes(
        sound[:at] + data.draw(st.binary(max_size=6)) + sound[at + data.draw(st.integers(0, 9)) :]
    )
    try:
        look(folder)
    except FactoryError as error:
        assert error.message and error.hint
    finally:
        (folder / name).unlink()
