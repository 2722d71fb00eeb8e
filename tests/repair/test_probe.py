"""Asking a candidate about inputs that the tests do not have."""

from __future__ import annotations

from types import CodeType

from appliance.repair.runner import probe

TEXT = "def double(n):\n    return n + n\n"


def defined(file: str) -> dict[str, object]:
    names: dict[str, object] = {}
    exec(compile(TEXT, file, "exec"), names)
    return names


def test_a_function_is_asked_though_another_file_has_the_very_same_one() -> None:
    """Code objects of the same text at the same line are equal, whatever their file."""
    mine, other = defined("/tree/mine.py"), defined("/elsewhere/mine.py")
    code = mine["double"].__code__  # type: ignore[attr-defined]
    assert isinstance(code, CodeType)
    assert code == other["double"].__code__  # type: ignore[attr-defined]
    recorder = probe.Recorder("/tree/", {"/tree/mine.py"}, set())
    recorder.calls[code.co_filename, code] = [{"n": 2}]
    assert [label for label, _, _ in probe._functions(recorder)] == ["double"]
