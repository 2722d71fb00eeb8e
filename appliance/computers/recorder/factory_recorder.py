"""A pytest plugin, loaded inside the sandbox, that writes down what every test did as it happens.

It goes by environment: FACTORY_RECORD (where to write; absolute, a number and `.jsonl` are added), FACTORY_FRAMES (the
folder whose files count as the repository's), FACTORY_TEST_SECONDS (longest time one phase of one test may take) and
FACTORY_ONLY (a file with the test ids to keep). One JSON object a line::

    {"kind": "begin"}
    {"kind": "start", "id": ID}
    {"kind": "test", "id": ID, "outcome": …, "message": …, "frames": [[path, line, function], …], "seconds": …}
    {"kind": "complete", "exit": N, "collected": N}

It works with every pytest from 6 on and imports nothing of the box.
"""

import contextlib
import json
import os
import signal
import threading

import pytest

MESSAGE = 4096
PART = 7 * 1024 * 1024
MOST_FRAMES = 40


class Recorder:
    """What one pytest process did."""

    def __init__(self, path, frames, seconds, only):
        self.path = path
        self.frames_of = os.path.realpath(frames)
        self.seconds = seconds
        self.only = only
        self.part = 0
        self.size = 0
        self.outcomes = {}
        self.traces = {}
        self.collected = 0

    def write(self, **record):
        data = json.dumps(record).encode() + b"\n"
        if self.size + len(data) > PART:
            self.part, self.size = self.part + 1, 0
        self.size += len(data)
        with open(f"{self.path}{self.part}.jsonl", "ab", buffering=0) as out:
            out.write(data)

    def note(self, nodeid, outcome, message="", seconds=0.0):
        """Keep the worst of a test's phases: an error while tearing down outweighs a pass."""
        known = self.outcomes.get(nodeid)
        if known is None or known[0] in ("passed", "xpassed"):
            self.outcomes[nodeid] = (
                outcome,
                message or (known[1] if known else ""),
                seconds + (known[2] if known else 0),
            )

    def end(self, nodeid):
        if nodeid in self.outcomes:
            outcome, message, seconds = self.outcomes.pop(nodeid)
            frames = self.traces.pop(nodeid, [])
            self.write(
                kind="test", id=nodeid, outcome=outcome, message=message[-MESSAGE:], frames=frames, seconds=seconds
            )

    def frames(self, traceback):
        """Places in the repository's own files, outermost first."""
        found = []
        for entry in traceback:
            path = os.path.realpath(str(entry.path))
            if path.startswith(self.frames_of + os.sep):
                found.append([os.path.relpath(path, self.frames_of), entry.lineno + 1, entry.name])
        return found[-MOST_FRAMES:]

    @contextlib.contextmanager
    def hurried(self, what):
        """Fail what takes too long, so that one test that hangs does not hide all the others."""
        if not self.seconds or threading.current_thread() is not threading.main_thread():
            yield
            return

        def late(*_):
            raise pytest.fail.Exception(f"{what} did not end within {self.seconds:g} seconds")

        before = signal.signal(signal.SIGALRM, late)
        signal.setitimer(signal.ITIMER_REAL, self.seconds, 1.0)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)

    # -- hooks ---------------------------------------------------------------------------------------------------

    @pytest.hookimpl(hookwrapper=True)
    def pytest_make_collect_report(self, collector):
        with self.hurried("collecting it"):
            yield

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_runtest_setup(self, item):
        with self.hurried("its preparation"):
            yield

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_runtest_call(self, item):
        with self.hurried("the test"):
            yield

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item):
        with self.hurried("its clean-up"):
            yield

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_makereport(self, item, call):
        yield
        if call.excinfo is not None:
            self.traces[item.nodeid] = self.frames(call.excinfo.traceback)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config, items):
        if self.only is not None:
            kept = [item for item in items if item.nodeid in self.only]
            dropped = [item for item in items if item.nodeid not in self.only]
            if dropped:
                config.hook.pytest_deselected(items=dropped)
                items[:] = kept
        self.collected = len(items)

    def pytest_collectreport(self, report):
        if report.failed:
            self.note(report.nodeid, "error", text_of(report))
            self.end(report.nodeid)

    def pytest_runtest_logstart(self, nodeid):
        self.write(kind="start", id=nodeid)

    def pytest_runtest_logreport(self, report):
        expected = hasattr(report, "wasxfail")
        if report.skipped:
            self.note(report.nodeid, "xfailed" if expected else "skipped", text_of(report), report.duration)
        elif report.failed:
            self.note(report.nodeid, "failed" if report.when == "call" else "error", text_of(report), report.duration)
        elif report.when == "call":
            self.note(report.nodeid, "xpassed" if expected else "passed", "", report.duration)

    def pytest_runtest_logfinish(self, nodeid):
        self.end(nodeid)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session, exitstatus):
        self.write(kind="complete", exit=int(exitstatus), collected=self.collected)


def text_of(report):
    """The failure as pytest shows it."""
    longrepr = report.longrepr
    if isinstance(longrepr, tuple):  # a skip: file, line, reason
        return str(longrepr[2])
    return getattr(report, "longreprtext", None) or str(longrepr or "")


def pytest_addoption(parser, pluginmanager):
    """The earliest hook there is, so that a run stopped by a wrong option still shows that pytest was started.

    The variables are taken out of the environment: a pytest started by a test must not write into our record.
    """
    path = os.environ.pop("FACTORY_RECORD", "")
    if not path:
        return
    only = None
    listed = os.environ.pop("FACTORY_ONLY", "")
    if listed:
        with open(listed, encoding="utf-8") as file:
            only = frozenset(json.load(file))
    recorder = Recorder(
        path, os.environ.pop("FACTORY_FRAMES", "."), float(os.environ.pop("FACTORY_TEST_SECONDS", "0")), only
    )
    recorder.write(kind="begin")
    pluginmanager.register(recorder, "factory-recorder")
