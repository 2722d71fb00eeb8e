"""The operator's console: pages, the JSON API under `/api/v1`, and the offline manual.

`server.py` is the composition root (`serve`), `app.py` puts the parts together, `gate.py` lets people in. Views are
one file a noun in `views/` (pages) and `api/` (JSON). What a page says is decided by pure functions beside them:
`story.py`, `lanes.py`, `health.py`, `diff.py`, `verbs.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from appliance.config import Home
    from appliance.settings import Settings


def serve(home: Home, settings: Settings) -> int:
    """Run the console until told to stop; see `control.server`, loaded here so that `control.access` stays light."""
    from control.server import serve as run

    return run(home, settings)
