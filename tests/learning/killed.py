"""Takes over what there is and kills itself before its Nth statement to the store or the ledger: killed.py HOME N."""

from __future__ import annotations

import itertools
import os
import signal
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from appliance.config import Home
from appliance.learning import spool
from appliance.learning.service import Learning
from appliance.settings import Settings


class Counted:
    """A connection, or a ledger, whose calls of some names are counted."""

    def __init__(self, real: Any, count: Any, names: frozenset[str]) -> None:
        self._real, self._count, self._names = real, count, names

    def __getattr__(self, name: str) -> Any:
        if name in self._names:
            self._count()
        return getattr(self._real, name)


def main(home: str, last: int) -> None:
    """Run until the Nth."""
    numbers = itertools.count(1)

    def count() -> None:
        if next(numbers) == last:
            os.kill(os.getpid(), signal.SIGKILL)

    spool.CHUNK_BYTES = 3000
    learning = Learning(Home(Path(home)), Settings.model_validate({"learning": {"batch_rows": 7}}))
    learning._store._connection = Counted(learning._store._connection, count, frozenset({"execute"}))  # type: ignore[assignment]
    learning.ledger = Counted(learning.ledger, count, frozenset({"set_watermark"}))  # type: ignore[assignment]
    learning.catch_up()
    learning._store._connection = learning._store._connection._real  # type: ignore[attr-defined]
    learning.close()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
