"""Equal machines share one wheel; a machine never gets one it cannot run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from installer.llama_recipe import Recipe, processor_features, trimmed, usable

RECIPE = Recipe("0.3.36", "x86_64", ("avx", "avx2", "fma"), "glibc-2.36")

TOOLS = """\
if (EMSCRIPTEN)
else()
    add_subdirectory(batched-bench)
    add_subdirectory(server)
    add_subdirectory(mtmd)
    if (GGML_RPC)
        add_subdirectory(rpc)
    endif()
    add_subdirectory( quantize )
endif()
"""


def test_the_same_recipe_has_the_same_key_each_time() -> None:
    assert RECIPE.key == replace(RECIPE).key and len(RECIPE.key) == 16


@pytest.mark.parametrize(
    "other",
    [
        replace(RECIPE, version="0.3.37"),
        replace(RECIPE, machine="aarch64"),
        replace(RECIPE, features=("avx",)),
        replace(RECIPE, libc="glibc-2.41"),
        replace(RECIPE, layout=RECIPE.layout + 1),
    ],
)
def test_whatever_changes_the_wheel_changes_the_key(other: Recipe) -> None:
    assert other.key != RECIPE.key


def test_a_compiler_cache_changes_the_arguments_but_not_the_key() -> None:
    plain, cached = RECIPE.cmake_arguments(ccache=False), RECIPE.cmake_arguments(ccache=True)
    assert cached.startswith(plain) and "COMPILER_LAUNCHER=ccache" in cached


def test_features_of_the_processor_are_switched_on_and_the_others_off() -> None:
    flags = RECIPE.flags
    assert {name: flags[f"GGML_{name}"] for name in ("AVX", "AVX2", "FMA", "F16C", "BMI2")} == {
        "AVX": "ON", "AVX2": "ON", "FMA": "ON", "F16C": "OFF", "BMI2": "OFF",
    }  # fmt: skip


def test_another_processor_family_gets_no_x86_flags() -> None:
    assert "GGML_AVX2" not in replace(RECIPE, machine="aarch64", features=()).flags


def test_the_build_reaches_for_no_hub_and_the_server_finds_its_libraries() -> None:
    assert RECIPE.flags["LLAMA_USE_PREBUILT_UI"] == "OFF"
    assert RECIPE.flags["CMAKE_INSTALL_RPATH"] == "$ORIGIN/../lib"


def test_features_are_read_from_the_first_processor(tmp_path: Path) -> None:
    told = tmp_path / "cpuinfo"
    told.write_text("processor\t: 0\nflags\t\t: fpu avx2 fma avx\n\nprocessor\t: 1\nflags\t\t: fpu\n", "utf-8")
    assert usable(processor_features(told)) == ("avx", "avx2", "fma")
    assert processor_features(tmp_path / "nothing") == frozenset()


def test_only_the_tools_the_server_needs_are_built() -> None:
    left = trimmed(TOOLS)
    assert "server" in left and "mtmd" in left and "rpc" in left
    assert "batched-bench" not in left and "quantize" not in left
    assert left.count("endif()") == TOOLS.count("endif()")
