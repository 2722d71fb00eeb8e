"""The door to the models: Flask under gunicorn with one gevent worker.

The way of a call: `app` reads it → its door (`doors`) puts the body into one shape → `router.decide` names
candidates → `calls` finds one that answers (the only retry loop) → `views` or `relay` sends the answer, shaped by
`stream` and said in the client's API. `watch` notices clients that leave, `surroundings` holds what files say now:
rules, keys, models, engines. `server` puts the process together; only its worker is patched for gevent.
"""

from appliance.config import Home
from appliance.settings import Settings


def serve(home: Home, settings: Settings) -> int:
    """Run the gateway until SIGTERM or SIGINT. Returns the exit status; raises as `server.serve` does."""
    from inference.gateway import server

    return server.serve(home, settings)


__all__ = ["serve"]
