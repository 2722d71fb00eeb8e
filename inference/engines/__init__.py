"""Engines: one inference server per loaded model, each a child process behind one supervisor.

`serve` is the composition root of the `engines` process. It publishes what runs in `run/engines.json` and takes orders
on the Unix socket `run/engines.sock`; `appliance.engines_client` is the other end of both. A kind of engine is one file
with a class that has the shape of `engine.Engine`, and one line in `server.kinds`.
"""

from inference.engines.server import serve

__all__ = ["serve"]
