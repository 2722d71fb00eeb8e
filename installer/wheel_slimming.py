"""Makes a wheel small: each shared library once under the names it is looked up by, and no headers.

A build installs every library three times (`x.so`, `x.so.0`, `x.so.0.5.0`: links that a wheel turns into copies) in two
folders, with headers and build files beside them. What runs is a third of that.
"""

from __future__ import annotations

import base64
import hashlib
import re
import zipfile
from collections.abc import Iterable
from pathlib import Path

DROPPED = re.compile(r"^(include/|lib/cmake/|lib/pkgconfig/|bin/(?!llama-server$))|\.so\.\d+\.\d+")
"""Headers, build files, other tools, and the fully numbered copies that nothing looks up."""

SONAME_COPY = re.compile(r"^(?P<name>lib/.*\.so)\.\d+$")


def kept(names: Iterable[str]) -> list[str]:
    """Which members of a wheel stay: in lib/ the loader asks for `x.so.0`, in llama_cpp/lib Python for `x.so` too."""
    members = [name for name in names if not DROPPED.search(name)]
    doubled = {found["name"] for found in map(SONAME_COPY.match, members) if found}
    return [name for name in members if name not in doubled]


def slim(source: Path, target: Path, note: tuple[str, bytes]) -> None:
    """Write the members of the wheel `source` that stay to `target`, with a note in its metadata and RECORD renewed."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as new:
        record_name = next(name for name in old.namelist() if name.endswith(".dist-info/RECORD"))
        records = []
        for name in kept(old.namelist()):
            if name == record_name:
                continue
            content = old.read(name)
            new.writestr(old.getinfo(name), content, zipfile.ZIP_DEFLATED)
            records.append(_record(name, content))
        note_name = record_name.removesuffix("RECORD") + note[0]
        new.writestr(note_name, note[1])
        records += [_record(note_name, note[1]), f"{record_name},,"]
        new.writestr(record_name, "\n".join(records) + "\n")


def note_of(wheel: Path, name: str) -> bytes | None:
    """The note of that name in a wheel's metadata, or None."""
    with zipfile.ZipFile(wheel) as archive:
        found = [member for member in archive.namelist() if member.endswith(f".dist-info/{name}")]
        return archive.read(found[0]) if found else None


def _record(name: str, content: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    return f"{name},sha256={digest},{len(content)}"
