"""Asks the box's own command line: for what needs rules and models, which this process knows nothing of.

The same checks and the same words as for whoever types the command; a child process, ended when it takes too long.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from typing import Any

from appliance.errors import ConfigError, FactoryError, NotFound, Unavailable, UsageError
from control.desk import Desk

RAISED: dict[str, type[FactoryError]] = {one.code: one for one in (UsageError, ConfigError, NotFound)}


def typed(*words: str) -> str:
    """The command as a person types it."""
    return shlex.join(("appliance", *words))


def asked(desk: Desk, *words: str, seconds: float = 30.0) -> Any:
    """What `appliance --json WORDS` prints. Raises what it refused with, and Unavailable when it did not end."""
    command = [sys.executable, "-m", "appliance", "--home", str(desk.home.root), "--json", *words]
    by_hand = f"run `appliance {' '.join(words)}` by hand"
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
        told = json.loads(done.stdout or done.stderr)
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"`appliance {words[0]}` took more than {seconds:.0f} s", by_hand) from error
    except ValueError as error:
        raise Unavailable(f"`appliance {words[0]}` did not finish", f"{by_hand} with --debug") from error
    if isinstance(told, dict) and set(told) == {"error"}:
        problem = told["error"]
        raise RAISED.get(problem["code"], Unavailable)(problem["message"], problem["hint"])
    return told
