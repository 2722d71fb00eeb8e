"""Fills offline-wheels/, so that a checkout carried into a closed network installs without an index."""

from __future__ import annotations

from installer import assets, llama_wheel, pip
from installer.checkout import Checkout
from installer.setup import setup
from installer.terminal import Terminal

LOCKS = ("dev", "models", "build")
"""The development set holds the runtime set."""


def fill(checkout: Checkout, terminal: Terminal) -> None:
    """Download every locked wheel for this Python and platform; add the llama.cpp wheel and source, and assets."""
    setup(checkout, terminal, dev=True)
    wheel = llama_wheel.obtain(checkout, terminal, "llama.cpp")
    pip.download(checkout, LOCKS, terminal, "wheels")
    llama_wheel.fetch_source(checkout, terminal, "llama.cpp: source")
    llama_wheel.put_into_wheelhouse(checkout, wheel)
    assets.put_into_wheelhouse(checkout, terminal, "assets of the console")
    files = [file for file in checkout.wheelhouse.iterdir() if file.suffix in {".whl", ".gz", ".tgz"}]
    megabytes = sum(file.stat().st_size for file in files) / 1e6
    terminal.say(f"offline-wheels/ holds {len(files)} files, {megabytes:.0f} MB: carry the checkout with them")
