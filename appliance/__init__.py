"""The factory: vocabulary, ledger, mirror, computers, droids, repair and the line that ties them together."""

__version__ = "0.1.0"
