"""The learning store: what the ledger says, laid out for questions, in a DuckDB file that one process owns.

`service.py` is the composition root (`serve`), `store.py` the file, `derive.py` what an event becomes, `opening.py`
when the file can be trusted, `queries.py` what may be asked, `client.py` how others ask. Everything here can be
rebuilt from the ledger at any time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from appliance.learning.client import LearningClient

if TYPE_CHECKING:
    from appliance.config import Home
    from appliance.settings import Settings

__all__ = ["LearningClient", "serve"]


def serve(home: Home, settings: Settings) -> int:
    """Run the learning process until told to stop; loaded here so that clients need no DuckDB."""
    from appliance.learning.service import serve as run

    return run(home, settings)
