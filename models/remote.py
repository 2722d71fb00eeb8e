"""Cards of models that another server holds: an address, a name, a CA and a key file instead of weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from appliance.errors import UsageError
from models.card import Card, Remote, checked_name, checked_tasks
from models.registry import Registry


def add_remote(
    registry: Registry,
    id: str,
    url: str,
    name: str,
    ca_file: str = "",
    key_file: str = "",
    tasks: Sequence[str] = (),
    aliases: Sequence[str] = (),
    context_tokens: int = 0,
) -> Card:
    """Write the card of a model elsewhere. Files are named on it and read when they are needed.

    Raises:
        UsageError: a name, a task or a file cannot be accepted.
        Conflict: the id or an alias is taken.
    """
    for file in (ca_file, key_file):
        if file and not Path(file).is_file():
            raise UsageError(f"there is no file {file}", "give the path of a file that stays there")
    where = [str(Path(file).absolute()) if file else "" for file in (ca_file, key_file)]
    card = Card(
        id=checked_name(id),
        format="remote",
        architecture="remote",
        parameters=0,
        context_tokens=context_tokens,
        embedding_length=0,
        quantisation="",
        sha256="",
        size_bytes=0,
        tasks=checked_tasks(tasks),
        tasks_by_person=checked_tasks(tasks),
        aliases=tuple(dict.fromkeys(checked_name(alias) for alias in aliases)),
        remote=Remote(url=url.rstrip("/").removesuffix("/v1"), name=name or id, ca_file=where[0], key_file=where[1]),
    )
    with registry.staging() as folder:
        return registry.add(card, folder)
