"""How well each candidate does on texts like this one: what learning fits, and the router asks. Pure.

`Prototypes` knows no prompts, only centres of groups of them: prompts seen so far were put into groups by their
vectors, several times over, and each group has a mean outcome for each model, pulled to that model's mean over all. A
new prompt belongs to each group by its likeness. Many groupings, averaged, guess better than any single one.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from appliance.work import Noun

Matrix = NDArray[np.float32]

MOST_BYTES = 4 * 1024 * 1024
"""Of a policy's file: what is larger is not published, and not read."""
CHARACTERS = 600
"""How much of a text's beginning goes into its vector: about what a small embedding model reads at once. More costs
more than a decision may; the yardstick's prompts are cut alike."""
MOST_DIMENSIONS = 8192
SEARCH = "search"
"""The candidate that takes no model's time."""


@dataclass(frozen=True, eq=False)
class Arrays:
    """Arrays of a noun, read once. Equal to itself alone: nouns are compared by their fields, not by these."""

    rows: Matrix
    more: Matrix


class Meaning(Noun):
    """The vector of a text, without the text. Those of different models, or of other weights, cannot be compared."""

    embedder: str = Field(min_length=1, max_length=300, description="the model that made it")
    digest: str = Field("", max_length=64, description="beginning of the SHA-256 of its weights")
    numbers: str = Field(description="the vector, 16-bit floats in base64")

    @model_validator(mode="after")
    def _is_a_vector(self) -> Self:
        try:
            vector = self.vector
        except ValueError as error:
            raise ValueError("the numbers are no 16-bit floats in base64") from error
        if not (0 < vector.size <= MOST_DIMENSIONS and np.isfinite(vector).all() and vector.any()):
            raise ValueError(f"a vector has 1 to {MOST_DIMENSIONS} finite numbers, not all nought")
        return self

    @classmethod
    def of(cls, vector: Any, embedder: str, digest: str) -> Self:
        """The meaning that a model gave. Raises ValueError for what is no vector."""
        return cls(embedder=embedder, digest=digest, numbers=packed(vector, "<f2"))

    @property
    def vector(self) -> Matrix:
        """One row without a second axis."""
        return unpacked(self.numbers, "<f2")


class Prototypes(Noun):
    """Quality by likeness to groups of earlier prompts."""

    embedder: str = Field(min_length=1, description="the model that makes the vectors")
    digest: str = Field("", description="beginning of its SHA-256; vectors of other weights mean nothing here")
    characters: int = Field(ge=1, description="how much of a prompt's beginning goes into its vector")
    dimensions: int = Field(ge=1, le=MOST_DIMENSIONS)
    groupings: int = Field(ge=1, le=64)
    nearness: float = Field(gt=0, description="difference in cosine at which a group counts a third as much")
    models: tuple[str, ...] = Field(min_length=1, max_length=1000)
    centres: str = Field(description="groupings × groups × dimensions, 16-bit floats in base64")
    means: str = Field(description="groupings × groups × models, 32-bit floats in base64: outcomes from 0 to 1")
    evidence: int = Field(0, ge=0, description="outcomes it was fitted to")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        try:
            centres, means = self._arrays.rows, self._arrays.more
        except ValueError as error:
            raise ValueError("centres and means do not have the shape that is said of them") from error
        if centres.shape[:2] != means.shape[:2] or not centres.size:
            raise ValueError("there are not as many centres as means")
        if not (np.isfinite(centres).all() and np.isfinite(means).all()):
            raise ValueError("some numbers are not finite")
        return self

    @cached_property
    def _arrays(self) -> Arrays:
        return Arrays(
            unpacked(self.centres, "<f2").reshape(self.groupings, -1, self.dimensions),
            unpacked(self.means, "<f4").reshape(self.groupings, -1, len(self.models)),
        )

    def quality(self, vectors: Any) -> Matrix:
        """Expected outcomes of prompts (rows of `vectors`, any length) for each of `models`. Raises ValueError."""
        rows = unit(vectors)
        if rows.shape[1] != self.dimensions:
            raise ValueError(f"vectors have {rows.shape[1]} dimensions, not {self.dimensions}")
        centres, means = self._arrays.rows, self._arrays.more
        found = np.zeros((len(rows), len(self.models)), np.float32)
        for own, mean in zip(centres, means, strict=True):
            found += shares(rows, own, self.nearness) @ mean
        return np.asarray(found / len(centres), dtype=np.float32)


class Weights(NamedTuple):
    """What matters, as a rule's objective says it; at least one is above nought."""

    quality: float
    cost: float
    """Of model-seconds."""
    speed: float
    tokens: float = 0.0


class Spent(NamedTuple):
    """What a try takes: seconds in all, those of them in which a model worked or was waited for, and tokens."""

    seconds: float
    model_seconds: float
    tokens: float

    def over(self, largest: Spent) -> Spent:
        """Each as a share of the largest among those that are compared."""
        return Spent(*(own / (most or 1.0) for own, most in zip(self, largest, strict=True)))


