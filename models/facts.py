"""What a model's own files say about it, in the words of a card. Pure, and standard library only (see `examine`)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from appliance.errors import UsageError, VerificationFailed
from models.content import template_danger
from models.gguf import Header
from models.safetensors import Contents, Slab

ENCODERS = frozenset({
    "bert", "jina-bert-v2", "jina-bert-v3", "modern-bert", "neo-bert", "nomic-bert", "nomic-bert-moe",
    "modernbert", "nomic_bert", "roberta", "xlm-roberta", "distilbert", "mpnet", "deberta-v2",
})  # fmt: skip
"""Architectures that turn text into vectors and cannot write: llama.cpp's names, then those of config.json."""
POOLING = {0: "", 1: "mean", 2: "cls", 3: "last", 4: "rank"}
"""The number under `<architecture>.pooling_type` and llama-server's word for it."""
TOOL_MARKS = (
    ("<|tool_calls_section_begin|>", "kimi_k2"), ("<｜tool▁calls▁begin｜>", "deepseek_v3"), ("<arg_key>", "glm45"),
    ("<minimax:tool_call>", "minimax_m2"), ("<seed:tool_call>", "seed_oss"), ("<|tool_call_start|>", "lfm2"),
    ("<function=", "qwen3_coder"), ("<tool_call>", "hermes"), ("[TOOL_CALLS]", "mistral"),
    ("<|channel|>commentary", "openai"), ("<|START_ACTION|>", "cohere_command3"), ("<|tool_call|>", "granite"),
    ("<|python_tag|>", "llama3_json"), ("Environment: ipython", "llama3_json"),
)  # fmt: skip
"""What stands in a chat template → how its model writes tool calls; the first wins. The names are those of parsers in
vLLM, which is started with them: a name that it does not know must not stand here."""
ADAPTER = "lora"
"""Format of an adapter, which is served with its base."""
MAX_RANK = 512
PART = re.compile(r"(?P<stem>.+)-(?P<n>\d{5})-of-(?P<count>\d{5})\.gguf")
"""How llama.cpp names the parts of a split file."""
NO_MODEL = frozenset({"mmproj", "imatrix", "adapter", "vocab"})
"""`general.type` of GGUF files that go with a model and are none."""
LICENCES = (
    ("Apache License", "Apache-2.0"), ("MIT License", "MIT"), ("Permission is hereby granted, free of charge", "MIT"),
    ("Redistribution and use in source and binary forms", "BSD-3-Clause"), ("LLAMA 3", "llama3"),
    ("Gemma Terms", "gemma"),
)  # fmt: skip


@dataclass(frozen=True)
class Facts:
    """One model as its files describe it."""

    format: str
    file: str
    """What an engine opens: a file's name, or `.` for the folder."""
    files: tuple[str, ...]
    """All files that belong to it, by name."""
    architecture: str
    parameters: int
    context_tokens: int
    embedding_length: int
    quantisation: str
    licence: str
    pooling: str
    chat_template: bool
    tools: str
    vision: bool = False
    """Whether it is made to see pictures."""
    left_out: tuple[str, ...] = ()
    """Files beside it that are not needed."""


def of_gguf(parts: Sequence[tuple[str, Header]], left_out: Sequence[str] = ()) -> Facts:
    """Of a GGUF model in one file or in parts, given in their order.

    Raises:
        VerificationFailed: no model, a dangerous template, or parts that do not belong together.
        UsageError: one part alone.
    """
    name, first = parts[0]
    _belong_together(parts)
    tensors = [tensor for _, header in parts for tensor in header.tensors]
    if not first.architecture or not tensors:
        raise VerificationFailed(f"{name} holds no model (no architecture or no weights)", "import a model's main file")
    template = first.text("tokenizer.chat_template")
    for key in first.metadata:
        if key.startswith("tokenizer.chat_template"):
            _refuse_template(name, first.text(key))
    architecture = first.architecture
    return Facts(
        format="gguf",
        file=name,
        files=tuple(part for part, _ in parts),
        architecture=architecture,
        parameters=sum(tensor.elements for tensor in tensors),
        context_tokens=max(0, first.number(f"{architecture}.context_length")),
        embedding_length=max(0, first.number(f"{architecture}.embedding_length")),
        quantisation=_most((tensor.type, tensor.elements) for tensor in tensors),
        licence=first.text("general.license"),
        pooling=POOLING.get(first.number(f"{architecture}.pooling_type"), ""),
        chat_template=bool(template),
        tools=tool_format(template),
        left_out=tuple(left_out),
    )


def is_companion(header: Header) -> bool:
    """Whether a GGUF file only goes with a model: a projector for pictures, an importance matrix."""
    return header.architecture == "clip" or header.text("general.type") in NO_MODEL


def of_tensors(
    files: Sequence[str],
    contents: Sequence[Contents],
    config: Mapping[str, Any],
    template: str,
    licence: str,
    pooling: str,
    left_out: Sequence[str] = (),
) -> Facts:
    """Of a folder of safetensors files with its `config.json`. Raises VerificationFailed without a model type."""
    inner = config.get("text_config")
    settings = {**config, **inner} if isinstance(inner, dict) else dict(config)
    architecture = config.get("model_type")
    if not isinstance(architecture, str) or not re.fullmatch(r"[\w.-]{1,64}", architecture):
        raise VerificationFailed("config.json names no model_type", "import the folder as its authors published it")
    _refuse_template("the tokenizer", template)
    slabs = [slab for one in contents for slab in one.tensors]
    quantised = settings.get("quantization_config")
    quantised = quantised if isinstance(quantised, dict) else {}
    return Facts(
        format="safetensors",
        file=".",
        files=tuple(files),
        architecture=architecture,
        parameters=sum(_weights_in(slab, quantised) for slab in slabs),
        context_tokens=_number(settings, "max_position_embeddings", "n_positions", "max_sequence_length", "seq_length"),
        embedding_length=_number(settings, "hidden_size", "n_embd", "d_model"),
        quantisation=_method(quantised) or _most((slab.type, slab.elements) for slab in slabs),
        licence=licence,
        pooling=pooling or _pooling(architecture, config),
        chat_template=bool(template),
        tools=tool_format(template),
        vision=isinstance(config.get("vision_config"), dict),
        left_out=tuple(left_out),
    )


