"""What a site decides: kept over upgrades, and refused where it makes no sense."""

from __future__ import annotations

from pathlib import Path

import pytest

from installer.errors import InstallError
from installer.target.places import Places
from installer.target.site import USUAL, Site, decided, keep, recorded


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path / "opt", tmp_path / "home")


def test_root_at_the_usual_places_gives_the_box_a_user_of_its_own() -> None:
    assert decided(USUAL, {}, None, root=True).user == "appliance"


def test_elsewhere_or_without_root_the_box_runs_as_whoever_installs(places: Places) -> None:
    assert decided(places, {}, None, root=True).user == ""
    assert decided(USUAL, {}, None, root=False).user == ""
    assert decided(places, {"user": "factory"}, None, root=True).user == "factory"


def test_an_upgrade_asks_nothing_again(places: Places) -> None:
    keep(
        places,
        Site(user="factory", allow=("10.0.0.0/8",), memory=("line=4G",), firewall=True, keep=3, folders=("/mnt/b",)),
    )
    assert decided(places, {}, recorded(places), root=True) == recorded(places)
    assert decided(places, {"allow": ("10.1.0.0/16",)}, recorded(places), root=True).allow == ("10.1.0.0/16",)


@pytest.mark.parametrize(
    "options",
    [{"allow": ("10.0.0.1/8",)}, {"allow": ("factory.example",)}, {"allow": ("0.0.0.0/0",)}, {"allow": ("::/0",)},
     {"keep": 1}, {"memory": ("line=lots",)}, {"folders": ("/",)}, {"folders": ("backups",)}, {"folders": ("/a b",)},
     {"folders": ("/a\nUser=root",)}, {"memory": ("line=4G\nUser=root",)}, {"user": "a b"},
     {"user": "x\nUser=root"}],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(options: dict[str, object], places: Places) -> None:
    with pytest.raises(InstallError) as refused:
        decided(places, options, None, root=True)
    assert refused.value.hint


def test_only_root_can_make_a_user_and_a_box_stays_its_users(places: Places) -> None:
    with pytest.raises(InstallError, match="only root"):
        decided(places, {"user": "factory"}, None, root=False)
    with pytest.raises(InstallError, match="belongs to the user factory"):
        decided(places, {"user": "other"}, Site(user="factory"), root=True)


@pytest.mark.parametrize("content", ["{", "[]", '{"user": "x"}', '{"user": 3, "allow": 4}'])
def test_a_damaged_record_is_said_and_not_guessed(content: str, places: Places) -> None:
    places.state.mkdir(parents=True)
    (places.state / "site.json").write_text(content)
    with pytest.raises(InstallError):
        recorded(places)
