"""`appliance model …` as a person calls it, over a home of its own."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click
import pytest

from appliance.cli import model
from appliance.cli.main import main
from appliance.config import Home, render
from appliance.settings import Settings
from models import gate
from models.importing import import_model
from models.registry import Registry
from tests.inference.engines_process import running_engines, until
from tests.inference.tiny_model import write_tiny_llama
from tests.models.gguf_files import METADATA, TENSORS, assemble, good, number, write_good
from tests.models.tensor_files import write_folder
from tests.models.test_examine import write_adapter


class Cli:
    """Calls the command line; what it printed is in `out` and `err`."""

    def __init__(self, home: Home, capsys: pytest.CaptureFixture[str]) -> None:
        self.home, self.capsys = home, capsys
        self.out = self.err = ""

    def __call__(self, *words: str | Path) -> int:
        status = main([*map(str, words), "--home", str(self.home.root)])
        self.out, self.err = self.capsys.readouterr()
        return status

    def json(self, *words: str | Path) -> Any:
        assert self(*words, "--json") == 0, self.err
        return json.loads(self.out)

    def refused(self, *words: str | Path) -> tuple[int, str, str]:
        """Exit status, what failed and the hint; the shape for people and the one for scripts agree."""
        status = self(*words)
        error, hint = self.err.strip().splitlines()[-2:]
        assert self(*words, "--json") == status
        shape = json.loads(self.err.strip().splitlines()[-1])["error"]
        assert (error, hint) == (f"error: {shape['message']}", f"hint: {shape['hint']}")
        return status, shape["message"], shape["hint"]


@pytest.fixture
def cli(home: Home, capsys: pytest.CaptureFixture[str]) -> Cli:
    home.settings_file.write_text(render(Settings()))
    return Cli(home, capsys)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_good(tmp_path / "coder.gguf")


def test_a_model_that_a_rule_names_is_not_removed_by_the_way(cli: Cli, tmp_path: Path) -> None:
    assert cli("model", "import", write_good(tmp_path / "coder.gguf"), "--alias", "c") == 0
    rules = cli.home.routes_file
    rules.parent.mkdir(parents=True, exist_ok=True)
    rules.write_text('[[rule]]\nname = "all"\ncandidates = ["*"]\nfallback = ["c"]\n')
    status, message, hint = cli.refused("model", "remove", "coder")
    assert (status, message) == (1, f"the rules of {rules} name coder: all") and "--force" in hint
    assert cli("model", "remove", "coder", "--force") == 0


def test_the_command_is_a_noun_with_verbs() -> None:
    assert isinstance(model.command, click.Group)
    assert set(model.command.commands) == {
        "list",
        "show",
        "import",
        "verify",
        "admit",
        "remote",
        "load",
        "unload",
        "remove",
    }


def test_a_model_goes_in_is_shown_verified_and_goes_out(cli: Cli, file: Path) -> None:
    assert cli("model", "list") == 0 and "no models" in cli.out
    assert cli("model", "import", file, "--task", "repair", "--task", "chat", "--alias", "c", "--licence", "MIT-0") == 0
    assert "coder imported (SHA-256" in cli.out and "it may do: chat, repair" in cli.out and "100 %" in cli.err
    assert cli("model", "list") == 0
    assert "coder" in cli.out and "not loaded" in cli.out and "Q8_0" in cli.out
    assert cli("model", "show", "c") == 0
    assert "MIT-0" in cli.out and str(cli.home.models / "coder" / "model.gguf") in cli.out
    assert cli("model", "verify") == 0 and "coder: sound (SHA-256" in cli.out
    assert cli("model", "remove", "c") == 0 and "coder is removed" in cli.out
    assert Registry(cli.home.models).list() == ()


def test_scripts_get_json(cli: Cli, file: Path) -> None:
    imported = cli.json("model", "import", file)
    assert imported["outcome"] == "added" and cli.err == ""
    assert cli.json("model", "import", file)["outcome"] == "unchanged"
    listed = cli.json("model", "list")
    assert [(row["id"], row["state"], row["sha256"]) for row in listed] == [
        ("coder", "not loaded", imported["sha256"])
    ]  # fmt: skip
    shown = cli.json("model", "show", "coder")
    assert shown["engine"] is None and Path(shown["path"]).is_file()
    assert cli.json("model", "verify", "coder") == [{"id": "coder", "sha256": shown["sha256"], "verified": True}]
    assert cli.json("model", "remove", "coder") == {"id": "coder", "removed": True}


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (good()[:200], "cut short"), (good()[:-40], "cut short"), (b"", "cut short"), (b"ggml", "not a GGUF"),
        (good().replace(b"GGUF\x03", b"GGUF\x09"), "version 9"),
    ],
)  # fmt: skip
def test_a_broken_file_is_refused_clearly_and_leaves_nothing(cli: Cli, file: Path, raw: bytes, said: str) -> None:
    file.write_bytes(raw)
    status, message, hint = cli.refused("model", "import", file)
    assert status == 5 and message.startswith("coder.gguf is not a sound GGUF file: at byte") and said in message
    assert "copy the file again" in hint
    assert list(cli.home.models.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["model", "import", "none.gguf"], 4, "there is no file none.gguf"),
        (["model", "import", "FILE", "--id", "auto"], 2, "'auto' cannot be the name"),
        (["model", "import", "FILE", "--id", "../x"], 2, "cannot be the name"),
        (["model", "import", "FILE", "--task", "sing"], 2, "'sing' is not one of"),
        (["model", "import", "OTHER", "--id", "coder"], 1, "there with other content"),
        (["model", "import", "FILE", "--id", "second"], 1, "in the registry as coder"),
        (["model", "show", "codr"], 4, "there is no model 'codr'"),
        (["model", "verify", "codr"], 4, "there is no model 'codr'"),
        (["model", "remove", "codr"], 4, "there is no model 'codr'"),
        (["model", "load", "codr"], 4, "there is no model 'codr'"),
        (["model", "load", "coder"], 1, "does not answer"),
        (["model", "unload", "coder"], 1, "does not answer"),
        (["model", "import"], 2, "Missing argument"),
    ],
)
def test_errors_have_their_status_and_a_remedy(
    cli: Cli, file: Path, tmp_path: Path, words: list[str], status: int, said: str
) -> None:
    assert cli("model", "import", file) == 0
    before = Registry(cli.home.models).generation()
    paths = {"FILE": str(file), "OTHER": str(write_good(tmp_path / "other.gguf", 1))}
    found, message, hint = cli.refused(*[paths.get(word, word) for word in words])
    assert (found, said in message, bool(hint)) == (status, True, True), message
    assert Registry(cli.home.models).generation() == before
    if "codr" in message:
        assert "did you mean coder" in hint


def test_importing_needs_a_box(tmp_path: Path, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, message, hint = Cli(Home(tmp_path / "nowhere"), capsys).refused("model", "import", file)
    assert status == 4 and "there is no appliance in" in message and "appliance init" in hint
    assert not (tmp_path / "nowhere").exists()


def test_a_registry_that_is_no_folder_is_said_plainly(cli: Cli, file: Path) -> None:
    cli.home.models.rmdir()
    cli.home.models.write_text("")
    status, message, hint = cli.refused("model", "import", file)
    assert status == 1 and "cannot write to" in message and "writable" in hint


def test_verifying_all_names_every_one_that_is_broken(cli: Cli, file: Path, tmp_path: Path) -> None:
    for n, id in enumerate("abcd"):
        assert cli("model", "import", write_good(tmp_path / f"{id}.gguf", n)) == 0
    os.truncate(cli.home.models / "a" / "model.gguf", 10)
    (cli.home.models / "b" / "model.gguf").write_bytes(good(9))
    (cli.home.models / "c" / "card.json").write_text("{")
    assert cli("model", "verify") == 5
    assert "d: sound" in cli.out
    assert all(said in cli.err for said in ("a: model.gguf has 10 bytes", "b: model.gguf has SHA-256", "c: the card"))
    assert cli("model", "list") == 0 and "not listed: c" in cli.err


def test_an_import_says_what_it_left_out_what_it_used_again_and_what_the_machine_lacks(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_folder(tmp_path / "m")
    poor = "from models import confined, examine; examine.shut_in = lambda: ('network namespace',); examine.main()"
    monkeypatch.setattr(gate, "START", f"import sys; sys.path.insert(0, sys.argv[1]); {poor}")

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_model(folder, Registry(cli.home.models), progress=stop)
    assert cli("model", "list") == 0 and "unfinished: an import with 0 MB copied" in cli.err
    assert cli("model", "import", folder, "--licence", "MIT") == 0
    assert "not needed and left out: picture.png" in cli.err and "MB were copied before" in cli.err
    assert "without: network namespace (this machine does not offer it)" in cli.err
    imported = cli.json("model", "import", folder)
    assert imported["unconfined"] == ["network namespace"] and imported["left_out"] == ["picture.png"]
    assert cli("model", "show", "m") == 0 and "model.safetensors (0.0 MB)" in cli.out
    assert cli("model", "load", "m") == 1, "no engine here serves it, or none answers"


def test_an_adapter_goes_in_with_its_base_which_then_stays(cli: Cli, file: Path, tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "style")
    assert cli("model", "import", write_folder(tmp_path / "m")) == 0 and cli("model", "import", file) == 0
    for words, said in (
        ([adapter], "is an adapter"), ([adapter, "--base", "coder"], "a gguf model"),
        ([file, "--base", "m"], "no adapter"), ([adapter, "--base", "n"], "no model 'n'"),
    ):  # fmt: skip
        assert said in cli.refused("model", "import", *words)[1]
    card = cli.json("model", "import", adapter, "--base", "m")
    assert (card["id"], card["base"], card["format"], card["context_tokens"]) == ("style", "m", "lora", 4096)
    assert card["chat_template"] and cli("model", "verify", "style") == 0
    assert cli.refused("model", "remove", "m")[1] == "m is the base of style"
    assert cli("model", "remove", "style") == 0 and cli("model", "remove", "m") == 0


def test_an_adapter_that_is_served_goes_by_force_alone_and_its_base_is_not_unloaded(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli("model", "import", write_folder(tmp_path / "m")) == 0
    assert cli("model", "import", write_adapter(tmp_path / "style"), "--base", "m") == 0
    monkeypatch.setattr(model, "_loaded", lambda box: [{"model": name, "engine": "vllm"} for name in ("m", "style")])
    _, message, hint = cli.refused("model", "remove", "style")
    assert message == "style is loaded" and "unload m` first, or say --force" in hint
    assert cli("model", "remove", "style", "--force") == 0, "no engines process is asked: there is none"
    assert [card.id for card in Registry(cli.home.models).list()] == ["m"]


@pytest.mark.integration
def test_a_model_is_loaded_used_kept_from_removal_and_unloaded(cli: Cli, tmp_path: Path) -> None:
    assert cli("model", "import", write_tiny_llama(tmp_path / "tiny.gguf"), "--alias", "small") == 0
    with running_engines(cli.home) as engines:
        assert cli("model", "load", "small") == 0
        assert "tiny is ready (4 requests at once, 2048 tokens each)" in cli.out
        assert cli.json("model", "list")[0]["state"] == "ready"
        shown = cli.json("model", "show", "tiny")["engine"]
        assert shown["pid"] == engines.row("tiny")["pid"]
        assert cli("model", "show", "tiny") == 0 and "engine state" in cli.out and "api_key" not in cli.out
        status, message, hint = cli.refused("model", "remove", "tiny")
        assert (status, message) == (1, "tiny is loaded") and "--force" in hint
        assert cli("model", "unload", "small") == 0
        until(lambda: engines.client.engines() == [])
        assert cli.json("model", "load", "tiny")["state"] == "ready"
        assert cli("model", "remove", "tiny", "--force") == 0
        until(lambda: engines.client.engines() == [])
    assert Registry(cli.home.models).list() == ()


@pytest.mark.integration
def test_a_split_model_is_imported_by_its_folder_and_served(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    write_tiny_llama(tmp_path / "parts" / "tiny.gguf", split=15)
    (tmp_path / "parts" / "notes.bin").write_bytes(b"\1\0")
    assert cli("model", "import", tmp_path / "parts", "--task", "chat") == 0
    assert "tiny imported" in cli.out and "left out: notes.bin" in cli.err
    with running_engines(cli.home):
        assert cli("model", "load", "tiny") == 0 and "tiny is ready" in cli.out


@pytest.mark.integration
def test_loading_what_no_engine_can_run_tells_the_engines_reason(cli: Cli, file: Path) -> None:
    cli.home.settings_file.write_text("[engines]\nrestart_limit = 1\n")
    shaped = [*METADATA, number("llama.block_count", 1), number("llama.attention.head_count", 2)]
    file.write_bytes(assemble(shaped, TENSORS, 128 + 160))
    assert cli("model", "import", file) == 0
    with running_engines(cli.home):
        status, message, hint = cli.refused("model", "load", "coder")
    assert (
        status == 1
        and message.startswith("coder: ended with status 1: llama_model_load: error")
        and "engine-coder.log" in hint
    )


# -- what would fit ----------------------------------------------------------------------------------------------------


def test_show_tells_the_sums_and_the_contexts_that_would_fit(cli: Cli, tmp_path: Path) -> None:
    file = write_tiny_llama(tmp_path / "tiny.gguf")
    assert cli("model", "import", file) == 0
    fit = cli.json("model", "show", "tiny")["fit"]
    assert fit["fits"] and (fit["slots"], fit["context_tokens"], fit["engine"]) == (4, 2048, "llama.cpp")
    sums = {row["what"]: row["bytes"] for row in fit["need"]}
    # 4 layers, 2 heads of 64 for keys and for values, 2 bytes each: 2 KiB a token
    assert sums["cache"] == 4 * 2048 * 2048 and sums["together"] == sum(sums.values()) - sums["together"]
    assert fit["longest_context"]["1"] == 2048 and fit["free"]["ram_bytes"] > 0
    assert cli("model", "show", "tiny") == 0
    assert "4 × 2048 tokens × 4 layers × 256 numbers × 2 bytes (f16)" in cli.out
    assert "tiny fits into memory: it needs about" in cli.out and "1 at once: 2048 tokens / 2048 tokens" in cli.out


def test_show_says_why_it_does_not_know_what_would_fit(cli: Cli, file: Path) -> None:
    assert cli("model", "import", file) == 0
    assert "neither what it is nor how large" in cli.json("model", "show", "coder")["fit"]["problem"]
    assert cli("model", "show", "coder") == 0 and "would fit: not known" in cli.out


@pytest.mark.integration
def test_load_takes_context_slots_and_pin(cli: Cli, tmp_path: Path) -> None:
    assert cli("model", "import", write_tiny_llama(tmp_path / "tiny.gguf")) == 0
    with running_engines(cli.home):
        assert cli("model", "load", "tiny", "--context", "512", "--slots", "2", "--pin") == 0
        assert "tiny is ready (2 requests at once, 512 tokens each, pinned)" in cli.out
        status, message, hint = cli.refused("model", "load", "tiny", "--slots", "3")
        assert status == 1 and "loaded with 2 requests of 512 tokens" in message and "unload tiny" in hint
        assert cli.json("model", "load", "tiny", "--no-pin")["pinned"] is False
        assert cli.json("model", "show", "tiny")["fit"]["fits"]
        assert cli("model", "unload", "tiny") == 0
        until(lambda: cli("model", "load", "tiny", "--context", "99999") == 0)  # once it has left
        assert "note: tiny was made for 2048 tokens at most" in cli.err and "2048 tokens each" in cli.out
