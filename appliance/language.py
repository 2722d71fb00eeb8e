"""In which language code is written, by the names of its files. Pure; rules and lessons use the same names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

SUFFIXES: Mapping[str, str] = {
    suffix: language
    for language, suffixes in {
        "ada": ".adb .ads", "c": ".c .h", "c++": ".cc .cpp .cxx .hh .hpp .hxx", "c#": ".cs", "clojure": ".clj .cljs",
        "cobol": ".cbl .cob", "dart": ".dart", "elixir": ".ex .exs", "erlang": ".erl .hrl", "f#": ".fs",
        "fortran": ".f .f90 .f95 .for", "go": ".go", "groovy": ".groovy", "haskell": ".hs", "java": ".java",
        "javascript": ".js .jsx .mjs .cjs", "julia": ".jl", "kotlin": ".kt .kts", "lua": ".lua", "ocaml": ".ml .mli",
        "perl": ".pl .pm", "php": ".php", "powershell": ".ps1", "python": ".py .pyi .pyx", "r": ".r", "ruby": ".rb",
        "rust": ".rs", "scala": ".scala", "shell": ".sh .bash", "sql": ".sql", "swift": ".swift",
        "typescript": ".ts .tsx", "vhdl": ".vhd .vhdl", "verilog": ".v .sv", "visual basic": ".vb", "zig": ".zig",
    }.items()
    for suffix in suffixes.split()
}  # fmt: skip
"""Of source code; what only describes or configures (Markdown, JSON, HTML) is no language here."""


def language_of(paths: Iterable[str]) -> str:
    """The language that most of these files are in; "" where none is source code. Equally many: the first by name.

    >>> language_of(["shop/cart.py", "shop/price.PY", "web/app.ts", "README.md"]), language_of(["README.md"])
    ('python', '')
    """
    counted = Counter(SUFFIXES[suffix] for path in paths if (suffix := PurePosixPath(path).suffix.lower()) in SUFFIXES)
    return min(counted, key=lambda name: (-counted[name], name), default="")
