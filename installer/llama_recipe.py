"""How the llama-cpp-python wheel is built: pure decisions, so that equal machines share one wheel.

The index has its source only. The wheel holds the Python package and, from the same source, `llama-server` with its
libraries. The key of a recipe names everything that decides the bytes of the result, hence where it is cached.
"""

from __future__ import annotations

import hashlib
import json
import platform
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

LAYOUT = 1
"""Counts changes of the steps themselves (trimming, slimming) that no flag shows."""

FIXED_FLAGS: Mapping[str, str] = {
    "GGML_NATIVE": "OFF",  # the features below decide, not the machine that happens to build
    "LLAMA_BUILD_TOOLS": "ON",
    "LLAMA_BUILD_SERVER": "ON",
    "LLAMA_BUILD_UI": "OFF",
    "LLAMA_USE_PREBUILT_UI": "OFF",  # on, it reaches for a hub while building
    "LLAMA_OPENSSL": "OFF",
    "LLAMA_TOOLS_INSTALL": "ON",
    "LLAVA_BUILD": "OFF",  # the tools bring mtmd already; twice stops cmake
    "CMAKE_INSTALL_RPATH": "$ORIGIN/../lib",  # bin/llama-server finds lib/ without LD_LIBRARY_PATH
}

FEATURE_FLAGS: Mapping[str, str] = {"avx": "AVX", "avx2": "AVX2", "fma": "FMA", "f16c": "F16C", "bmi2": "BMI2"}
"""x86 processor features as /proc/cpuinfo names them, and llama.cpp's name for each."""

KEPT_TOOLS = frozenset({"ui", "server", "mtmd"})
"""What llama-server needs of the vendored tools; the others cost minutes and are never run."""


@dataclass(frozen=True)
class Recipe:
    """Version, machine, processor features to use, and the C library it is linked with."""

    version: str
    machine: str
    features: tuple[str, ...]
    libc: str
    layout: int = LAYOUT

    @property
    def flags(self) -> dict[str, str]:
        """The definitions cmake gets."""
        chosen = dict(FIXED_FLAGS)
        if self.machine in {"x86_64", "AMD64"}:
            chosen |= {
                f"GGML_{name}": "ON" if feature in self.features else "OFF" for feature, name in FEATURE_FLAGS.items()
            }
        return chosen

    @property
    def key(self) -> str:
        """Names the wheel this recipe gives."""
        whole = {**asdict(self), "flags": self.flags, "tools": sorted(KEPT_TOOLS)}
        return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()[:16]

    def cmake_arguments(self, ccache: bool) -> str:
        """The value of CMAKE_ARGS. A compiler cache changes the time, not the result, so it is no part of the key."""
        words = [f"-D{name}={value}" for name, value in self.flags.items()]
        if ccache:
            words += [f"-DCMAKE_{language}_COMPILER_LAUNCHER=ccache" for language in ("C", "CXX")]
        return " ".join(words)


def for_this_machine(version: str) -> Recipe:
    """The recipe that suits the processor and system this runs on."""
    libc = "-".join(part for part in platform.libc_ver() if part)
    return Recipe(version, platform.machine(), usable(processor_features()), libc)


def processor_features(cpuinfo: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """Every feature the kernel reports for the first processor; empty when it cannot be read."""
    try:
        found = re.search(r"^(?:flags|Features)\s*:\s*(.*)$", cpuinfo.read_text("utf-8"), re.MULTILINE)
    except OSError:
        return frozenset()
    return frozenset(found[1].split()) if found else frozenset()


def usable(features: frozenset[str]) -> tuple[str, ...]:
    """Those of `features` a build can use, in a fixed order."""
    return tuple(name for name in FEATURE_FLAGS if name in features)


def trimmed(tools: str) -> str:
    """The text of the vendored tools/CMakeLists.txt without the tools that are not kept."""
    kept = []
    for line in tools.splitlines(keepends=True):
        folder = re.match(r"\s*add_subdirectory\(\s*([\w.-]+)\s*\)", line)
        if folder is None or folder[1] in KEPT_TOOLS or folder[1] in {"rpc", "tuning"}:
            kept.append(line)
    return "".join(kept)
