"""Signals and items are numbered alike: S-7 becomes W-7."""

from __future__ import annotations


def item_of(signal: str) -> str:
    """The id of the item that is opened for a signal.

    >>> item_of("S-7")
    'W-7'
    """
    return signal.replace("S-", "W-", 1)


def signal_of(item: str) -> str:
    """The id of the signal that an item was opened for."""
    return item.replace("W-", "S-", 1)


def number_of(id: str) -> int:
    """The number in the id of an item, a signal or a lesson: rows are in its order.

    >>> number_of("W-7")
    7
    """
    return int(id.partition("-")[2])
