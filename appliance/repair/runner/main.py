"""Entry point: keep the protocol's descriptors away from the tests, load the package, serve.

Usage: ``python main.py hot|cold PROCESSES MEMORY_MB``. Requests and replies are JSON, one a line, on what were
standard input and output at the start.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path


def load_package() -> None:
    """Make this folder importable as `_appliance_runner`, and take it off the import path."""
    here = Path(__file__).resolve().parent
    sys.path[:] = [entry for entry in sys.path if entry and Path(entry).resolve() != here]
    spec = importlib.util.spec_from_file_location(
        "_appliance_runner", here / "__init__.py", submodule_search_locations=[str(here)]
    )
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["_appliance_runner"] = module
    spec.loader.exec_module(module)


def private_streams() -> tuple[int, int]:
    """Move standard input and output to other descriptors and leave /dev/null in their places."""
    requests, replies = os.dup(0), os.dup(1)
    for descriptor in (requests, replies):
        os.set_inheritable(descriptor, False)
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    return requests, replies


def main() -> None:
    mode, processes, memory_mb = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    requests, replies = private_streams()
    sys.dont_write_bytecode = True
    load_package()
    from _appliance_runner import serve  # type: ignore[import-not-found]

    serve.Server(requests, replies, hot=mode == "hot", processes=processes, memory_mb=memory_mb).loop()


if __name__ == "__main__":
    main()
