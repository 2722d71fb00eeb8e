"""The box's own CA and what it makes, judged by OpenSSL's own handshake."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from appliance.certificates import authority
from appliance.certificates.keeping import Keeping
from appliance.certificates.names import checked
from appliance.certificates.reading import WARN_DAYS, Certificate, due, standing
from appliance.config import Home
from appliance.errors import ConfigError, Conflict, NotFound, PolicyRefused, UsageError
from appliance.settings import CertificateSettings
from appliance.tls import ServedFiles, ServerTls
from appliance.work import utcnow

NAME = "factory.example"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


@pytest.fixture
def kept(home: Home) -> Keeping:
    return Keeping(home, CertificateSettings())


def shake_hands(server: ssl.SSLContext, root: bytes, name: str) -> None:
    """Both sides in memory. Raises ssl.SSLError as a client would."""
    client = ssl.create_default_context(cadata=root.decode())
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    asking = client.wrap_bio(back, there, server_hostname=name)
    answering = server.wrap_bio(there, back, server_side=True)
    for turn in (asking, answering, asking, answering):
        try:
            turn.do_handshake()
        except ssl.SSLWantReadError:
            continue


def leaf(home: Home) -> x509.Certificate:
    return x509.load_pem_x509_certificate(home.certificate.read_bytes())


@pytest.mark.parametrize("name", [NAME, "10.1.2.3", "localhost", "127.0.0.1", "::1"])
def test_clients_that_trust_the_root_take_it_for_each_of_its_names(home: Home, kept: Keeping, name: str) -> None:
    kept.create([NAME, "10.1.2.3"], utcnow())
    shake_hands(ServedFiles.of(home, CertificateSettings()).load(), kept.root(), name)
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(ServedFiles.of(home, CertificateSettings()).load(), kept.root(), "other.example")


def test_the_root_vouches_for_this_box_alone_even_with_its_key_in_other_hands(home: Home, kept: Keeping) -> None:
    kept.create([NAME], utcnow())
    own = authority.Authority.read((home.secrets / "authority.pem").read_bytes())
    with pytest.raises(PolicyRefused, match=r"may not vouch for bank\.example"):
        authority.issue(own, ["bank.example"], utcnow())
    unbound = (
        x509.CertificateBuilder().subject_name(own.root.subject).issuer_name(own.root.subject)
        .public_key(own.key.public_key()).serial_number(1).not_valid_before(own.root.not_valid_before_utc)
        .not_valid_after(own.root.not_valid_after_utc)
    )  # fmt: skip
    thief = authority.Authority(own.key, unbound.sign(own.key, hashes.SHA256()))
    forged = authority.issue(thief, ["bank.example"], utcnow())
    file = home.root / "forged.pem"
    file.touch(mode=0o600)
    file.write_bytes(forged)
    with pytest.raises(ssl.SSLCertVerificationError, match="permitted subtree"):
        shake_hands(ServedFiles(file, file).load(), kept.root(), "bank.example")


def test_its_fields_are_what_browsers_ask_for(home: Home, kept: Keeping) -> None:
    kept.create([NAME], utcnow())
    found = leaf(home)
    assert found.not_valid_after_utc - found.not_valid_before_utc <= timedelta(days=397)
    assert not found.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    root = x509.load_pem_x509_certificate(kept.root())
    assert root.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length == 0
    for file in home.secrets.iterdir():
        assert file.stat().st_mode & 0o777 == 0o600, file


def test_a_renewed_one_has_the_same_names_another_key_and_the_same_root(home: Home, kept: Keeping) -> None:
    first = kept.create([NAME, "box"], utcnow())
    key, root = leaf(home).public_key(), kept.root()
    second = kept.renew(utcnow())
    assert second.names == first.names and second.root_fingerprint == first.root_fingerprint and kept.root() == root
    assert leaf(home).public_key() != key and second.fingerprint != first.fingerprint


def test_one_that_is_there_is_replaced_by_word_alone(kept: Keeping) -> None:
    first = kept.create([NAME], utcnow())
    with pytest.raises(Conflict):
        kept.create([NAME], utcnow())
    assert kept.read() == first
    assert kept.create(["new.example"], utcnow(), anew=True).root_fingerprint != first.root_fingerprint


def test_without_one_it_is_said_what_to_do(kept: Keeping) -> None:
    assert kept.read() is None
    with pytest.raises(NotFound, match="no certificate to renew"):
        kept.renew(utcnow())
    with pytest.raises(NotFound, match="no root to hand out"):
        kept.root()


@pytest.mark.parametrize("name", ["", "a b", "under_score.example", "-x.example", "x" * 64, "1.2.3.400", "*.example"])
def test_what_is_no_name_is_refused_before_anything_is_made(home: Home, kept: Keeping, name: str) -> None:
    with pytest.raises(UsageError):
        kept.create([name], utcnow())
    assert not home.secrets.exists()


def test_names_are_written_as_they_stand_in_a_certificate() -> None:
    assert checked(["Box.Example.", "[fe80::1]", "10.0.0.7", "box.example"]) == ("box.example", "fe80::1", "10.0.0.7")


def test_a_clock_that_is_ten_years_slow_makes_none_and_one_that_is_fast_makes_a_root_that_counts_today(
    home: Home, kept: Keeping
) -> None:
    now = utcnow()
    with pytest.raises(ConfigError, match="the clock says 2016"):
        kept.create([NAME], datetime(2016, 1, 1, tzinfo=UTC))
    assert not home.secrets.exists()
    made = kept.create([NAME], now + timedelta(days=3650))
    assert standing(made, now).verdict == "fail" and "is valid from" in standing(made, now).found
    mended = kept.renew(now)
    assert standing(mended, now).verdict == "pass" and mended.root_fingerprint == made.root_fingerprint
    shake_hands(ServedFiles.of(home, CertificateSettings()).load(), kept.root(), NAME)


def at(left: float, source: str = "box") -> tuple[Certificate, datetime]:
    now = utcnow()
    begins, ends = now + timedelta(days=left - 397), now + timedelta(days=left)
    said = {"names": (NAME,), "issuer": "x", "source": source, "fingerprint": "", "key": ""}
    return Certificate.model_validate({**said, "begins": begins, "ends": ends}), now


@pytest.mark.parametrize(
    ("left", "source", "renewed"),
    [(200, "box", False), (60, "box", True), (3, "box", True), (-1, "box", True), (-WARN_DAYS - 1, "box", False),
     (3, "site", False), (3, "files", False), (398, "box", False), (3650, "box", False)],
)  # fmt: skip
def test_it_renews_its_own_in_time_but_never_by_a_clock_that_cannot_be_right(
    left: float, source: str, renewed: bool
) -> None:
    found = due(*at(left, source), renew_days=60)
    assert found.renew is renewed and found.why
    assert due(*at(left, source), renew_days=0).renew is False


@pytest.mark.parametrize(
    ("left", "verdict"), [(200, "pass"), (30, "warn"), (8, "warn"), (7, "fail"), (-1, "fail"), (3650, "fail")]
)
def test_it_is_said_from_thirty_days_on_and_loudly_from_seven(left: float, verdict: str) -> None:
    found = standing(*at(left))
    assert found.verdict == verdict and (found.fix or verdict == "pass")


def test_a_name_that_people_use_and_that_is_not_in_it_is_said() -> None:
    kept, now = at(200)
    assert standing(kept, now, [NAME]).verdict == "pass"
    assert "is not for other.example" in standing(kept, now, [NAME, "other.example"]).found


def test_files_of_the_site_are_served_and_never_touched(home: Home, tmp_path: Path) -> None:
    Keeping(home, CertificateSettings()).create([NAME], utcnow())
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    private, _, public = home.certificate.read_bytes().partition(b"-----BEGIN CERTIFICATE")
    key.touch(mode=0o640)
    key.write_bytes(private)
    chain.write_bytes(b"-----BEGIN CERTIFICATE" + public)
    settings = CertificateSettings(file=str(chain), key_file=str(key))
    kept = Keeping(home, settings)
    found = kept.read()
    assert found is not None and found.source == "files"
    serving = ServerTls(ServedFiles.of(home, settings))
    before = serving.context()
    with pytest.raises(Conflict):
        kept.create([NAME], utcnow())
    with pytest.raises(Conflict):
        kept.renew(utcnow())
    key.chmod(0o644)
    chain.touch()
    assert serving.context() is before, "one that may not be used does not take the place of one that serves"
    with pytest.raises(ConfigError, match="can be read by everybody"):
        ServedFiles.of(home, settings).load()


@pytest.mark.parametrize(
    "content", [b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", b"\0" * 99]
)
def test_a_file_that_is_none_is_said_in_words(home: Home, kept: Keeping, content: bytes) -> None:
    home.secrets.mkdir()
    home.certificate.touch(mode=0o600)
    home.certificate.write_bytes(content)
    with pytest.raises(ConfigError):
        ServedFiles.of(home, CertificateSettings()).load()
    with pytest.raises(ConfigError):
        kept.read()
