"""The palette: one field that leads to any page, item, repository, page of the manual, and to what may be done."""

from __future__ import annotations

from collections.abc import Iterator

from flask import Blueprint, current_app, render_template, request, url_for
from flask.typing import ResponseReturnValue

from appliance.errors import NotFound
from appliance.ledger.overview import titled
from appliance.work import Noun
from control import manual, roles
from control.desk import desk
from control.gate import who_asks
from control.places import BAR, EVERYWHERE, SMALLER, Place
from control.verbs import offered

blueprint = Blueprint("palette", __name__, url_prefix="/find")

MOST = 12
"""Offered at once."""
LONGEST = 200
"""Characters of what is looked for."""


class Way(Noun):
    """Somewhere to go: what it is called, what it is, its address."""

    label: str
    what: str
    address: str
    key: str = ""


@blueprint.get("")
def show() -> ResponseReturnValue:
    """Pages, items, repositories and what may be done, by `?q=`; also what Ctrl-K asks, and the keys there are."""
    words = request.args.get("q", "").strip()[:LONGEST]
    places = [_place(place) for place in (*BAR, *SMALLER) if _may(place.endpoint)]
    keyed = [way for way in places if way.key]
    return render_template("find.html", words=words, ways=ways(words, places), keys=keyed, everywhere=EVERYWHERE)


def ways(words: str, places: list[Way]) -> list[Way]:
    """What fits the words, the nearest first: an item by its number with its commands, places, repositories, items by
    their titles, pages of the manual. Without words, all places."""
    if not words:
        return places
    found = [*_by_number(words), *_fitting(words, places), *_repositories(words), *_titles(words), *_manual(words)]
    return list({way.address: way for way in reversed(found[:MOST])}.values())[::-1]


def _fitting(words: str, places: list[Way]) -> list[Way]:
    """Each word is in the label; those whose label begins so come first."""
    wanted = words.lower().split()
    fitting = [way for way in places if all(word in way.label.lower() for word in wanted)]
    return sorted(fitting, key=lambda way: not way.label.lower().startswith(wanted[0]))


def _by_number(words: str) -> Iterator[Way]:
    number = words.upper().removeprefix("W-").removeprefix("S-")
    if not number.isdecimal() or not number.isascii():
        return
    try:
        item = desk().ledger.item(f"W-{int(number[:18])}")
    except NotFound:
        return
    yield Way(label=f"{item.id} {item.title}", what="item", address=url_for("items.show", id=item.id))
    if _may("items.ask"):
        for verb in offered(item):
            address = url_for("items.ask", id=item.id, verb=verb.name)
            yield Way(label=f"{verb.label}: {item.id}", what="command", address=address)


def _repositories(words: str) -> Iterator[Way]:
    for one in desk().ledger.repositories():
        if words.lower() in one.name.lower():
            yield Way(label=one.name, what="repository's items", address=url_for("items.index", repo=one.name))


def _titles(words: str) -> Iterator[Way]:
    for id, title in titled(desk().ledger, words, MOST):
        yield Way(label=f"{id} {title}", what="item", address=url_for("items.show", id=id))


def _manual(words: str) -> Iterator[Way]:
    for name, title in manual.contents():
        if all(word in f"{title} {name}".lower() for word in words.lower().split()):
            yield Way(label=title, what="manual", address=url_for("manual.show", name=name))


def _place(place: Place) -> Way:
    return Way(label=place.label, what="page", address=url_for(place.endpoint), key=place.key)


def _may(endpoint: str) -> bool:
    return endpoint in current_app.view_functions and who_asks().may(roles.needed(endpoint, "GET"))
