"""llama.cpp's own server, from the wheel of llama-cpp-python: GGUF models, continuous batching, one model a process.

Nothing of it is loaded into our processes: a failed assertion in it ends the engine alone.
"""

from __future__ import annotations

import importlib.metadata
import signal
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from appliance.errors import Unavailable
from inference.engines.asking import ALIVE_SECONDS, ask, counts, fetch, is_ranking, is_vector
from inference.engines.devices import gpus_seen
from inference.engines.engine import Seat
from inference.engines.needs import MIB, PROMPT_CACHE, Need, Part, Wish, llamacpp_need
from inference.engines.reasons import LLAMACPP, explained
from inference.lifecycle import Patience
from models.card import Card
from models.shape import Shape

DISTRIBUTION = "llama-cpp-python"
ALL_LAYERS = "999"
"""More layers than any model has: those that are there go to the GPU."""
CUDA = 768 * MIB
"""On a GPU beside the model: 704 MiB on an H200, measured with a model of 564 MiB."""
WRITER = ("--jinja", "--cache-ram", str(PROMPT_CACHE // MIB))
PATIENT = ("--batch-size", "512")
"""On processors. The server ends a prompt whose caller has left, and lets others speak, between two batches only: its
usual 2,048 tokens burnt 2.8 s of CPU after a caller had gone, 512 take 0.65 s, and prompts are read no slower."""


class LlamaCpp:
    """`llama-server` for GGUF files."""

    kind = "llama.cpp"
    formats = frozenset({"gguf"})
    local = True
    death_signal = signal.SIGKILL
    # Many lines of a failed start say "failed to load model"; one says what was wrong with it.
    telling: tuple[str, ...] = ("error loading model:", "GGML_ASSERT", "GGML_ABORT", "terminate called")

    def __init__(self, program: str = "", gpu: bool = False) -> None:
        """`program` is the path of a llama-server, empty for the one that came with the wheel; `gpu` that it is built
        for GPUs."""
        self._program = program
        self._gpu = gpu

    def argv(self, seat: Seat) -> tuple[str, ...]:
        common = (
            str(find_server(self._program)),
            "--model", str(seat.weights), "--alias", seat.card.id,
            "--offline", "--host", "127.0.0.1", "--port", str(seat.port), "--api-key-file", str(seat.key_file),
            "--threads", str(seat.threads), "--threads-batch", str(seat.threads),
            "--parallel", str(seat.slots), "--ctx-size", str(seat.context_tokens * seat.slots),
            "--no-ui", "--no-slots", "--metrics", "--cors-origins", "localhost",
        )  # fmt: skip
        kept = ("--cache-type-k", seat.cache_type, "--cache-type-v", seat.cache_type)
        writer = (*WRITER, *kept, *(() if self._gpu and seat.gpus else PATIENT))
        return common + self._layers(seat) + (_embedder(seat) if seat.card.embeds else writer)

    def env(self, seat: Seat) -> Mapping[str, str]:
        # Not ours: variables like LLAMA_ARG_* would change the command.
        return {
            "PATH": "/usr/bin:/bin",
            "LC_ALL": "C.UTF-8",
            "HOME": str(seat.scratch),
            # Threads that wait for one another sleep instead of spinning. Spinning ones lose their cores to whatever
            # else runs here (tests, above all): 2 tokens a second instead of 90 beside one busy process, measured.
            "OMP_WAIT_POLICY": "passive",
            **(gpus_seen(seat.gpus) if self._gpu else {}),
        }

    def key(self, card: Card) -> str:  # noqa: ARG002 - one for all engines
        return ""

    def patience(self, usual: Patience) -> Patience:
        # One that computes answers its health from another thread: a minute of silence is not work.
        return replace(usual, alive_seconds=10.0, alive_misses=4)

    def explain(self, said: str) -> str:
        return explained(said, LLAMACPP)

    def answers(self, seat: Seat) -> bool:
        if seat.card.ranks:
            return is_ranking(ask(seat, "/v1/rerank", {"query": "a", "documents": ["a"], "model": seat.card.id}))
        if seat.card.embeds:
            return is_vector(ask(seat, "/v1/embeddings", {"input": "ready"}), seat.card.embedding_length)
        answer = ask(seat, "/completion", {"prompt": "1", "n_predict": 1, "cache_prompt": False})
        return answer.get("tokens_evaluated", 0) >= 1 and "content" in answer

    def alive(self, seat: Seat) -> bool:
        return bool(fetch(seat, "GET", "/health", seconds=ALIVE_SECONDS))

    def busy(self, seat: Seat) -> bool:
        return counts(seat, "llamacpp:requests_processing|llamacpp:requests_deferred")

    def on_gpu(self) -> bool:
        return self._gpu

    def _layers(self, seat: Seat) -> tuple[str, ...]:
        """All of the model on the GPUs of its place, the same share on each; none of it where it has no place there."""
        if not self._gpu:
            return ()
        if not seat.gpus:
            return ("--n-gpu-layers", "0")
        split = ("--split-mode", "layer", "--tensor-split", ",".join("1" * len(seat.gpus)))
        return ("--n-gpu-layers", ALL_LAYERS, *(split if len(seat.gpus) > 1 else ("--split-mode", "none")))

    def need(self, card: Card, shape: Shape | None, wish: Wish, gpus: int) -> Need:
        if shape is None:
            return Need((Part("weights", card.size_bytes, "as stored"),))
        whole = llamacpp_need(shape, wish)
        if not gpus:
            return whole
        # The server itself and the prompts it keeps stay in RAM; each GPU has buffers for whole tokens.
        shared = f" ÷ {gpus} GPUs" if gpus > 1 else ""
        parts = [
            part if part.what == "compute" else Part(part.what, -(-part.bytes // gpus), part.how + shared)
            for part in whole.parts
            if part.what not in ("prompts", "server")
        ]
        return Need((*parts, Part("driver", CUDA, "CUDA context, kernels and workspace, about")))


def find_server(program: str = "") -> Path:
    """The `llama-server` to run, found without loading the package. Raises Unavailable."""
    if program:
        found = Path(program)
        hint = "correct engines.llama_server in the settings"
    else:
        found = _in_wheel()
        hint = f"`make run` installs it; by hand: install the {DISTRIBUTION} wheel of the wheelhouse"
    if not found.is_file():
        raise Unavailable(f"there is no llama-server at {found}", hint)
    return found


def _in_wheel() -> Path:
    try:
        return Path(str(importlib.metadata.distribution(DISTRIBUTION).locate_file("bin/llama-server")))
    except importlib.metadata.PackageNotFoundError:
        return Path("bin/llama-server")


def _embedder(seat: Seat) -> tuple[str, ...]:
    """A text of an encoder goes through in one piece, so the batch is as long as the context."""
    batch = str(seat.context_tokens)
    purpose = ("--rerank",) if seat.card.ranks else ("--embedding", "--pooling", seat.card.pooling or "mean")
    return (*purpose, "--batch-size", batch, "--ubatch-size", batch)
