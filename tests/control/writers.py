"""A home with two small real writers, a running engines process and a running gateway, for the playground."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from appliance.cli.init import PLAYGROUND
from appliance.config import Home
from inference.keys import KeyStore, Terms
from models.card import WRITING
from models.importing import import_model
from models.registry import Registry
from tests.inference.engines_process import running_engines
from tests.inference.gateway_process import Gateway, free_port, running_gateway
from tests.inference.tiny_model import write_tiny_llama

TINY, MENDER = "tiny", "mender"
ENDLESS = """
[[rule]]
name = "endless"
candidates = ["tiny"]
parameters = { set = { ignore_eos = true } }
"""
"""Whoever asks `auto` hears the model until its tokens are used up."""


@contextmanager
def writers(home: Home) -> Iterator[Gateway]:
    """`tiny` may chat and says Hi!, `mender` may repair and says Yes!; by the rules, `tiny` goes on for ever."""
    for name, task, says in ((TINY, "chat", "Hi"), (MENDER, "repair", "Yes")):
        weights = write_tiny_llama(home.root / f"{name}.gguf", answer=says, context=8192)
        import_model(weights, Registry(home.models), name, tasks=(task,))
    home.routes_file.write_text(ENDLESS)
    home.settings_file.write_text(
        f"[gateway]\nport = {free_port()}\nkeepalive_seconds = 1\n[engines]\ncontext_tokens = 8192\nthreads = 2\n"
    )
    KeyStore(home.secrets / "keys.json").ensure(PLAYGROUND, scopes=("infer",), terms=Terms(tasks=WRITING))
    with running_engines(home), running_gateway(home) as running:
        yield running