def largest_of(takes: Sequence[Spent]) -> Spent:
    """The largest of each part; nought of none."""
    parts = zip(*takes, strict=True)
    return Spent(*(max(part) for part in parts)) if takes else Spent(0.0, 0.0, 0.0)


class Foreseen(NamedTuple):
    """What is expected of one candidate."""

    candidate: str
    quality: float
    worth: float


class Predictor(Noun):
    """What each candidate of one rule is worth on a text, by what the text means."""

    rule: str = Field(min_length=1)
    task: str = Field("", description="only for this task; empty for all")
    quality: Prototypes
    seconds: Mapping[str, float] = Field(description="candidate → seconds that its tries took, on average")
    model_seconds: Mapping[str, float] = Field(
        default_factory=dict, description="the same of model-seconds; where none are told, the seconds, but 0 of search"
    )
    tokens: Mapping[str, float] = Field(default_factory=dict, description="the same of tokens")

    @model_validator(mode="after")
    def _times_of_all(self) -> Self:
        for told in (self.seconds, self.model_seconds, self.tokens):
            if set(told) != set(self.quality.models) and (told or told is self.seconds):
                raise ValueError("seconds or tokens are not told of each candidate, or of others")
            if not all(0 <= one < float("inf") for one in told.values()):
                raise ValueError("some seconds are no time, or some tokens no count")
        return self

    def spends(self, candidate: str) -> Spent:
        """What a try of one of its candidates takes, on average."""
        return spent(candidate, self.seconds[candidate], self.model_seconds.get(candidate), self.tokens.get(candidate))

    def reads(self, meaning: Meaning) -> bool:
        """Was the vector made by the very model whose vectors this was fitted to?"""
        own = self.quality
        return (own.embedder, own.digest, own.dimensions) == (meaning.embedder, meaning.digest, meaning.vector.size)

    def foresee(self, meaning: Meaning, weights: Weights) -> list[Foreseen]:
        """Every candidate, the one that is worth most first; `reads` says whether this may be asked."""
        worths, quality = self.worths(meaning.vector, weights)
        named = zip(self.quality.models, quality[0], worths[0], strict=True)
        return sorted((Foreseen(name, float(q), float(w)) for name, q, w in named), key=lambda one: -one.worth)

    def worths(self, vectors: Any, weights: Weights) -> tuple[Matrix, Matrix]:
        """Worth and quality of each candidate (columns, as `quality.models`) on each text (rows). Raises ValueError."""
        quality = self.quality.quality(vectors)
        takes = [self.spends(name) for name in self.quality.models]
        largest = largest_of(takes)
        columns = [worth(weights, quality[:, n], one.over(largest)) for n, one in enumerate(takes)]
        return np.asarray(np.stack(columns, axis=1), dtype=np.float32), quality


def spent(candidate: str, seconds: float, model_seconds: float | None, tokens: float | None) -> Spent:
    """What a try takes. Where nobody told model-seconds they are all seconds, but none of search, which asks no model;
    where nobody told tokens there are none."""
    if model_seconds is None:
        model_seconds = 0.0 if candidate == SEARCH else seconds
    return Spent(seconds, model_seconds, tokens or 0.0)


def worth(weights: Weights, quality: Any, takes: Spent) -> Any:
    """What a try is worth, 0 to 1, by a rule's weights: its quality (a number or an array of them), and what it takes,
    each as a share of the largest."""
    kept = weights.cost * (1 - takes.model_seconds) + weights.speed * (1 - takes.seconds)
    return (weights.quality * quality + kept + weights.tokens * (1 - takes.tokens)) / sum(weights)


def unpacked(text: str, kind: str) -> Matrix:
    """The inverse of `packed`. Raises ValueError (binascii's among them)."""
    return np.frombuffer(base64.b64decode(text, validate=True), kind).astype(np.float32)


def unit(vectors: Any) -> Matrix:
    """Rows as unit vectors; a row without a direction stays nought."""
    rows = np.atleast_2d(np.asarray(vectors, dtype=np.float32))
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(lengths > 0, lengths, 1.0), dtype=np.float32)


def shares(rows: Matrix, centres: Matrix, nearness: float) -> Matrix:
    """How much each row belongs to each centre; each row's shares add up to one."""
    likeness = rows @ centres.T
    made = np.exp((likeness - likeness.max(axis=1, keepdims=True)) / nearness)
    return np.asarray(made / made.sum(axis=1, keepdims=True), dtype=np.float32)


def packed(numbers: Any, kind: str) -> str:
    """An array as base64 text: `kind` is "<f2" or "<f4"."""
    return base64.b64encode(np.ascontiguousarray(numbers, dtype=kind).tobytes()).decode("ascii")
