"""Who may say what is installed: thresholds, rotation, replay, downgrade, mixes, every byte; and wrong clocks."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from installer.bundle import keys, seal
from installer.errors import InstallError, Refused
from installer.trust import chain, metadata, signature
from installer.trust.chain import Accepted, Papers, decide, follow, took
from installer.trust.medium import papers, trusted
from tests.installer import media
from tests.installer.media import BUILT

YEARS = 365 * 86_400
ROLES = ("timestamp", "snapshot", "targets")


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keys of three people, two of whom must sign."""
    return media.ring(tmp_path_factory.mktemp("keys") / "k", 2, 3)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, ring: Path) -> Path:
    folder = tmp_path_factory.mktemp("medium")
    media.medium(folder, ring)
    return folder


def known(pem: str, content: bytes, mark: bytes) -> bool:
    return KNOWN.setdefault((pem, content, mark), signature.holds(pem, content, mark))


KNOWN: dict[tuple[str, bytes, bytes], bool] = {}
"""What OpenSSL said before: a process each costs more than all the rest."""


def judge(found: Papers, ring: Path, accepted: Accepted | None = None, now: float = BUILT + 1) -> chain.Trusted:
    def asked(pem: str, content: bytes, mark: bytes) -> bool:
        seen = KNOWN.get((pem, content, mark))
        return known(pem, content, mark) if seen is None else seen

    return follow(found, "" if accepted else keys.fingerprint(ring), accepted, now, asked)


def accepted(whole: Path, ring: Path) -> Accepted:
    return took(judge(papers(whole), ring), None)


def test_a_medium_is_trusted_by_the_fingerprint_alone_and_later_without_it(whole: Path, ring: Path) -> None:
    first = trusted(whole, keys.fingerprint(ring).upper(), None, BUILT + 1)
    assert decide(first, None).kind == "install" and first.warnings == ()
    again = trusted(whole, "", took(first, None), BUILT + 1)
    assert decide(again, took(first, None)).kind == "same"
    for typed, before in (("0" * 64, None), ("0" * 64, took(first, None)), ("", None)):
        with pytest.raises(Refused, match="fingerprint"):
            trusted(whole, typed, before, BUILT + 1)


def test_every_byte_of_the_metadata_that_changes_is_refused(whole: Path, ring: Path) -> None:
    """The root is held by the fingerprint; where a flip leaves all else whole, it is a signature that must fail."""
    found, typed = papers(whole), keys.fingerprint(ring)
    trust = judge(found, ring)
    never: Callable[[str, bytes, bytes], bool] = lambda pem, content, mark: KNOWN.get((pem, content, mark), False)  # noqa: E731
    judged = 0
    for kind in ("root", *ROLES):
        raw = found.roots[1] if kind == "root" else getattr(found, kind)
        for place in range(len(raw)):
            spoilt = raw[:place] + bytes([raw[place] ^ (1, 32, 128)[place % 3]]) + raw[place + 1 :]
            one = replace(found, roots={1: spoilt}) if kind == "root" else replace(found, **{kind: spoilt})
            with pytest.raises(Refused):
                follow(one, typed, None, BUILT, never)
            judged += 1
    assert judged > 4_000 and judge(found, ring) == trust


def test_openssl_itself_refuses_flipped_text_and_flipped_signatures(whole: Path, ring: Path) -> None:
    found = metadata.opened((whole / "metadata" / "timestamp.json").read_bytes(), "timestamp")
    root = keys.newest_root(ring)
    (name, mark), *_ = found.signatures.items()
    pem = metadata.pem(root.keys[name])
    assert signature.holds(pem, found.content, mark)
    for content in (found.content[:-1], bytes([found.content[0] ^ 1]) + found.content[1:], b""):
        assert not signature.holds(pem, content, mark)
    for spoilt in (mark[:-1], b"", mark + b"x", bytes(64), bytes([mark[0] ^ 1]) + mark[1:], mark[:63] + b"\xff"):
        assert not signature.holds(pem, found.content, spoilt)


