"""What a file is by its content, whatever its name says, and why some may never come into the box.

A model is numbers and text. A pickle runs code when it is loaded, an archive hides what is in it, a program or a script
is code: none of them is needed where weights are safetensors or GGUF.
"""

from __future__ import annotations

import pickletools
import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from models.gguf import MAGIC

HEAD = 4096
"""Bytes from the start of a file that tell what it is."""
SMALL = 1024 * 1024
"""Longest file that is read whole to see whether it is a pickle in the old text form."""
MAX_SAFETENSORS_HEADER = 100_000_000
"""Bytes; the format's own limit."""

ARCHIVES = {
    b"PK\x03\x04": "a zip archive (the way PyTorch saves pickles)", b"PK\x05\x06": "an empty zip archive",
    b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"7z\xbc\xaf": "7z", b"\x28\xb5\x2f\xfd": "zstd",
    b"Rar!": "rar", b"\x89HDF": "HDF5, which can hold code", b"\x93NUMPY": "a numpy array, which can hold pickles",
}  # fmt: skip
PROGRAMS = (
    b"\x7fELF", b"MZ", b"\xfe\xed\xfa\xce", b"\xfe\xed\xfa\xcf", b"\xcf\xfa\xed\xfe", b"\xce\xfa\xed\xfe",
    b"\xca\xfe\xba\xbe", b"\0asm",
)  # fmt: skip
CODE = frozenset({
    ".py", ".pyc", ".pyi", ".pyx", ".ipynb", ".sh", ".bash", ".bat", ".cmd", ".ps1", ".js", ".mjs", ".rb", ".pl",
    ".lua", ".so", ".dll", ".dylib", ".exe", ".jar", ".wasm",
})  # fmt: skip
"""Endings of files that are code by their name alone."""
CALLING = frozenset({"GLOBAL", "INST", "OBJ", "REDUCE", "BUILD", "NEWOBJ", "STACK_GLOBAL"})
"""What a pickle needs to run code. Text that happens to read as a pickle has none of these."""

GGUF, SAFETENSORS, TEXT, OTHER = "gguf", "safetensors", "text", "other"


def danger(name: str, head: bytes, whole: bytes | None = None) -> str:
    """Why a file may not come in, by the first bytes of its content; "" when nothing speaks against it.

    `whole` is its content when it is short (see SMALL); None for longer ones.
    """
    if name.lower().endswith(".safetensors") and looks_like_safetensors(head):
        return (
            ""  # its first bytes are a length, which may happen to be any of the marks below; its reader looks closer
        )
    for magic, what in ARCHIVES.items():
        if head.startswith(magic):
            return f"it is packed: {what}"
    if head[257:262] == b"ustar":
        return "it is packed: tar"
    if any(head.startswith(magic) for magic in PROGRAMS) and b"\0" in head:
        return "it is a program"
    if head.startswith(b"#!"):
        return "it is a script"
    if PurePosixPath(name).suffix.lower() in CODE:
        return "it is code, which a model must not bring along"
    if _is_pickle(head, whole):
        return "it is a Python pickle, which runs code when it is loaded"
    return ""


def kind_of(name: str, head: bytes) -> str:
    """GGUF by content or name; SAFETENSORS by name, because engines choose their reader by it; else TEXT or OTHER."""
    if head.startswith(MAGIC) or name.lower().endswith(".gguf"):
        return GGUF
    if name.lower().endswith(".safetensors"):
        return SAFETENSORS
    return OTHER if b"\0" in head else TEXT


def looks_like_safetensors(head: bytes) -> bool:
    """Whether it begins with a length and an object, as the format does."""
    return len(head) > 8 and head[8:9] == b"{" and 2 <= int.from_bytes(head[:8], "little") <= MAX_SAFETENSORS_HEADER


def template_danger(template: str) -> str:
    """Why a chat template is refused: it reaches for Python's insides, which no real one does; "" when it does not."""
    found = re.search(
        r"__(?:class|mro|bases?|subclasses|globals|builtins|import|init|dict|code|getattribute|reduce)__|\bpopen\b",
        template,
    )
    return f"its chat template reaches for {found.group()!r}, a way to run code" if found else ""


def _is_pickle(head: bytes, whole: bytes | None) -> bool:
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return True
    if whole is None:
        return False
    names = list(_opcodes(whole))
    return bool(names) and names[-1] == "STOP" and not CALLING.isdisjoint(names)


def _opcodes(whole: bytes) -> Iterator[str]:
    """The names of the opcodes until the first thing that is none. Nothing is run."""
    try:
        for opcode, argument, _ in pickletools.genops(whole):
            if opcode.name in ("GLOBAL", "INST") and not re.fullmatch(r"[\w.]+ [\w.]+", str(argument)):
                return  # lines of text, such as the merges of a tokenizer
            yield opcode.name
    except Exception:  # noqa: BLE001 - it raises whatever text that is no pickle makes int() or decode() raise
        return
