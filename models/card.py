"""The card of a model: what it is, where it comes from, and what it may do. Kept beside the weights as `card.json`."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from datetime import datetime

from pydantic import Field

from appliance.errors import UsageError
from appliance.work import Noun, utcnow
from models.facts import ENCODERS, Facts
from models.score import Score

TASKS = ("chat", "embedding", "repair", "review", "triage", "rerank")
"""What a model can be admitted for: by passing the checks of a task, or by a person's word. Never by a header."""
WRITING, WORDLESS = ("chat", "repair", "review", "triage"), frozenset({"embedding", "rerank"})
"""Tasks of models that write, and of those that give vectors or ranks."""
RESERVED = frozenset({"auto", "search"})
"""Names the router uses itself."""
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


class CardFile(Noun):
    """One file of a model."""

    name: str = Field(description="in the card's own folder")
    size_bytes: int
    sha256: str = Field(description="lower-case hexadecimal")


class Remote(Noun):
    """A model that another server holds."""

    url: str = Field(description="of the server, without the API's own path (/v1)")
    name: str = Field(description="by which the server knows the model")
    ca_file: str = Field("", description="PEM file of the CA that vouches for the server; empty for the machine's")
    key_file: str = Field("", description="file with the key the server wants; empty for none")


class Card(Noun):
    """One model of the box."""

    id: str = Field(description="the name clients use")
    file: str = Field("model.gguf", description="what an engine opens, in the card's own folder; `.` is the folder")
    files: tuple[CardFile, ...] = Field((), description="every file; none on a card of one file written long ago")
    format: str = Field("gguf", description="which reader and which engines understand it")
    architecture: str
    parameters: int = Field(description="weights, counted from the tensors")
    context_tokens: int = Field(description="longest context it was trained for")
    embedding_length: int
    quantisation: str = Field(description="the tensor type that holds most weights")
    licence: str = Field("unknown", description="SPDX name where there is one")
    sha256: str = Field(description="of its one file, or of the list of all its files; lower-case hexadecimal")
    size_bytes: int = Field(description="of all its files together")
    tasks: tuple[str, ...] = Field(description="what it may do; see TASKS")
    tasks_by_person: tuple[str, ...] | None = Field(
        None, description="those of `tasks` that a person gave; None on a card from before admission: all of them"
    )
    score: Score | None = Field(None, description="what admission measured")
    aliases: tuple[str, ...] = ()
    chat_template: bool = False
    tools: str = Field("", description="how it writes tool calls, as its chat template shows; empty for not at all")
    vision: bool = Field(False, description="whether it is made to see pictures")
    pooling: str = Field("", description="how an embedding model sums up tokens: mean, cls, last, rank")
    remote: Remote | None = Field(None, description="where it is, when another server holds it")
    base: str = Field("", description="the model whose adapter this is; empty for a model of its own")
    added: datetime = Field(default_factory=utcnow)
    notes: str = ""

    @property
    def digest(self) -> str:
        """The first 12 hexadecimal digits of the weights' SHA-256, as trailers and headers show it."""
        return self.sha256[:12]

    @property
    def parts(self) -> tuple[CardFile, ...]:
        """Every file with its size and hash; none for a model that another server holds."""
        if self.files or self.format == "remote":
            return self.files
        return (CardFile(name=self.file, size_bytes=self.size_bytes, sha256=self.sha256),)

    def given(self, tasks: Sequence[str]) -> Card:
        """The card when a person gives these tasks; what admission gave stays. Raises UsageError for unknown tasks."""
        proven = self.score.tasks if self.score else ()
        return self.with_(tasks_by_person=checked_tasks(tasks), tasks=checked_tasks([*tasks, *proven]))

    def scored(self, score: Score) -> Card:
        """The card after an admission: a person's tasks stay, what an older admission gave goes."""
        by_person = self.tasks if self.tasks_by_person is None else self.tasks_by_person
        return self.with_(score=score, tasks_by_person=by_person, tasks=checked_tasks([*by_person, *score.tasks]))

    def adapting(self, base: Card) -> Card:
        """The card of an adapter for `base`, which lends it everything but its weights."""
        lent = ("architecture", "context_tokens", "embedding_length", "chat_template", "tools", "vision", "pooling")
        return self.with_(base=base.id, **{name: getattr(base, name) for name in lent})

    @property
    def could(self) -> tuple[str, ...]:
        """The tasks its header suggests: what admission tries, never a permission.

        A model that another server holds has no header here: it writes, unless a person said that it does not.
        """
        if self.format == "remote":
            return self.tasks if self.tasks and set(self.tasks) <= WORDLESS else WRITING
        return suggested_tasks(self.architecture, self.pooling, self.chat_template)

    @property
    def able(self) -> tuple[str, ...]:
        """What requests may need that admission saw it do: tools, json_schema, stream, vision."""
        names = (("tools", "tool_call"), ("json_schema", "json_schema"), ("stream", "streaming"), ("vision", "vision"))
        return tuple(name for name, check in names if self.score and self.score.passed(check))

    @property
    def embeds(self) -> bool:
        """True for models that an engine serves as embedders or rerankers instead of writers."""
        return self.architecture in ENCODERS or set(self.tasks or self.could or ("chat",)) <= WORDLESS

    @property
    def ranks(self) -> bool:
        """True for models that an engine serves as rerankers."""
        return self.embeds and "rerank" in (self.tasks or self.could)


def card_from(
    facts: Facts,
    id: str,
    files: Sequence[CardFile],
    licence: str = "",
    tasks: Sequence[str] = (),
    aliases: Sequence[str] = (),
    notes: str = "",
) -> Card:
    """The card of a model with these facts and files. `tasks` are a person's word; a header alone gives none.

    Raises:
        UsageError: a name or a task cannot be accepted.
    """
    return Card(
        id=checked_name(id),
        file=facts.file,
        files=tuple(files),
        format=facts.format,
        architecture=facts.architecture,
        parameters=facts.parameters,
        context_tokens=facts.context_tokens,
        embedding_length=facts.embedding_length,
        quantisation=facts.quantisation,
        licence=licence or facts.licence or "unknown",
        sha256=digest_of(files),
        size_bytes=sum(part.size_bytes for part in files),
        tasks=checked_tasks(tasks),
        tasks_by_person=checked_tasks(tasks),
        aliases=tuple(dict.fromkeys(checked_name(alias) for alias in aliases)),
        chat_template=facts.chat_template,
        tools=facts.tools,
        vision=facts.vision,
        pooling=facts.pooling,
        notes=notes,
    )


def digest_of(files: Sequence[CardFile]) -> str:
    """SHA-256 of a model: of its one file, or of the list of its files as `sha256sum` prints it, by name."""
    if len(files) == 1:
        return files[0].sha256
    lines = "".join(f"{part.sha256}  {part.name}\n" for part in sorted(files, key=lambda part: part.name))
    return hashlib.sha256(lines.encode()).hexdigest() if files else ""


def suggested_tasks(architecture: str, pooling: str, template: bool) -> tuple[str, ...]:
    """What a header lets one try. Proof or a person's word makes it a task."""
    if pooling == "rank":
        return ("rerank",)
    if architecture in ENCODERS or pooling:
        return ("embedding",)
    return WRITING if template else ()


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
