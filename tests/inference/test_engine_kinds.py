"""What each kind of engine is started with, what the ends of their logs mean, and what is told of other answers."""

from __future__ import annotations

import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from appliance.errors import Unavailable, UsageError
from inference.engines import asking
from inference.engines.engine import Adapter, Rest, Seat
from inference.engines.llamacpp import LlamaCpp
from inference.engines.lora import measured
from inference.engines.needs import FRAMEWORK, Adapters, Wish
from inference.engines.reasons import LLAMACPP, VLLM, Reason, explained
from inference.engines.remote import Offer, RemoteServer, checked_url, chosen, read_key
from inference.engines.usage import gpu_bytes_in, log_lines, use_of
from inference.engines.vllm import OFFLINE, Vllm
from inference.lifecycle import Patience
from models.card import Card, Remote
from models.shape import Shape
from tests.inference.tiny_folder import write_tiny_adapter

SHAPE = Shape(
    architecture="llama", layers=4, width=256, heads=4, kv_heads=(2,) * 4, windows=(0,) * 4, key_size=64,
    value_size=64, vocabulary=262, weight_bytes=5 << 20,
)  # fmt: skip


def card(**known: object) -> Card:
    usual = {
        "id": "m", "format": "safetensors", "architecture": "llama", "parameters": 1, "context_tokens": 2048,
        "embedding_length": 8, "quantisation": "F16", "sha256": "a" * 64, "size_bytes": 1, "tasks": ("chat",),
        "tools": "hermes",
    }  # fmt: skip
    return Card.model_validate({**usual, **known})


def seat(**known: object) -> Seat:
    usual: dict[str, object] = {
        "card": card(), "weights": Path("/models/m"), "port": 4000, "key": "secret", "key_file": Path("/run/m.key"),
        "threads": 2, "slots": 4, "context_tokens": 1024, "scratch": Path("/run"),
    }  # fmt: skip
    return Seat(**{**usual, **known})  # type: ignore[arg-type]


def options(argv: tuple[str, ...]) -> dict[str, str]:
    """Each option with the word after it."""
    return {word: after for word, after in zip(argv, [*argv[1:], ""], strict=True) if word.startswith("--")}


@pytest.fixture
def vllm() -> Vllm:
    return Vllm(sys.executable)


def test_vllm_is_spread_over_the_gpus_of_its_place_and_sees_no_others(vllm: Vllm) -> None:
    placed = seat(gpus=(1, 3), gpu_share=0.42)
    told = options(vllm.argv(placed))
    assert (told["--tensor-parallel-size"], told["--gpu-memory-utilization"]) == ("2", "0.42")
    assert (told["--max-model-len"], told["--max-num-seqs"], told["--port"]) == ("1024", "4", "4000")
    assert told["--tool-call-parser"] == "hermes" and told["--host"] == "127.0.0.1"
    env = vllm.env(placed)
    assert (env["CUDA_VISIBLE_DEVICES"], env["CUDA_DEVICE_ORDER"]) == ("1,3", "PCI_BUS_ID")
    assert "--pipeline-parallel-size" not in told and "--enforce-eager" not in told


def test_vllm_can_reach_nothing_and_reports_nothing(vllm: Vllm) -> None:
    env = vllm.env(seat())
    for switch in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "VLLM_NO_USAGE_STATS", "DO_NOT_TRACK"):
        assert OFFLINE[switch] == env[switch] == "1"
    assert "VLLM_SERVER_DEV_MODE" not in env, "its doors for developers want no key"
    assert env["VLLM_API_KEY"] == "secret" and "secret" not in " ".join(vllm.argv(seat()))


def test_vllm_may_sleep_on_gpus_of_one_machine_when_it_is_told_so(vllm: Vllm) -> None:
    sleeper, shape = Vllm(sys.executable, sleeps=True), SHAPE
    assert "--enable-sleep-mode" in sleeper.argv(seat(gpus=(0,))) and sleeper.env(seat())["VLLM_SERVER_DEV_MODE"] == "1"
    assert sleeper.rest(seat(), shape, 2) == Rest(shape.weight_bytes + 2 * FRAMEWORK, FRAMEWORK)
    for kind, placed in (
        (vllm, seat(gpus=(0,))), (Vllm(sys.executable, gpu=False, sleeps=True), seat()), (sleeper, seat(nodes=2)),
    ):  # fmt: skip
        assert "--enable-sleep-mode" not in kind.argv(placed) and "VLLM_SERVER_DEV_MODE" not in kind.env(placed)
        assert kind.rest(placed, shape, 1) is None