@pytest.mark.parametrize("kind", ["root", *ROLES])
def test_metadata_without_enough_signatures_are_refused(kind: str, whole: Path, ring: Path) -> None:
    found = papers(whole)
    raw = getattr(found, kind) if kind != "root" else found.roots[1]
    envelope = metadata.opened(raw, kind)
    threshold = keys.newest_root(ring).roles[kind].threshold
    few = dict(list(envelope.signatures.items())[: threshold - 1])
    spoilt = metadata.sealed(envelope.signed, few)
    one = replace(found, roots={1: spoilt}) if kind == "root" else replace(found, **{kind: spoilt})
    with pytest.raises(
        Refused, match="fingerprint" if kind == "root" else f"signed by {threshold - 1} of the {threshold}"
    ):
        judge(one, ring)


def test_one_holder_alone_signs_nothing_and_the_next_one_completes_it(tmp_path: Path, ring: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for place, holder in ((first, "holder-1"), (second, "holder-3")):
        place.mkdir()
        for name in ("roots", holder, *(["release.key"] if place == first else [])):
            source = ring / name
            shutil.copytree(source, place / name) if source.is_dir() else shutil.copy2(source, place / name)
    assert media.medium(tmp_path / "m", first) is None
    with pytest.raises(Refused, match="signed by 1 of the 2"):
        trusted(tmp_path / "m", keys.fingerprint(ring), None, BUILT)
    assert seal.sign(tmp_path / "m", first) is None  # the same person twice is one person
    whole = seal.sign(tmp_path / "m", second)
    assert whole == trusted(tmp_path / "m", keys.fingerprint(ring), None, BUILT)


def test_a_signature_twice_counts_once_and_a_key_has_one_name_alone(whole: Path, ring: Path) -> None:
    found = papers(whole)
    raw = json.loads(found.targets)
    raw["signatures"] = [raw["signatures"][0]] * 2
    with pytest.raises(Refused, match="twice"):
        judge(replace(found, targets=metadata.spelled(raw)), ring)
    root = json.loads(found.roots[1])["signed"]
    (name, key), *_ = root["keys"].items()
    root["keys"]["f" * 64] = key
    with pytest.raises(Refused, match="another name than its own"):
        metadata.root_of(metadata.opened(metadata.sealed(root, {}), "root"))
    assert name in root["keys"]


def test_another_role_s_key_may_not_sign(tmp_path: Path, whole: Path, ring: Path) -> None:
    found = papers(whole)
    envelope = metadata.opened(found.targets, "targets")
    lesser = keys.signatures(ring, keys.newest_root(ring).roles["timestamp"], envelope.content)
    with pytest.raises(Refused, match="may not sign it"):
        judge(replace(found, targets=metadata.sealed(envelope.signed, {**envelope.signatures, **lesser})), ring)
    media.ring(tmp_path / "others")
    media.medium(tmp_path / "m", tmp_path / "others")
    theirs = papers(tmp_path / "m")
    for kind in ROLES:
        with pytest.raises(Refused):
            judge(replace(found, **{kind: getattr(theirs, kind)}), ring)


def test_parts_of_two_media_never_fit_together(tmp_path: Path, whole: Path, ring: Path) -> None:
    media.medium(tmp_path / "m", ring, built=BUILT + 50)
    old, new = papers(whole), papers(tmp_path / "m")
    for mixed in range(1, 7):
        parts = {kind: getattr(new if mixed >> number & 1 else old, kind) for number, kind in enumerate(ROLES)}
        with pytest.raises(Refused, match=r"another release|several releases"):
            judge(replace(old, **parts), ring)


def test_downgrade_replay_and_other_content_are_refused_whatever_the_clock_says(
    tmp_path: Path, whole: Path, ring: Path
) -> None:
    last = accepted(whole, ring)
    media.medium(tmp_path / "new", ring, built=BUILT + 50)
    media.medium(tmp_path / "other", ring, content={"installer.pyz": b"another"})
    for now in (0.0, BUILT - 10 * YEARS, BUILT + 1, BUILT + 50 * YEARS, 4e9):
        newer = judge(papers(tmp_path / "new"), ring, last, now)
        assert decide(newer, last).kind == "upgrade"
        assert decide(judge(papers(whole), ring, last, now), last).kind == "same"
        assert decide(judge(papers(whole), ring, last, now), took(newer, last)).kind == "refused"
        assert decide(judge(papers(tmp_path / "other"), ring, last, now), last).kind == "refused"
    said = judge(papers(whole), ring, None, BUILT - 10 * YEARS).warnings
    assert len(said) == 1 and "clock" in said[0]
    assert len(judge(papers(whole), ring, None, BUILT + 15 * YEARS).warnings) == 3
    assert not judge(papers(whole), ring, None, BUILT + 9 * YEARS).warnings


def test_a_bad_medium_moves_nothing_so_the_good_one_still_fits(tmp_path: Path, whole: Path, ring: Path) -> None:
    """The framework's own client remembers a newer timestamp before it knows whether the rest is whole."""
    last = accepted(whole, ring)
    media.medium(tmp_path / "new", ring, built=BUILT + 50)
    found = papers(tmp_path / "new")
    with pytest.raises(Refused):
        judge(replace(found, targets=papers(whole).targets), ring, last)
    assert decide(judge(papers(whole), ring, last), last).kind == "same"
    assert decide(judge(found, ring, last), last).kind == "upgrade"


def test_things_to_import_are_no_release(tmp_path: Path, ring: Path) -> None:
    media.medium(tmp_path / "m", ring, kind="import")
    assert decide(judge(papers(tmp_path / "m"), ring), None).kind == "refused"


class TestRotation:
    @pytest.fixture
    def turned(self, tmp_path: Path, ring: Path) -> Path:
        """The keys after one person's and the release's were replaced."""
        folder = tmp_path / "turned"
        shutil.copytree(ring, folder)
        keys.rotate(folder, ["holder-2", "release"])
        return folder

    def test_a_box_follows_new_keys_without_a_new_fingerprint(
        self, tmp_path: Path, whole: Path, ring: Path, turned: Path
    ) -> None:
        last = accepted(whole, ring)
        media.medium(tmp_path / "m", turned, built=BUILT + 50)
        found = papers(tmp_path / "m")
        newer = judge(found, ring, last)
        assert decide(newer, last).kind == "upgrade" and newer.fingerprint == keys.fingerprint(turned)
        assert sorted(found.roots) == [1, 2]
        for typed in (keys.fingerprint(ring), keys.fingerprint(turned)):  # a paper of before still leads there
            assert trusted(tmp_path / "m", typed, None, BUILT).root == newer.root
        keys.rotate(turned, [], threshold=1, holders=1)
        media.medium(tmp_path / "third", turned, built=BUILT + 90)
        third = papers(tmp_path / "third")
        assert decide(judge(third, ring, last), last).kind == "upgrade"
        with pytest.raises(Refused, match=r"lacks 2\.root\.json"):
            judge(replace(third, roots={1: third.roots[1], 3: third.roots[3]}), ring, last)

    def test_the_keys_of_before_make_no_more_media_for_a_box_that_followed(
        self, tmp_path: Path, ring: Path, turned: Path
    ) -> None:
        media.medium(tmp_path / "m", turned, built=BUILT + 50)
        took_new = took(judge(papers(tmp_path / "m"), turned), None)
        media.medium(tmp_path / "old", ring, built=BUILT + 99)
        with pytest.raises(Refused, match="may not sign it"):
            judge(papers(tmp_path / "old"), ring, took_new)

    def test_a_root_signed_by_the_old_or_the_new_keys_alone_is_refused(
        self, tmp_path: Path, whole: Path, ring: Path
    ) -> None:
        other = media.ring(tmp_path / "other", 2, 3)
        root = json.loads((other / "roots" / "1.root.json").read_text())["signed"] | {"version": 2}
        content = metadata.spelled(root)
        old = keys.signatures(ring, keys.newest_root(ring).roles["root"], content)
        new = keys.signatures(other, keys.newest_root(other).roles["root"], content)
        found, last = papers(whole), accepted(whole, ring)
        for marks in (old, new, {**old, **dict(list(new.items())[:1])}, {**new, **dict(list(old.items())[:1])}):
            with pytest.raises(Refused, match="of the 2 people"):
                judge(replace(found, roots={**found.roots, 2: metadata.sealed(root, marks)}), ring, last)
        media.medium(tmp_path / "m", other, built=BUILT + 5)
        both = replace(papers(tmp_path / "m"), roots={**found.roots, 2: metadata.sealed(root, {**old, **new})})
        assert decide(judge(both, ring, last), last).kind == "upgrade"
        for version in (1, 3):
            wrong = metadata.sealed(root | {"version": version}, {})
            with pytest.raises(Refused, match="version"):
                judge(replace(found, roots={**found.roots, 2: wrong}), ring, last)

    def test_other_keys_under_the_version_a_box_trusts_are_refused(
        self, tmp_path: Path, whole: Path, ring: Path
    ) -> None:
        other = media.ring(tmp_path / "other")
        media.medium(tmp_path / "m", other, built=BUILT + 9)
        with pytest.raises(Refused, match=r"other keys under 1\.root\.json"):
            judge(papers(tmp_path / "m"), other, accepted(whole, ring))

    def test_too_few_holders_rotate_nothing(self, tmp_path: Path, ring: Path) -> None:
        folder = tmp_path / "few"
        shutil.copytree(ring, folder)
        for holder in ("holder-2", "holder-3"):
            shutil.rmtree(folder / holder)
        before = sorted(str(place) for place in folder.rglob("*"))
        with pytest.raises(InstallError, match="1 of the 2 root keys"):
            keys.rotate(folder, ["holder-2", "holder-3"])
        assert sorted(str(place) for place in folder.rglob("*")) == before

    def test_a_rotation_cut_short_between_any_two_moves_is_finished_by_the_next_command(
        self, tmp_path: Path, ring: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real, done = Path.rename, []
        for cut in range(1, 7):
            folder = tmp_path / f"cut-{cut}"
            shutil.copytree(ring, folder)
            left = [cut]

            def rename(self: Path, target: Path, left: list[int] = left) -> Path:
                if left[0] == 0:
                    raise KeyboardInterrupt
                left[0] -= 1
                return real(self, target)

            monkeypatch.setattr(Path, "rename", rename)
            with contextlib.suppress(KeyboardInterrupt):
                keys.rotate(folder, ["holder-2"])
            monkeypatch.setattr(Path, "rename", real)
            done.append(keys.newest_root(folder).version)
            root = keys.newest_root(folder)
            own = {metadata.keyid(signature.public(key)) for key in folder.glob("holder-*/root.key")}
            assert own == set(root.roles["root"].keyids)
        assert done[0] == 1 and done[-1] == 2 and done == sorted(done)


def test_keys_are_private_and_never_replaced(tmp_path: Path) -> None:
    media.ring(tmp_path / "k")
    before = {key: key.read_bytes() for key in (tmp_path / "k").rglob("*.key")}
    assert len(before) == 3 and all(key.stat().st_mode & 0o777 == 0o600 for key in before)
    with pytest.raises(InstallError, match="has keys already"):
        keys.create(tmp_path / "k", 1, 1)
    with pytest.raises(InstallError, match="there already"):
        signature.make_key(tmp_path / "k" / "release.key")
    assert {key: key.read_bytes() for key in before} == before
    for threshold, holders in ((2, 1), (0, 1), (1, 10)):
        with pytest.raises(InstallError, match="no threshold"):
            keys.create(tmp_path / "other", threshold, holders)


@pytest.mark.parametrize("how", ["missing", "link", "folder", "pipe", "long"])
def test_metadata_that_are_no_plain_files_are_refused(how: str, tmp_path: Path, whole: Path, ring: Path) -> None:
    shutil.copytree(whole, tmp_path / "m")
    file = tmp_path / "m" / "metadata" / "targets.json"
    kept = file.rename(tmp_path / "kept")
    {
        "missing": lambda: None,
        "link": lambda: file.symlink_to(kept),
        "folder": file.mkdir,
        "pipe": lambda: os.mkfifo(file),
        "long": lambda: (file.touch(), os.truncate(file, 1 << 40)),
    }[how]()
    with pytest.raises(Refused, match=r"targets\.json"):
        papers(tmp_path / "m")


def test_refusals_tell_what_to_do(whole: Path, ring: Path) -> None:
    with pytest.raises(Refused) as caught:
        judge(replace(papers(whole), targets=b"{}"), ring)
    assert caught.value.hint
