"""`appliance model remote`: a model that a server on the network holds becomes one of the box's models."""

from __future__ import annotations

from pathlib import Path

import click

from appliance.cli.context import Box, pass_box
from appliance.errors import Unavailable, UsageError
from inference.engines.remote import Offer, checked_url, chosen, offers
from models.card import TASKS, Remote
from models.registry import Registry
from models.remote import add_remote

FILE = click.Path(path_type=Path, dir_okay=False)


@click.command("remote")
@click.argument("id")
@click.option("--url", required=True, help="Address of an OpenAI-compatible server: http(s)://HOST:PORT.")
@click.option("--name", default="", help="The server's own name of the model (default: the only one it has).")
@click.option("--ca", type=FILE, default=None, help="PEM file of the CA that vouches for the server.")
@click.option("--key-file", type=FILE, default=None, help="File with the key that the server wants.")
@click.option("--task", "tasks", multiple=True, type=click.Choice(TASKS), help="What it may do; may be repeated.")
@click.option("--alias", "aliases", multiple=True, help="Another name for it; may be repeated.")
@click.option("--context", default=0, help="Tokens of one request (default: what the server says).")
@pass_box
def command(
    box: Box,
    id: str,
    url: str,
    name: str,
    ca: Path | None,
    key_file: Path | None,
    tasks: tuple[str, ...],
    aliases: tuple[str, ...],
    context: int,
) -> None:
    """Add a model that another server on the network holds. The server is asked for its models at once.

    Nothing is copied. The CA and key files are read where they lie, so a renewed key is used at the next load.
    """
    box.require_home()
    files = str(ca or ""), str(key_file or "")
    try:
        found = offers(Remote(url=checked_url(url), name=name, ca_file=files[0], key_file=files[1]))
        offer = chosen(found, name)
    except Unavailable as error:
        if not name:
            raise UsageError(
                f"{error.message}, so its models are not known", "mend that, or say with --name which model it is"
            ) from error
        box.say(f"not reached now: {error.message}")
        offer = Offer(name)
    card = add_remote(
        Registry(box.home.models), id, checked_url(url), offer.name, *files, tasks, aliases,
        context or offer.context_tokens,
    )  # fmt: skip
    may = ", ".join(card.tasks) or f"nothing yet (`appliance model admit {card.id}` tries it)"
    box.emit(card.model_dump(mode="json"), f"{card.id} is {offer.name} at {checked_url(url)}; it may do: {may}")
