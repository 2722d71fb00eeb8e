"""The least a gateway in Python can be: key check, JSON in and out, pooled connections. What features cost is seen
against it. Flask under gunicorn with one gevent worker, as the gateway; run by `bench_peers.py`."""

from __future__ import annotations

import os
from collections.abc import Iterator

import orjson
import urllib3
from flask import Flask, Response, request


def create_app() -> Flask:
    """The application; BARE_UPSTREAM and BARE_KEY say where to and for whom."""
    app = Flask(__name__)
    pool = urllib3.PoolManager(maxsize=256, block=False)
    upstream, token = os.environ["BARE_UPSTREAM"], f"Bearer {os.environ['BARE_KEY']}"

    @app.post("/v1/chat/completions")
    def chat() -> Response:
        if request.headers.get("Authorization") != token:
            return Response(status=401)
        body = orjson.loads(request.get_data())
        stream = bool(body.get("stream"))
        answer = pool.request(
            "POST",
            f"{upstream}/v1/chat/completions",
            body=orjson.dumps(body),
            headers={"Content-Type": "application/json"},
            preload_content=not stream,
        )
        if not stream:
            return Response(orjson.dumps(orjson.loads(answer.data)), mimetype="application/json")

        def pieces() -> Iterator[bytes]:
            yield from answer.read_chunked()
            answer.release_conn()

        return Response(pieces(), mimetype="text/event-stream")

    return app