def test_vllm_over_several_machines_goes_through_ray() -> None:
    spread = Vllm(sys.executable, ray_address="10.0.0.1:6379")
    placed = seat(nodes=3, gpus=(0, 1))
    told = options(spread.argv(placed))
    assert (told["--pipeline-parallel-size"], told["--distributed-executor-backend"]) == ("3", "ray")
    assert spread.env(placed)["RAY_ADDRESS"] == "10.0.0.1:6379" and "VLLM_HOST_IP" not in spread.env(placed)


def test_vllm_on_processors_is_told_its_threads_and_whole_gibibytes_of_cache() -> None:
    engine = Vllm(sys.executable, gpu=False)
    env = engine.env(seat(cache_bytes=(1 << 30) + 1))
    assert (env["VLLM_CPU_KVCACHE_SPACE"], env["OMP_NUM_THREADS"]) == ("2", "2")
    assert "--enforce-eager" in engine.argv(seat()) and "CUDA_VISIBLE_DEVICES" not in env
    parts = {part.what: part.bytes for part in engine.need(card(), SHAPE, Wish(4, 1024), 0).parts}
    assert parts["cache"] == 1 << 30 and parts["framework"] > 2 << 30 and not engine.on_gpu()


def test_vllm_serves_adapters_by_name_with_the_highest_of_their_ranks(vllm: Vllm, tmp_path: Path) -> None:
    small, large = (write_tiny_adapter(tmp_path / str(rank), layers=1, width=16, rank=rank) for rank in (4, 20))
    argv = vllm.argv(seat(adapters=(Adapter("style", small, ""), Adapter("law", large, ""))))
    assert "--enable-lora" in argv and options(argv)["--max-lora-rank"] == "32"
    at = argv.index("--lora-modules")
    assert argv[at + 1 : at + 3] == (f"style={small}", f"law={large}")
    assert options(argv)["--lora-target-modules"] == "down_proj", "no room for matrices that none of them changes"


def test_adapters_count_in_the_memory_of_their_base(vllm: Vllm, tmp_path: Path) -> None:
    small, large = (write_tiny_adapter(tmp_path / str(rank), layers=1, width=16, rank=rank) for rank in (4, 20))
    own = measured((Adapter("style", small, ""), Adapter("law", large, "")))
    assert own == Adapters(at_once=2, rank=32, numbers=16 + 2 * 16, stored=(4 + 20) * (16 + 2 * 16))
    bare, with_them = ({p.what: p for p in vllm.need(card(), SHAPE, Wish(4, 1024, "f16", one), 2).parts}
                       for one in (None, own))  # fmt: skip
    assert with_them.keys() - bare.keys() == {"adapters"} and with_them["adapters"].bytes == 2 * 32 * 48 * 2
    assert with_them["adapters"].how == "2 × rank 32 × 48 numbers × 2 bytes"
    on_processors = Vllm(sys.executable, gpu=False).need(card(), SHAPE, Wish(4, 1024, "f16", own), 0)
    in_ram = {part.what: part.bytes for part in on_processors.parts}
    assert in_ram["spare adapters"] == 2 * 24 * 48 and measured(()) is None


def test_an_adapter_that_names_its_matrices_by_a_pattern_gets_room_for_all(vllm: Vllm, tmp_path: Path) -> None:
    folder = write_tiny_adapter(tmp_path, layers=1, width=16)
    config = folder / "adapter_config.json"
    config.write_text(config.read_text().replace('["down_proj"]', '"all-linear"'))
    assert "--lora-target-modules" not in vllm.argv(seat(adapters=(Adapter("style", folder, ""),)))


@pytest.mark.parametrize(("tasks", "words"), [(("embedding",), "embed"), (("rerank",), "classify")])
def test_vllm_serves_encoders_as_what_they_are(vllm: Vllm, tasks: tuple[str, ...], words: str) -> None:
    told = options(vllm.argv(seat(card=card(tasks=tasks, architecture="bert"))))
    assert (told["--runner"], told["--convert"]) == ("pooling", words) and "--tool-call-parser" not in told
    assert "--max-model-len" not in told, "vLLM knows better how much an encoder takes"


def test_without_vllm_the_way_out_is_named() -> None:
    with pytest.raises(Unavailable, match="no vLLM") as caught:
        Vllm("").argv(seat())
    assert "engines.vllm" in caught.value.hint
    with pytest.raises(Unavailable, match="/no/python"):
        Vllm("/no/python").argv(seat())


