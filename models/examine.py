"""The format gate: looks at every file of a model and tells what it is, or why it may not come in.

Runs in a process of its own that can do nothing but read (see `gate` and `confined`), with the standard library alone.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path, PurePosixPath
from typing import Any

from appliance.errors import FactoryError, UsageError, VerificationFailed
from models import content
from models.confined import MEANS, shut_in
from models.facts import PART, Facts, is_companion, licence_in, of_adapter, of_gguf, of_tensors
from models.gguf import Header, read_header
from models.safetensors import Contents, read_contents

MAX_TEXT = 64 * 1024 * 1024
"""Bytes of one JSON or text file; the longest tokenizers have some 35 MB."""
CARD = "card.json"
KEPT = frozenset({".json", ".txt", ".jinja", ".tiktoken", ".model"})
KEPT_WORDS = ("license", "licence", "notice", "readme", "use_policy")
INDEX = ".safetensors.index.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
POOLING_FILE = "1_Pooling/config.json"
TOKENIZERS = ({"tokenizer.json"}, {"tokenizer.model"}, {"vocab.json", "merges.txt"}, {"vocab.txt"}, {"tekken.json"})
"""Sets of files of which one makes a tokenizer."""
CUSTOM_CODE = ("auto_map", "custom_pipelines")
"""Keys of JSON files that name Python code to be loaded with the model."""


def examine(folder: Path, names: Sequence[str]) -> Facts:
    """What the files `names` in `folder` make up.

    Raises:
        VerificationFailed: a file is unsound or must not come in; the message names it and says why.
        UsageError: they are no model, or more than one.
    """
    kinds = {name: _kind(folder, name) for name in names}
    ggufs = sorted(name for name, kind in kinds.items() if kind == content.GGUF)
    tensors = sorted(name for name, kind in kinds.items() if kind == content.SAFETENSORS)
    if ggufs and tensors:
        raise UsageError(f"the folder holds both {ggufs[0]} and {tensors[0]}", "name the one file, or part the folder")
    if ggufs:
        return _gguf(folder, ggufs, [name for name in names if name not in ggufs])
    if tensors:
        return _tensors(folder, tensors, [name for name in names if name not in tensors])
    raise VerificationFailed("there is no GGUF and no safetensors file", "give a model's file, or its whole folder")


def _kind(folder: Path, name: str) -> str:
    file = folder / name
    try:
        with file.open("rb") as stream:
            head = stream.read(content.HEAD)
            short = file.stat().st_size <= content.SMALL
            whole = head + stream.read(content.SMALL) if short else None
    except OSError as error:
        raise VerificationFailed(f"cannot read {name}: {error.strerror}", "make it a readable file") from error
    if why := content.danger(name, head, whole):
        raise VerificationFailed(
            f"{name} is refused: {why}", "take it out of the folder; weights come as GGUF or safetensors"
        )
    return content.kind_of(name, head)


def _gguf(folder: Path, names: Sequence[str], others: Sequence[str]) -> Facts:
    headers: dict[str, Header] = {}
    companions: list[str] = []
    for name in names:
        header = read_header(folder / name)
        if len(names) > 1 and is_companion(header):
            companions.append(name)
        else:
            headers[name] = header
    stems = {found["stem"] if (found := PART.fullmatch(name)) else name for name in headers}
    if len(stems) > 1:
        raise UsageError(f"the folder holds several models: {', '.join(sorted(headers)[:6])}", "name one of the files")
    facts = of_gguf(list(headers.items()), [*companions, *others])
    return facts if facts.licence else replace(facts, licence=_licence(folder, others))


def _tensors(folder: Path, names: Sequence[str], others: Sequence[str]) -> Facts:
    texts = [name for name in others if _is_kept(name)]
    documents = {name: _json(folder, name) for name in texts if name.endswith(".json")}
    adapter = documents.get("adapter_config.json")
    if isinstance(adapter, dict) and list(names) == [ADAPTER_WEIGHTS]:
        kept = sorted([ADAPTER_WEIGHTS, *texts])
        unused = [name for name in others if name not in kept]
        return of_adapter(kept, read_contents(folder / ADAPTER_WEIGHTS), adapter, _licence(folder, texts), unused)
    config = documents.get("config.json")
    if not isinstance(config, dict):
        raise VerificationFailed("there is no config.json beside the weights", "import the whole folder of the model")
    if not any(needed <= set(texts) for needed in TOKENIZERS) and not any(n.endswith(".tiktoken") for n in texts):
        raise VerificationFailed("there is no tokenizer beside the weights", "import the whole folder of the model")
    for name in texts:
        if name.endswith(".model"):
            _checked_sentencepiece(folder / name)
        elif not name.endswith(".json"):
            _text(folder, name)
    weights, contents = _weights(folder, names, documents)
    kept = sorted([*weights, *texts])
    return of_tensors(
        kept,
        contents,
        config,
        _template(folder, texts, documents),
        _licence(folder, texts),
        _pooling(documents.get(POOLING_FILE)),
        [name for name in [*names, *others] if name not in kept],
    )


def _is_kept(name: str) -> bool:
    if name == POOLING_FILE:
        return True
    plain = name.lower()
    if plain == CARD:
        return False  # the registry's own name
    return "/" not in name and (PurePosixPath(plain).suffix in KEPT or plain.startswith(KEPT_WORDS))


def _weights(folder: Path, names: Sequence[str], documents: dict[str, Any]) -> tuple[list[str], list[Contents]]:
    """The weight files that count, each with its header; an index must agree with them to the last tensor."""
    indices = sorted(name for name in documents if name.endswith(INDEX))
    if not indices:
        if len(names) > 1:
            raise VerificationFailed(
                f"there are {len(names)} weight files and no index of them", f"import the folder with its *{INDEX}"
            )
        return list(names), [read_contents(folder / names[0])]
    index = documents[indices[0]]
    places = index.get("weight_map") if isinstance(index, dict) else None
    if len(indices) > 1 or not isinstance(places, dict) or not all(isinstance(p, str) for p in places.values()):
        raise VerificationFailed(f"{indices[0]} is no single index of weights", "import the folder as it was published")
    wanted = sorted(set(places.values()))
    if lost := [name for name in wanted if name not in names]:
        raise VerificationFailed(f"the weights {', '.join(lost[:3])} are missing", "copy the folder again, all of it")
    contents = [read_contents(folder / name) for name in wanted]
    found = {slab.name: name for name, one in zip(wanted, contents, strict=True) for slab in one.tensors}
    if found != places or sum(len(one.tensors) for one in contents) != len(found):
        odd = sorted(key for key in {*found, *places} if found.get(key) != places.get(key))
        raise VerificationFailed(
            f"{indices[0]} and the weights do not agree about {', '.join(odd[:3]) or 'tensors that are there twice'}",
            "copy the folder again from its source",
        )
    return wanted, contents


def _text(folder: Path, name: str) -> str:
    file = folder / name
    if file.stat().st_size > MAX_TEXT:
        raise VerificationFailed(f"{name} is longer than {MAX_TEXT >> 20} MiB", "no real one is; take it out")
    try:
        return file.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise VerificationFailed(f"{name} is not text in UTF-8", "copy it again from its source") from error


def _json(folder: Path, name: str) -> Any:
    try:
        document = json.loads(_text(folder, name))
    except (ValueError, RecursionError, MemoryError) as error:
        raise VerificationFailed(f"{name} is not sound JSON: {error}", "copy it again from its source") from error
    for key in _keys(document):
        if key in CUSTOM_CODE:
            raise VerificationFailed(
                f"{name} is refused: {key} asks for Python code that comes with the model",
                "take a model whose architecture the engine knows, without code of its own",
            )
    return document


def _licence(folder: Path, names: Sequence[str]) -> str:
    readme = next((_text(folder, name) for name in names if name.lower().startswith("readme")), "")
    licence = next((_text(folder, name) for name in names if name.lower().startswith(("license", "licence"))), "")
    return licence_in(readme, licence)


def _keys(document: Any) -> Iterator[str]:
    """All keys of all objects in it, without recursion."""
    todo = [document]
    while todo:
        one = todo.pop()
        if isinstance(one, dict):
            yield from one
            todo += one.values()
        elif isinstance(one, list):
            todo += (entry for entry in one if isinstance(entry, dict | list))


def _template(folder: Path, texts: Sequence[str], documents: dict[str, Any]) -> str:
    """All chat templates there are: which one an engine takes depends on the engine."""
    found = [_text(folder, name) for name in texts if name.endswith(".jinja")]
    for document in documents.values():
        one = document.get("chat_template") if isinstance(document, dict) else None
        if isinstance(one, list):
            found += [str(part.get("template", "")) for part in one if isinstance(part, dict)]
        elif isinstance(one, str):
            found.append(one)
    return "\n".join(found)


def _pooling(document: Any) -> str:
    """How sentence-transformers settings say that tokens are summed up."""
    modes = {"pooling_mode_cls_token": "cls", "pooling_mode_lasttoken": "last", "pooling_mode_mean_tokens": "mean"}
    return next((word for key, word in modes.items() if isinstance(document, dict) and document.get(key) is True), "")


def _checked_sentencepiece(file: Path) -> None:
    """A tokenizer in protocol buffers: every field of the outer message must lie inside the file."""
    size, at = file.stat().st_size, 0
    raw = file.read_bytes() if size <= MAX_TEXT else b""
    sound = bool(raw)
    while sound and at < size:
        tag, at = _varint(raw, at)
        wire = tag & 7
        if wire == 2:
            length, at = _varint(raw, at)
            at += length
        else:
            at += {0: 1, 1: 8, 5: 4}.get(wire, size + 1)
        sound = 1 <= tag >> 3 <= 1 << 20 and at <= size
    if not sound:
        raise VerificationFailed(f"{file.name} is not a sound tokenizer", "copy it again from its source")


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    """A number and where it ends; past the end of the bytes when it does not end."""
    value = shift = 0
    while at < len(raw) and shift < 64:
        byte = raw[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
    return 0, len(raw) + 1


def main() -> None:
    """Read {"folder", "names"} from standard input, shut this process in, answer with facts or with an error."""
    asked = json.load(sys.stdin)
    missing = shut_in()
    answer: dict[str, Any] = {"missing": missing, "held": [name for name in MEANS if name not in missing]}
    try:
        answer["facts"] = asdict(examine(Path(asked["folder"]), asked["names"]))
    except FactoryError as error:
        answer |= error.as_dict()
    sys.stdout.write(json.dumps(answer))
