"""The console's worker builds on what is inside gunicorn, which promises nothing of that to anybody."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import pytest
from gunicorn.http import wsgi
from gunicorn.http.message import Message, Request
from gunicorn.http.parser import Parser
from gunicorn.http.unreader import IterUnreader, Unreader
from gunicorn.workers.gthread import TConn, ThreadWorker

READ_AGAINST = {
    TConn.__init__: "c8763d7c65974e1b",
    TConn.init: "5ff3d4ba451cfdf3",
    TConn.close: "6d1c334ed1979fcb",
    ThreadWorker.__init__: "5681b8b542ea91bf",
    ThreadWorker.set_accept_enabled: "140150ebfd3cae34",
    ThreadWorker.accept: "f8dcead3dce5c851",
    ThreadWorker.enqueue_req: "c9f428953d24acef",
    ThreadWorker.wait_for_and_dispatch_events: "ea969b352482bd5c",
    ThreadWorker.run: "f92c7394d85715a4",
    ThreadWorker.handle: "ca85c9be3df75da4",
    ThreadWorker.handle_request: "6d0de5b919102efc",
    ThreadWorker._keepalive_after: "4ebdbbc8bf5aafa5",
    ThreadWorker.finish_request: "616e7bb15a009ff7",
    ThreadWorker.murder_keepalived: "4459960c4ccc36d4",
    ThreadWorker.murder_pending: "7bf11f46454296e1",
    ThreadWorker._cap_keepalive: "745c8ac37108c74d",
    Parser.__init__: "604084ecb33b3dbd",
    Parser.__next__: "b8536520e95854d6",
    Parser.finish_body: "54c5d0d28c2626ea",
    Unreader.take_buffered: "89cef5e60e6f09e1",
    IterUnreader.chunk: "4aebaa160261910c",
    Message.force_close: "656092cce3c31f66",
    Request.__init__: "f1feb7cdea229ec5",
    wsgi.create: "2c35d4a2dc629ede",
}  # fmt: skip
"""What `control/gathering.py` replaces, calls or counts on being called by, and the digest it was last read at."""


def digest(inside: Callable[..., Any]) -> str:
    return hashlib.sha256(inspect.getsource(inside).encode()).hexdigest()[:16]


@pytest.mark.parametrize("inside", READ_AGAINST, ids=lambda inside: inside.__qualname__)
def test_gunicorn_is_inside_as_the_consoles_worker_was_written_against(inside: Callable[..., Any]) -> None:
    assert digest(inside) == READ_AGAINST[inside], (
        f"gunicorn {version('gunicorn')} has another {inside.__module__}.{inside.__qualname__}: read it against "
        f"control/gathering.py, mend that, run tests/control/test_{{gathering,slow_senders,tls,floods}}.py, "
        f"and write the digest {digest(inside)} here"
    )