@pytest.mark.parametrize(
    ("gpus", "wanted", "unwanted"),
    [
        ((), ("--n-gpu-layers", "0"), "--tensor-split"),
        ((2,), ("--n-gpu-layers", "999", "--split-mode", "none"), "--tensor-split"),
        ((0, 1), ("--n-gpu-layers", "999", "--split-mode", "layer", "--tensor-split", "1,1"), "none"),
    ],
)
def test_llamacpp_built_for_gpus_puts_its_layers_where_placement_says(
    gpus: tuple[int, ...], wanted: tuple[str, ...], unwanted: str
) -> None:
    engine = LlamaCpp(sys.executable, gpu=True)
    placed = seat(card=card(format="gguf"), gpus=gpus)
    argv = engine.argv(placed)
    at = argv.index("--n-gpu-layers")
    assert argv[at : at + len(wanted)] == wanted and unwanted not in argv
    assert engine.env(placed)["CUDA_VISIBLE_DEVICES"] == ",".join(map(str, gpus)) and engine.on_gpu()


def test_llamacpp_on_gpus_needs_its_share_of_each_and_the_driver_but_no_room_for_prompts() -> None:
    engine, wish = LlamaCpp(sys.executable, gpu=True), Wish(4, 1024)
    in_ram, one, two = ({p.what: p.bytes for p in engine.need(card(), SHAPE, wish, n).parts} for n in (0, 1, 2))
    assert one.keys() == {"weights", "cache", "compute", "driver"} and {"prompts", "server"} <= in_ram.keys()
    assert (two["weights"], two["cache"]) == (one["weights"] // 2, one["cache"] // 2)
    assert two["compute"] == one["compute"] == in_ram["compute"] and two["driver"] > 512 << 20


def test_llamacpp_built_for_processors_is_told_nothing_of_gpus() -> None:
    engine = LlamaCpp(sys.executable)
    assert "--n-gpu-layers" not in engine.argv(seat(card=card(format="gguf")))
    assert "CUDA_VISIBLE_DEVICES" not in engine.env(seat()) and not engine.on_gpu()


@pytest.mark.parametrize(
    ("reasons", "line", "words"),
    [
        (LLAMACPP, "error loading model: unknown model architecture: 'qwen9'", "does not know the architecture qwen9"),
        (LLAMACPP, "llama_model_load: error: missing tensor 'output.weight'", "output.weight is missing"),
        (LLAMACPP, "error loading model: check_tensor_dims: tensor 'a.weight' not found", "a.weight is missing"),
        (LLAMACPP, "check_tensor_dims: tensor 'a.weight' has wrong shape; expected", "a.weight has not the size"),
        (LLAMACPP, "model load: tensor 'a' data is not within the file bounds, model is corrupted", "cut short"),
        (
            LLAMACPP,
            "ggml_backend_cuda_buffer_type_alloc_buffer: cudaMalloc failed: out of memory",
            "GPU's memory is full",
        ),
        (LLAMACPP, "terminate called after throwing an instance of 'std::bad_alloc'", "memory is full"),
        (LLAMACPP, "gguf_init_from_file: invalid magic characters: 'PK', expected 'GGUF'", "no GGUF"),
        (VLLM, "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB", "GPU's memory is full"),
        (
            VLLM,
            "ValueError: Free memory on device cuda:0 (3.1/79.2 GiB) on startup is less than desired GPU memory",
            "only 3.1 of 79.2 GiB are free",
        ),
        (
            VLLM,
            "ValueError: To serve at least one request with the models's max seq len (40960), (5.6 GiB KV cache is "
            "needed, which is larger than the available KV cache memory (1.2 GiB)",
            "no room for one request",
        ),
        (
            VLLM,
            "Value error, User-specified max_model_len (999999) is greater than the derived max_model_len "
            "(max_position_embeddings=2048.0",
            "has 2048 tokens, and 999999 are asked for",
        ),
        (VLLM, "Total number of attention heads (14) must be divisible by tensor parallel size (4)", "its 14 heads"),
        (VLLM, "Model architectures ['XForCausalLM'] are not supported for now", "'XForCausalLM'"),
        (VLLM, "ModuleNotFoundError: No module named 'torch'", "lacks the Python package torch"),
        (VLLM, "RuntimeError: Failed to infer device type", "finds no GPU"),
        (VLLM, "please pass the argument trust_remote_code=True to allow custom code", "runs no code"),
    ],
)
def test_common_ends_are_put_into_words(reasons: tuple[Reason, ...], line: str, words: str) -> None:
    assert words in explained(f"loading\nsomething else\n{line}\nTraceback (most recent call last)", reasons)


def test_an_end_that_nobody_knows_is_left_to_the_log() -> None:
    assert explained("all is well\nKilled", LLAMACPP) == explained("", VLLM) == ""


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("http://10.1.2.3:8000/v1/", "http://10.1.2.3:8000"), ("https://gpu1.example/", "https://gpu1.example"),
        ("https://gpu1.example/llm/v1", "https://gpu1.example/llm"),
    ],
)  # fmt: skip
def test_an_address_is_kept_without_the_apis_own_path(given: str, kept: str) -> None:
    assert checked_url(given) == kept


