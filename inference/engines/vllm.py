"""vLLM's OpenAI-compatible server: safetensors models on GPUs, one or several, or on processors with its CPU build.

It lives in an environment of its own, which `engines.vllm` names: nothing of it is loaded into our processes. It gets
no network: whatever it would fetch or report is switched off. It listens on the loopback alone, and a guard of ours in
its server (`within_vllm`) wants the key on every path, because vLLM itself asks for it under /v1 only.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from appliance.errors import Unavailable
from inference import keep
from inference.engines import lora
from inference.engines.asking import ALIVE_SECONDS, ask, counts, fetch, is_ranking, is_vector
from inference.engines.devices import gpus_seen
from inference.engines.engine import Rest, Seat
from inference.engines.needs import FRAMEWORK, MIB, Need, Part, Wish, vllm_need
from inference.engines.reasons import VLLM, explained
from inference.lifecycle import Patience
from models.card import Card
from models.shape import Shape

SERVER = "vllm.entrypoints.openai.api_server"
KEEPER = Path(keep.__file__)
WITHIN = Path(__file__).with_name("within_vllm")
GUARD = "appliance_guard.Guard"
CACHES = {"f16": "auto", "bf16": "auto", "fp8": "fp8"}
"""Our names of how keys and values are kept → vLLM's; "auto" is the model's own 16 bits."""
STARTED = 4.0
"""How many times longer than a llama-server it takes to be ready: it imports, compiles and warms up."""
STOPPED = 15.0
"""Seconds it gets to end its processes one by one; a llama-server needs less."""
NAP_SECONDS = 120.0
"""For all weights to go to RAM, or to come back from it."""
IN_RAM = 3072 * MIB
"""Of the CPU build with a tiny model: three processes with PyTorch in each, measured."""
GIB = 1 << 30
OFFLINE = {
    "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1",
    "VLLM_NO_USAGE_STATS": "1", "VLLM_DO_NOT_TRACK": "1", "DO_NOT_TRACK": "1", "VLLM_USE_MODELSCOPE": "0",
    "VLLM_PLUGINS": "", "RAY_USAGE_STATS_ENABLED": "0",
}  # fmt: skip
"""It asks a hub even about local files, and reports what it runs, unless told not to."""


class Vllm:
    """vLLM for folders of safetensors."""

    kind = "vllm"
    formats = frozenset({"safetensors"})
    local = True
    death_signal = keep.END_ALL
    telling: tuple[str, ...] = ("ValueError:", "RuntimeError:", "OSError:", "ImportError:", "Error:")

    def __init__(self, program: str, gpu: bool = True, ray_address: str = "", sleeps: bool = False) -> None:
        """`program` is the path of a Python that has vLLM; `ray_address` that of the Ray cluster for several nodes;
        `sleeps` that models on GPUs are to be put to sleep when they make room."""
        self._program = program
        self._gpu = gpu
        self._ray = ray_address
        self._sleeps = sleeps

    def argv(self, seat: Seat) -> tuple[str, ...]:
        return (
            sys.executable, "-I", "-S", str(KEEPER), str(find_python(self._program)), "-m", SERVER,
            "--model", str(seat.weights), "--served-model-name", seat.card.id,
            "--host", "127.0.0.1", "--port", str(seat.port), "--disable-uvicorn-access-log",
            "--middleware", GUARD,
            "--max-num-seqs", str(seat.slots), *_context(seat),
            "--kv-cache-dtype", CACHES.get(seat.cache_type, "auto"),
            *_purpose(seat.card), *lora.options(seat.adapters), *self._device(seat),
        )  # fmt: skip

    def env(self, seat: Seat) -> Mapping[str, str]:
        own = {
            "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "HOME": str(seat.scratch), "PYTHONUNBUFFERED": "1",
            "PYTHONPATH": str(WITHIN), "VLLM_API_KEY": seat.key, "VLLM_HOST_IP": "127.0.0.1", **OFFLINE,
        }  # fmt: skip
        if seat.nodes > 1:
            del own["VLLM_HOST_IP"]  # the other nodes must reach this one
            own["RAY_ADDRESS"] = self._ray
        if self._may_sleep(seat):
            own["VLLM_SERVER_DEV_MODE"] = "1"  # the only way to its doors for sleep; the guard shuts the others
        if self._gpu:
            return own | gpus_seen(seat.gpus)
        threads = str(max(1, seat.threads))
        return own | {
            "VLLM_CPU_KVCACHE_SPACE": str(_cache_gib(seat.cache_bytes)), "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, "KMP_BLOCKTIME": "1", "OMP_WAIT_POLICY": "passive",
        }  # fmt: skip

    def key(self, card: Card) -> str:  # noqa: ARG002 - one for all engines
        return ""

    def patience(self, usual: Patience) -> Patience:
        return replace(
            usual, start_seconds=STARTED * usual.start_seconds, stop_seconds=STOPPED, alive_seconds=10.0, alive_misses=4
        )

    def explain(self, said: str) -> str:
        return explained(said, VLLM)

    def answers(self, seat: Seat) -> bool:
        if seat.card.ranks:
            return is_ranking(ask(seat, "/v1/rerank", {"query": "a", "documents": ["a"], "model": seat.card.id}))
        if seat.card.embeds:
            return is_vector(ask(seat, "/v1/embeddings", {"input": "ready", "model": seat.card.id}))
        answer = ask(seat, "/v1/completions", {"prompt": "1", "max_tokens": 1, "model": seat.card.id})
        return bool((answer.get("usage") or {}).get("completion_tokens"))

    def alive(self, seat: Seat) -> bool:
        fetch(seat, "GET", "/health", seconds=ALIVE_SECONDS)  # raises unless it answers 200; the body is empty
        return True

    def busy(self, seat: Seat) -> bool:
        return counts(seat, "vllm:num_requests_running|vllm:num_requests_waiting")

    def rest(self, seat: Seat, shape: Shape | None, gpus: int) -> Rest | None:
        if shape is None or not self._may_sleep(seat):
            return None
        # With the weights go what kernels and graphs had; contexts and buffers between GPUs stay where they are.
        return Rest(shape.weight_bytes + gpus * FRAMEWORK, FRAMEWORK)

    def sleep(self, seat: Seat) -> None:
        # Level 1, weights to RAM: from level 2 it wakes only by running methods of its workers, a door that is shut.
        # "wait", because else it ends the calls in flight with half an answer that looks like a whole one.
        fetch(seat, "POST", "/sleep?level=1&mode=wait", seconds=NAP_SECONDS)

    def wake(self, seat: Seat) -> None:
        fetch(seat, "POST", "/wake_up", seconds=NAP_SECONDS)

    def on_gpu(self) -> bool:
        return self._gpu

    def need(self, card: Card, shape: Shape | None, wish: Wish, gpus: int) -> Need:
        if shape is None:
            return Need((Part("weights", card.size_bytes, "as stored"),))
        whole = vllm_need(shape, wish, max(1, gpus))
        if gpus:
            return whole
        cache = _cache_gib(whole.cache_bytes)
        kept = [part for part in whole.parts if part.what in ("weights", "compute", "adapters")]
        if wish.adapters:
            kept.append(Part("spare adapters", 2 * wish.adapters.stored, "all of them, kept to take turns"))
        framework = Part("framework", IN_RAM, "three processes with PyTorch, about")
        return Need((*kept, Part("cache", cache * GIB, f"{cache} GiB, set aside in whole ones"), framework))

    def _may_sleep(self, seat: Seat) -> bool:
        # Its build for processors has the doors and keeps its memory; over several machines nobody counts their RAM.
        return self._sleeps and self._gpu and seat.nodes == 1

    def _device(self, seat: Seat) -> tuple[str, ...]:
        if not self._gpu:
            return ("--enforce-eager",)  # compiling takes a minute and gains little on processors
        count = max(1, len(seat.gpus))
        return (
            "--gpu-memory-utilization", f"{seat.gpu_share or 0.9:.2f}", "--tensor-parallel-size", str(count),
            *(("--pipeline-parallel-size", str(seat.nodes), "--distributed-executor-backend", "ray")
              if seat.nodes > 1 else ()),
            *(("--enable-sleep-mode",) if self._may_sleep(seat) else ()),
        )  # fmt: skip


def find_python(program: str) -> Path:
    """The Python that has vLLM. Raises Unavailable."""
    if not program:
        raise Unavailable(
            "this box has no vLLM, which serves safetensors models",
            "install vLLM into an environment of its own and name its Python in engines.vllm, or import a GGUF file",
        )
    if not Path(program).is_file():
        raise Unavailable(f"there is no Python with vLLM at {program}", "correct engines.vllm in the settings")
    return Path(program)


def _context(seat: Seat) -> tuple[str, ...]:
    # Encoders keep nothing, and many take less than their configuration says: another of their files has the limit.
    return () if seat.card.embeds else ("--max-model-len", str(seat.context_tokens))


def _purpose(card: Card) -> tuple[str, ...]:
    if card.ranks:
        return ("--runner", "pooling", "--convert", "classify")
    if card.embeds:
        return ("--runner", "pooling", "--convert", "embed")
    known = card.tools not in ("", "generic")
    return ("--enable-auto-tool-choice", "--tool-call-parser", card.tools) if known else ()


def _cache_gib(needed: int) -> int:
    """Whole GiB for keys and values on processors: the unit in which the CPU build is told."""
    return max(1, math.ceil(needed / GIB))
