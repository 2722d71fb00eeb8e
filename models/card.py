"""The card of a model: what it is, where it comes from, and what it may do. Kept beside the weights as `card.json`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime

from pydantic import Field

from appliance.errors import UsageError
from appliance.work import Noun, utcnow
from models.gguf import Header

TASKS = ("chat", "embedding", "repair", "review", "triage", "rerank")
"""What a model can be admitted for. `repair`, `review` and `triage` are never guessed from a file."""
ENCODERS = frozenset(
    {"bert", "jina-bert-v2", "jina-bert-v3", "modern-bert", "neo-bert", "nomic-bert", "nomic-bert-moe"}
)
"""Architectures that turn text into vectors and cannot write."""
POOLING = {0: "", 1: "mean", 2: "cls", 3: "last", 4: "rank"}
"""The number under `<architecture>.pooling_type` and llama-server's word for it."""
RESERVED = frozenset({"auto", "search"})
"""Names the router uses itself."""
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


class Card(Noun):
    """One model of the box."""

    id: str = Field(description="the name clients use")
    file: str = Field("model.gguf", description="the weights, in the card's own folder")
    format: str = Field("gguf", description="which reader and which engines understand it")
    architecture: str
    parameters: int = Field(description="weights, counted from the tensors")
    context_tokens: int = Field(description="longest context it was trained for")
    embedding_length: int
    quantisation: str = Field(description="the tensor type that holds most weights")
    licence: str = Field("unknown", description="SPDX name where there is one")
    sha256: str = Field(description="of the weights file, lower-case hexadecimal")
    size_bytes: int
    tasks: tuple[str, ...] = Field(description="what it may do; see TASKS")
    aliases: tuple[str, ...] = ()
    chat_template: bool = False
    pooling: str = Field("", description="how an embedding model sums up tokens: mean, cls, last, rank")
    added: datetime = Field(default_factory=utcnow)
    notes: str = ""

    @property
    def digest(self) -> str:
        """The first 12 hexadecimal digits of the weights' SHA-256, as trailers and headers show it."""
        return self.sha256[:12]

    @property
    def embeds(self) -> bool:
        """True for models that an engine serves as embedders or rerankers instead of writers."""
        return self.architecture in ENCODERS or (bool(self.tasks) and set(self.tasks) <= {"embedding", "rerank"})


def card_from(
    header: Header,
    id: str,
    sha256: str,
    licence: str = "",
    tasks: Sequence[str] = (),
    aliases: Sequence[str] = (),
    notes: str = "",
) -> Card:
    """The card of a file with this header. Without `tasks` they are derived from the header, carefully.

    Raises:
        UsageError: a name or a task cannot be accepted.
    """
    architecture = header.architecture
    pooling = POOLING.get(header.number(f"{architecture}.pooling_type"), "")
    template = bool(header.text("tokenizer.chat_template"))
    return Card(
        id=checked_name(id),
        architecture=architecture,
        parameters=header.parameters,
        context_tokens=max(0, header.number(f"{architecture}.context_length")),
        embedding_length=max(0, header.number(f"{architecture}.embedding_length")),
        quantisation=header.quantisation(),
        licence=licence or header.text("general.license") or "unknown",
        sha256=sha256,
        size_bytes=header.file_size,
        tasks=checked_tasks(tasks) or derived_tasks(architecture, pooling, template),
        aliases=tuple(dict.fromkeys(checked_name(alias) for alias in aliases)),
        chat_template=template,
        pooling=pooling,
        notes=notes,
    )


def derived_tasks(architecture: str, pooling: str, template: bool) -> tuple[str, ...]:
    """What a header alone shows a model can do. Nothing beyond: repair and review need proof or a person's word."""
    if pooling == "rank":
        return ("rerank",)
    if architecture in ENCODERS or pooling:
        return ("embedding",)
    return ("chat",) if template else ()


def checked_tasks(tasks: Sequence[str]) -> tuple[str, ...]:
    """The tasks without repetitions, in the order of TASKS. Raises UsageError for unknown ones."""
    unknown = sorted(set(tasks) - set(TASKS))
    if unknown:
        raise UsageError(f"unknown task {', '.join(unknown)}", f"tasks are {', '.join(TASKS)}")
    return tuple(task for task in TASKS if task in tasks)


def checked_name(name: str) -> str:
    """`name` if a model may be called that. Raises UsageError."""
    if not NAME.fullmatch(name) or name in RESERVED:
        raise UsageError(
            f"{name!r} cannot be the name of a model",
            f"use up to 64 of a-z 0-9 . _ - after a letter or digit, and none of {', '.join(sorted(RESERVED))}",
        )
    return name


def name_from_file(stem: str) -> str:
    """A model name made from a file's name: lower case, odd characters as dashes."""
    return re.sub(r"[^a-z0-9._]+", "-", stem.lower()).strip("-._")[:64] or "model"
