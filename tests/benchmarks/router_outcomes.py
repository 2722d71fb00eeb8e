"""RouteLLM's MMLU outcomes (a weak and a strong model), the vectors of their prompts, and the metrics of the yardstick.

The vectors come from the default embedder, as converted by `models.minilm`, on the real llama-server. They take a
quarter of an hour of one core, so they are kept in a file named by the digest of all that they depend on.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import secrets
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
from numpy.typing import NDArray

from appliance.policy import CHARACTERS
from inference.engines.llamacpp import find_server
from models.minilm import convert, find_weights

WEAK, STRONG = "mistralai/Mixtral-8x7B-Instruct-v0.1", "gpt-4-1106-preview"
BATCH = 16
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Outcomes:
    """Prompts, and whether the weak and the strong model were right (rows × 2)."""

    prompts: Sequence[str]
    right: Array


def read(folder: Path) -> Outcomes:
    """The table without the prompts that the published routers may have been trained on."""
    with (folder / "mmlu" / "contaminated_prompts.jsonl").open(encoding="utf-8") as lines:
        known = {json.loads(line)["eval_prompt"] for line in lines}
    prompts, right = [], []
    for file in sorted((folder / "mmlu" / "responses").glob("*.csv")):
        with file.open(encoding="utf-8", newline="") as source:
            for row in csv.DictReader(source):
                if row["prompt"] not in known:
                    prompts.append(row["prompt"])
                    right.append((row[WEAK] == "True", row[STRONG] == "True"))
    return Outcomes(prompts, np.array(right, dtype=np.float64))


def vectors(prompts: Sequence[str], cache: Path) -> NDArray[np.float32]:
    """A vector for each prompt's beginning, from the cache or from the embedder."""
    with tempfile.TemporaryDirectory() as made:
        model = Path(made) / "model.gguf"
        convert(find_weights(), model)
        sha = hashlib.sha256(model.read_bytes())
        texts = [prompt[:CHARACTERS] for prompt in prompts]
        sha.update(json.dumps(texts).encode())
        kept = cache / f"vectors-{sha.hexdigest()[:24]}.npy"
        if kept.is_file():
            found: NDArray[np.float32] = np.load(kept)
            return found
        print(f"embedding {len(texts)} prompts, a quarter of an hour on one core …", flush=True)
        found = np.array(list(_embedded(texts, model)), dtype=np.float32)
    cache.mkdir(parents=True, exist_ok=True)
    part = kept.with_suffix(f".{os.getpid()}.part.npy")
    np.save(part, found)
    part.replace(kept)
    return found


def _embedded(texts: Sequence[str], model: Path) -> Iterator[list[float]]:
    with serving(model) as client:
        for first in range(0, len(texts), BATCH):
            answer = client.post("/v1/embeddings", json={"input": list(texts[first : first + BATCH])})
            answer.raise_for_status()
            rows = sorted(answer.json()["data"], key=lambda row: int(row["index"]))
            yield from (row["embedding"] for row in rows)


@contextmanager
def serving(model: Path) -> Iterator[httpx.Client]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    key = secrets.token_hex(16)
    command = [
        str(find_server()), "--model", str(model), "--offline", "--host", "127.0.0.1", "--port", str(port),
        "--embedding", "--pooling", "mean", "--threads", "1", "--parallel", "4", "--ctx-size", "2048",
        "--batch-size", "2048", "--ubatch-size", "2048", "--no-ui", "--api-key", key,
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with httpx.Client(
            base_url=f"http://127.0.0.1:{port}",
            timeout=120,
            trust_env=False,
            headers={"Authorization": f"Bearer {key}"},
        ) as client:
            for _ in range(300):
                try:
                    if client.get("/health").is_success:
                        break
                except httpx.TransportError:
                    pass
                time.sleep(0.1)
            yield client
    finally:
        process.kill()
        process.wait()


def metrics(score: Array, right: Array) -> Array:
    """APGR, CPT(50 %) and CPT(80 %) of a router that sends the prompts with the highest scores to the strong model."""
    thresholds = np.quantile(score, np.linspace(0, 1, 11))
    thresholds[-1] = np.inf
    sent = [score >= threshold for threshold in thresholds[::-1]]
    share = np.array([one.mean() for one in sent])
    accuracy = np.array([np.where(one, right[:, 1], right[:, 0]).mean() for one in sent])
    weak, strong = right.mean(axis=0)
    area = float((np.diff(share) * (accuracy[1:] + accuracy[:-1]) / 2).sum())
    return np.array(
        [(area - weak) / (strong - weak), *(_reached(share, accuracy, weak, strong, q) for q in (0.5, 0.8))]
    )


def _reached(share: Array, accuracy: Array, weak: float, strong: float, part: float) -> float:
    """The share of strong calls, in per cent, at which so much of the strong model's gain is reached."""
    wanted = weak + part * (strong - weak)
    at = int(np.argmax(accuracy >= wanted))
    if at == 0:
        return 0.0
    step = (wanted - accuracy[at - 1]) / (accuracy[at] - accuracy[at - 1])
    return 100 * float(share[at - 1] + step * (share[at] - share[at - 1]))