@pytest.mark.parametrize(
    "given", ["gpu1:8000", "ftp://x", "http://", "http://x:port", "http://me:pw@x", "http://x?a=b"]
)
def test_what_is_no_address_is_refused(given: str) -> None:
    with pytest.raises(UsageError, match="not the address"):
        checked_url(given)


def test_the_only_model_of_a_server_needs_no_name() -> None:
    one, two = Offer("a", 100), Offer("b")
    assert chosen((one,), "") is one and chosen((one, two), "b") is two
    with pytest.raises(UsageError, match="no model 'c'") as caught:
        chosen((one, two), "c")
    assert caught.value.hint.endswith("it has a, b")
    with pytest.raises(UsageError, match="has 2 models"):
        chosen((one, two), "")


def test_a_key_file_holds_one_key(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("abc\n")
    assert read_key(str(file)) == "abc" and read_key("") == ""
    for wrong in ("", "two words", "schlüssel"):
        file.write_text(wrong)
        with pytest.raises(Unavailable, match="key"):
            read_key(str(file))
    with pytest.raises(Unavailable, match="cannot be read"):
        read_key(str(tmp_path / "none"))


def test_a_server_elsewhere_is_never_given_up_and_asked_often() -> None:
    far = card(format="remote", remote=Remote(url="https://far.example", name="their-name", ca_file="/ca.pem"))
    placed = seat(card=far)
    assert (placed.url, placed.served_as, placed.ca_file) == ("https://far.example", "their-name", "/ca.pem")
    patience = RemoteServer().patience(Patience(start_seconds=120, restart_limit=5, drain_seconds=30))
    assert patience.restart_limit > 10**6 and 0 < patience.alive_seconds <= 5 and patience.drain_seconds == 0
    assert RemoteServer().argv(placed) is None and RemoteServer().need(far, None, Wish(1, 1), 0).bytes == 0


def test_what_an_engine_takes_is_seen() -> None:
    use = use_of(os.getpid())
    assert use["processes"] >= 1 and use["ram_bytes"] > 1 << 20 and use["cpu_seconds"] > 0
    assert use_of(None)["processes"] == 0
    listed = "12, GPU-a, 100\n13, GPU-a, 50\n12, GPU-b, 1\n99, GPU-a, 7\nno, line\n14, GPU-a, [N/A]\n"
    assert gpu_bytes_in(listed, {12, 13, 14}) == {"GPU-a": 150 << 20, "GPU-b": 1 << 20}


def test_the_end_of_a_log_is_told_in_lines(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_text("".join(f"0.00.{n:03}.000 I line {n}\n\n" for n in range(100)))
    lines = log_lines(log)
    assert lines[-1] == "line 99" and len(lines) == 20 and log_lines(tmp_path / "none") == []
    assert json.dumps(lines)


PAGE = b"<!DOCTYPE html><html><head><title>502 Bad Gateway\n</title></head><body><h1>nginx</h1></body></html>"


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (502, PAGE, r"with status 502: a web page \(502 Bad Gateway\)$"),
        (502, b" <html>", "with status 502: a web page$"),
        (500, b'{"error": {"message": "out of memory"}}', "with status 500: out of memory$"),
        (500, b"plain words", "with status 500: plain words$"),
        (200, b"[" * 100, "something that is no JSON$"),
        (200, b'{"a": "' + b"x" * 2**20 + b'"}', "something that is no JSON$"),
    ],
    ids=["page", "page without a title", "error", "words", "no JSON", "endless"],
)
def test_what_is_no_answer_is_told_in_a_line(
    status: int, body: bytes, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Server(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    monkeypatch.setattr(asking, "LONGEST", 2**16)
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(Unavailable, match=told):
            asking.ask(seat(port=server.server_port), "/v1/x", {})
        server.shutdown()
