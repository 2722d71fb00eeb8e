"""How a repository's mirror stands is told to people and programs alike, whatever words its server used."""

from __future__ import annotations

import re
from datetime import timedelta

from prometheus_client.parser import text_string_to_metric_families

from appliance.work import MirrorHealth, TrackedRepository, utcnow
from control.manual import source
from tests.control.world import Console, fill


def test_a_mirror_that_is_well_and_one_in_trouble_are_told(console: Console) -> None:
    fill(console.ledger)
    browser = console.browser()
    assert "not yet" in browser.get("/repositories").text
    now = utcnow()
    console.ledger.forges.note_health("shop", MirrorHealth(
        fetched=now - timedelta(minutes=5), tried=now, next_fetch=now, failures=3, branches=2, size_bytes=3 << 20,
        error="the server does not answer <b>", hint="is it up?", notes=("'main' was force-pushed",),
        api_error="the token is not accepted", api_hint="make a new one",
    ))  # fmt: skip
    page = browser.get("/repositories").text
    for word in ("5 min ago", "2 branches, 3.0 MiB", "does not answer &lt;b&gt;", "is it up?", "force-pushed",
                 "the token is not accepted", "make a new one"):  # fmt: skip
        assert word in page, word
    told = console.program("GET", "/api/v1/repositories/shop").json
    assert told["mirror"]["failures"] == 3 and 300 <= told["mirror"]["lag_seconds"] < 400
    (listed,) = console.program("GET", "/api/v1/repositories").json["repositories"]
    assert listed["mirror"]["error"] == told["mirror"]["error"]


def test_metrics_tell_how_each_mirror_stands_and_the_manual_tells_of_each(console: Console) -> None:
    fill(console.ledger)
    console.ledger.add_repository(TrackedRepository(name="new", url="/srv/new.git", branch="main"))
    now = utcnow()
    console.ledger.forges.note_health(
        "shop", MirrorHealth(fetched=now - timedelta(minutes=5), failures=3, api_failures=2, size_bytes=4096)
    )
    families = list(text_string_to_metric_families(console.program("GET", "/metrics").text))
    told = {(one.name, one.labels["repository"]): one.value for family in families for one in family.samples}
    assert 300 <= told.pop(("appliance_mirror_lag_seconds", "shop")) < 400
    assert told == {
        ("appliance_mirror_failed_fetches", "shop"): 3, ("appliance_mirror_failed_fetches", "new"): 0,
        ("appliance_mirror_failed_polls", "shop"): 2, ("appliance_mirror_failed_polls", "new"): 0,
        ("appliance_mirror_size_bytes", "shop"): 4096, ("appliance_mirror_size_bytes", "new"): 0,
    }  # fmt: skip
    assert {family.name for family in families} == set(
        re.findall(
            r"^\| `(appliance_(?:mirror_\w+|certificate_\w+|hooks_\w+?))(?:_total)?` \|",
            source("metrics"),
            re.MULTILINE,
        )
    )
