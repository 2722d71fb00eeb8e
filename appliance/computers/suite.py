"""Run a repository's tests in a sandbox and say what every test did.

Outcomes come from a pytest plugin of ours (see `recorder/`), loaded by environment, so that they are complete with any
command that starts pytest. What a test writes about itself can be forged by the code under test; nothing here lets it
reach further than its own report.
"""

from __future__ import annotations

import json
import shlex
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from appliance.ports import Completed, Limits, Progress, Sandbox
from appliance.work import Frame, TestReport

RECORDER = Path(__file__).with_name("recorder")
RECORD = ".factory-record-"
PARTS = 8
TAIL = 8192
OUTCOMES = frozenset({"passed", "failed", "error", "skipped", "xfailed", "xpassed"})

SETUP = (
    'PYTHONPATH="$PWD$([ -d src ] && echo ":$PWD/src"):$FACTORY_RECORDER${PYTHONPATH:+:$PYTHONPATH}"; '
    'FACTORY_RECORD="$PWD/' + RECORD + '"; FACTORY_FRAMES="$PWD"; export PYTHONPATH FACTORY_RECORD FACTORY_FRAMES; '
)


def run_suite(
    sandbox: Sandbox,
    tree: Path,
    command: str,
    limits: Limits,
    python: str,
    only: Sequence[str] = (),
    progress: Progress = lambda _: None,
    *,
    plugins: bool = False,
    env: Mapping[str, str] | None = None,
) -> TestReport:
    """Run the tests of `tree` and report them.

    Args:
        command: shell command; "" means `PYTHON -m pytest`.
        python: interpreter for the automatic command.
        only: test ids to run; others are left out. Ids that no longer exist are simply missing from the outcomes.
        plugins: let pytest load the plugins installed beside `python`.

    Raises:
        Unavailable: the sandbox itself did not work.
    """
    chosen = command.strip() or _automatic(python, tree, only)
    variables = {
        "FACTORY_RECORDER": str(RECORDER),
        "FACTORY_TEST_SECONDS": f"{test_seconds(limits):g}",
        "PYTEST_PLUGINS": "factory_recorder",
        "PYTEST_ADDOPTS": "--continue-on-collection-errors",
        **({} if plugins else {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}),
        **(env or {}),
    }
    progress(f"running tests: {chosen if len(chosen) < 100 else chosen[:100] + '…'}")
    with tempfile.TemporaryDirectory(prefix="appliance-suite-") as folder:
        tools = [RECORDER, Path(folder)]
        if only:
            listed = Path(folder, "only.json")
            listed.write_text(json.dumps(list(only)), encoding="utf-8")
            variables["FACTORY_ONLY"] = str(listed)
        done = sandbox.run(
            ["/bin/sh", "-c", SETUP + chosen],
            tree=tree,
            limits=limits,
            env=variables,
            tools=tools,
            fetch=[f"{RECORD}{part}.jsonl" for part in range(PARTS)],
        )
    report = _report(done, limits, sandbox.describe(limits), automatic=not command.strip())
    progress(_summary(report))
    return report


def test_seconds(limits: Limits) -> float:
    """Longest time for one test: a hanging one must leave room for the others."""
    return max(1.0, min(limits.seconds, limits.cpu_seconds) / 10)


test_seconds.__test__ = False  # type: ignore[attr-defined]  # not a test, whatever its name suggests to pytest


def in_words(limit: str, limits: Limits) -> str:
    """What a limit's name means, for people."""
    return {
        "time": f"it took longer than {limits.seconds:g} seconds (or {limits.cpu_seconds:g} seconds of CPU)",
        "memory": f"it used more than {limits.memory_mb} MiB of memory",
        "disk": f"it wrote more than {limits.disk_mb} MiB",
        "processes": f"it started more than {limits.processes} processes and threads",
        "output": f"it printed more than {limits.output_kb} KiB",
    }.get(limit, limit)


def _automatic(python: str, tree: Path, only: Sequence[str]) -> str:
    files = sorted({name.partition("::")[0] for name in only})
    return shlex.join([python, "-m", "pytest", "-q", *(name for name in files if (tree / name).exists())])


def _report(done: Completed, limits: Limits, sandbox: str, *, automatic: bool) -> TestReport:
    outcomes: dict[str, str] = {}
    messages: dict[str, str] = {}
    frames: dict[str, tuple[Frame, ...]] = {}
    begun = ended = 0
    started: list[str] = []
    for record in _records(done.files):
        kind, name, outcome = record.get("kind"), str(record.get("id", "")), str(record.get("outcome"))
        if kind == "begin":
            begun += 1
        elif kind == "start":
            started.append(name)
        elif kind == "test" and outcome in OUTCOMES:
            outcomes[name] = outcome
            messages[name] = str(record.get("message", ""))[-4096:]
            frames[name] = _frames(record.get("frames"))
        elif kind == "complete":
            ended += record.get("exit") in (0, 1, 5)
    why = in_words(done.limit, limits) if done.limit else "the test process ended without finishing it"
    for name in started:
        if name not in outcomes:
            outcomes[name], messages[name] = "failed", f"the test was running when the run was ended: {why}"
    whole = ended == begun if begun else not automatic
    tail = (done.stdout + done.stderr)[-TAIL:].decode("utf-8", "replace")
    return TestReport(
        outcomes=outcomes,
        messages={name: text for name, text in messages.items() if text},
        frames={name: found for name, found in frames.items() if found},
        exit_code=done.exit_code,
        timed_out=done.limit == "time",
        limit=done.limit,
        complete=whole and done.exit_code is not None and not done.limit,
        wall_seconds=done.seconds,
        output_tail=tail + (f"\nsandbox: the run was ended: {why}" if done.limit else ""),
        sandbox=sandbox,
    )


def _records(files: Mapping[str, bytes]) -> Iterable[Mapping[str, Any]]:
    """Records in order. A line cut short by a kill, or one the tests have spoilt, is left out."""
    for part in range(PARTS):
        for line in files.get(f"{RECORD}{part}.jsonl", b"").splitlines():
            try:
                record = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(record, dict):
                yield record


def _frames(given: Any) -> tuple[Frame, ...]:
    if not isinstance(given, list):
        return ()
    return tuple(
        Frame(path=str(entry[0]), line=entry[1], function=str(entry[2]))
        for entry in given[:64]
        if isinstance(entry, list) and len(entry) == 3 and isinstance(entry[1], int)
    )


def _summary(report: TestReport) -> str:
    if not report.outcomes:
        ending = f"limit reached: {report.limit}" if report.limit else f"exit status {report.exit_code}"
        return f"tests ended without per-test results ({ending}) in {report.wall_seconds:.1f} s"
    failed = len(report.failed)
    return f"{len(report.passed)} passed, {failed} failed of {len(report.outcomes)} in {report.wall_seconds:.1f} s"
