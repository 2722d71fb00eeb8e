"""The least a keeper of webhooks in Python can be: the signature checked, the bytes on the disk, an answer. What the
console's features cost is seen against it. Flask under gunicorn with threads; run by `bench_hooks.py`."""

from __future__ import annotations

import hashlib
import hmac
import os
import sqlite3
import threading

from flask import Flask, Response, request


def create_app() -> Flask:
    """The application; BARE_FILE and BARE_SECRET say where it keeps and what it checks."""
    app = Flask(__name__)
    secret, own = os.environ["BARE_SECRET"].encode(), threading.local()

    def database() -> sqlite3.Connection:
        if not hasattr(own, "database"):
            own.database = sqlite3.connect(os.environ["BARE_FILE"], timeout=10, isolation_level=None)
            own.database.execute("PRAGMA journal_mode=WAL")
            own.database.execute("PRAGMA synchronous=FULL")
            own.database.execute("CREATE TABLE IF NOT EXISTS hooks (id TEXT PRIMARY KEY, body BLOB)")
        found: sqlite3.Connection = own.database
        return found

    @app.post("/hooks/gitea/shop")
    def take() -> Response:
        body = request.get_data()
        right = hmac.new(secret, body, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(right, request.headers.get("X-Gitea-Signature", "")):
            return Response(status=401)
        database().execute("INSERT OR IGNORE INTO hooks VALUES (?, ?)", (request.headers["X-Gitea-Delivery"], body))
        return Response(status=202)

    @app.get("/healthz")
    def healthz() -> Response:
        return Response("ok")

    return app