def of_adapter(
    files: Sequence[str], contents: Contents, config: Mapping[str, Any], licence: str, left_out: Sequence[str] = ()
) -> Facts:
    """Of a folder with a LoRA adapter; what it lacks comes from its base. Raises VerificationFailed for other kinds."""
    rank = config.get("r")
    if config.get("peft_type") != "LORA" or type(rank) is not int or not 0 < rank <= MAX_RANK:
        raise VerificationFailed(
            f"adapter_config.json is no LoRA adapter of rank 1 to {MAX_RANK}", "engines serve no other adapters"
        )
    return Facts(
        format=ADAPTER,
        file=".",
        files=tuple(files),
        architecture=ADAPTER,
        parameters=sum(slab.elements for slab in contents.tensors),
        context_tokens=0,
        embedding_length=0,
        quantisation=_most((slab.type, slab.elements) for slab in contents.tensors),
        licence=licence,
        pooling="",
        chat_template=False,
        tools="",
        left_out=tuple(left_out),
    )


def tool_format(template: str) -> str:
    """How a model with this chat template writes tool calls; "generic" when only that it can is seen, "" for not.

    >>> tool_format("{% for tool in tools %}<tool_call>"), tool_format("{{ messages }}")
    ('hermes', '')
    """
    if "tools" not in template:
        return ""
    return next((name for mark, name in TOOL_MARKS if mark in template), "generic")


def licence_in(readme: str, licence: str) -> str:
    """The licence named in the head of a README, else the one a licence's own text is; "" when neither tells.

    >>> licence_in("---\\nlicense: apache-2.0\\n---\\nHello", "")
    'apache-2.0'
    """
    head = re.match(r"---\s*\n(.*?)\n---", readme, re.DOTALL)
    named = re.search(r"^licen[cs]e:\s*[\"']?([\w.+-]{1,64})[\"']?\s*$", head[1], re.MULTILINE) if head else None
    if named and named[1].lower() != "other":
        return named[1]
    return next((name for mark, name in LICENCES if mark.lower() in licence[:4000].lower()), "")


def _belong_together(parts: Sequence[tuple[str, Header]]) -> None:
    name, first = parts[0]
    count = max(1, first.number("split.count"))
    if count != len(parts):
        raise UsageError(
            f"{name} is one part of a model split into {count}",
            "put all parts into one folder, named …-00001-of-0000N.gguf, and import the folder or the first part",
        )
    if count == 1:
        return
    names: set[str] = set()
    for n, (part, header) in enumerate(parts):
        if header.number("split.no") != n or header.number("split.count") != count:
            raise VerificationFailed(f"{part} is not part {n + 1} of {count}", "copy the parts again from their source")
        for tensor in header.tensors:
            if tensor.name in names:
                raise VerificationFailed(
                    f"{part}: the tensor {tensor.name!r} is in another part too", "copy them again"
                )
            names.add(tensor.name)
    wanted = first.number("split.tensors.count")
    if wanted and wanted != len(names):
        raise VerificationFailed(
            f"the parts of {name} hold {len(names)} tensors, not {wanted}", "copy the parts again from their source"
        )


def _refuse_template(name: str, template: str) -> None:
    if why := template_danger(template):
        raise VerificationFailed(
            f"{name} is refused: {why}", "ask where it comes from; take the model from its authors"
        )


def _most(weighed: Any) -> str:
    """The name that holds most of the weights."""
    share: dict[str, int] = {}
    for name, elements in weighed:
        share[name] = share.get(name, 0) + elements
    return max(share, key=lambda name: (share[name], name), default="")


def _weights_in(slab: Slab, quantised: Mapping[str, Any]) -> int:
    """Weights a tensor stands for: quantised ones are packed, several into each whole number."""
    packed = slab.type in ("I32", "U32", "U8") and slab.name.endswith(("qweight", "weight_packed"))
    bits = quantised.get("bits") if type(quantised.get("bits")) is int else 4
    wide = 32 if slab.type.endswith("32") else 8
    return slab.elements * (wide // max(1, min(bits or 4, wide))) if packed else slab.elements


def _method(quantised: Mapping[str, Any]) -> str:
    method, bits = quantised.get("quant_method"), quantised.get("bits")
    if not isinstance(method, str) or not re.fullmatch(r"[\w.-]{1,40}", method):
        return ""
    return f"{method}-{bits}bit" if type(bits) is int and 0 < bits <= 32 else method


def _number(settings: Mapping[str, Any], *names: str) -> int:
    found = (settings.get(name) for name in names)
    return next((value for value in found if type(value) is int and 0 < value < 1 << 40), 0)


def _pooling(architecture: str, config: Mapping[str, Any]) -> str:
    if architecture not in ENCODERS:
        return ""
    kinds = config.get("architectures")
    ranks = isinstance(kinds, list) and any(str(kind).endswith("ForSequenceClassification") for kind in kinds)
    return "rank" if ranks else "mean"
