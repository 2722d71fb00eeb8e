"""The palette leads to what the role may see and do, the nearest first."""

from __future__ import annotations

import html
import re

import pytest

from appliance.user import Role
from control import passwords
from control.places import BAR, SMALLER, WITHIN, bar
from tests.control.world import Console, Site, open_one

PASSWORD = "seven green kettles hum"


def found(page: str) -> list[tuple[str, str]]:
    """Labels and addresses that are offered."""
    part = page.partition('id="found"')[2].partition("</ul>")[0]
    return [(html.unescape(label), address) for address, label in re.findall(r'<a href="([^"]+)">([^<]+)</a>', part)]


def asked(console: Console, words: str) -> list[tuple[str, str]]:
    answer = console.browser().client.get("/find", query_string={"q": words})
    assert answer.status_code == 200
    return found(answer.text)


def test_every_place_is_a_route_and_every_key_leads_to_one_place(console: Console) -> None:
    known = set(console.app.view_functions)
    assert {place.endpoint for place in (*BAR, *SMALLER)} <= known
    keys = [place.key for place in (*BAR, *SMALLER) if place.key]
    assert len(keys) == len(set(keys)) and all(place.key for place in BAR)
    assert set(WITHIN) <= {name.partition(".")[0] for name in known}
    assert set(WITHIN.values()) <= {place.name for place in BAR}


def test_without_words_all_places_are_offered(console: Console, site: Site) -> None:
    labels = [label for label, _ in asked(console, "")]
    assert labels == [place.label for place in (*BAR, *SMALLER)]


@pytest.mark.parametrize("words", ["W-1", "w-1", "1", "S-1"])
def test_an_item_is_found_by_its_number_with_what_may_be_done(words: str, console: Console, site: Site) -> None:
    assert site.waiting == "W-1"
    ways = asked(console, words)
    assert ways[0][1] == "/items/W-1" and ("Approve: W-1", "/items/W-1/approve") in ways


def test_items_are_found_by_title_the_newest_first_and_not_more_than_fit(console: Console, site: Site) -> None:
    for n in range(30):
        open_one(console.ledger, f"100% of Kettles_{n} leak")
    ways = asked(console, "kettles")
    assert len(ways) == 12 and ways[0][0].endswith("Kettles_29 leak")
    assert len(asked(console, "0% of")) == 12 and asked(console, "kettlesx") == [] and asked(console, "%of") == []
    assert [address for _, address in asked(console, "Kettles_7 ")] == ["/items/W-11"]


def test_pages_repositories_and_the_manual_are_found_by_a_part_of_their_names(console: Console, site: Site) -> None:
    assert asked(console, "audi")[0] == ("Audit", "/audit")
    assert ("shop", "/items?repo=shop") in asked(console, "sho")
    assert any(address.startswith("/help/") for _, address in asked(console, "trouble"))


@pytest.mark.parametrize("words", ["W-99999999999999999999", "W-²", "'\"><b>", "%", "x" * 5000, "\x00", "W-"])
def test_what_cannot_be_found_is_no_error(words: str, console: Console, site: Site) -> None:
    assert all(address.startswith("/") for _, address in asked(console, words))


def test_nobody_is_led_to_what_the_role_may_not(console: Console, site: Site) -> None:
    console.ledger.users.add("vera", Role.VIEWER, "test")
    console.ledger.users.set_password("vera", "vera", passwords.hash_password(PASSWORD))
    client = console.stranger()
    assert client.post("/sign-in", data={"name": "vera", "password": PASSWORD}).status_code == 303
    offered = (
        found(client.get("/find").text) + found(client.get("/find?q=W-1").text) + found(client.get("/find?q=a").text)
    )
    assert ("Items", "/items") in offered and {"/audit", "/access", "/signals/new", "/items/W-1/approve"}.isdisjoint(
        address for _, address in offered
    )
    assert console.stranger().get("/find").status_code == 303


def test_the_bar_puts_neighbours_of_one_menu_together_and_a_single_one_by_itself() -> None:
    assert [menu for menu, _ in bar(lambda *_: True)] == ["", "", "", "Code", "Models", "", "Box", ""]
    told = bar(lambda endpoint, _: not endpoint.startswith(("access", "audit")))
    assert ("", ["System"]) in [(menu, [one.label for one in some]) for menu, some in told]
    assert [place for _, some in bar(lambda *_: True) for place in some] == list(BAR), "nothing is left out"
