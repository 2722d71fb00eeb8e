"""Nothing is taken that its sender did not sign with a secret of the repository."""

from __future__ import annotations

import base64
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import UsageError, VerificationFailed
from appliance.intake.reading import receive
from appliance.news import Delivery, DeliveryState
from tests.intake import senders
from tests.intake.senders import SECRET, SENDERS

BODY = b'{"action": "opened"}'


def taken(source: str, headers: dict[str, str], body: bytes = BODY, secrets: tuple[str, ...] = (SECRET,)) -> Delivery:
    return receive(source, "shop", headers, body, secrets, datetime.now(UTC), 5.0)


@pytest.mark.parametrize(
    ("source", "id"), [("github", "gh-1"), ("gitea", "gt-1"), ("forgejo", "fj-1"), ("gitlab", "gl-1")]
)
def test_a_message_is_known_by_the_name_its_sender_gave_it(source: str, id: str) -> None:
    delivery = taken(source, SENDERS[source]("push", BODY))
    assert (delivery.id, delivery.event, delivery.size) == (id, "push", len(BODY))


@pytest.mark.parametrize("source", sorted(SENDERS))
def test_headers_that_say_what_a_message_is_are_kept_and_none_with_a_secret_or_a_signature(source: str) -> None:
    sent = {**SENDERS[source]("push", BODY), "User-Agent": "Go \n  http", "Cookie": "a=b", "X-Api-Key": "k" * 9}
    kept = taken(source, sent).headers
    assert kept["user-agent"] == "Go http" and ("push" in kept.values() or source in ("alertmanager", "generic"))
    assert not {"cookie", "x-api-key", "authorization"} & set(kept) and not any("sign" in name for name in kept)
    assert SECRET not in str(kept)


def test_a_message_without_a_name_is_known_by_its_content() -> None:
    delivery = taken("alertmanager", SENDERS["alertmanager"]("", BODY))
    assert delivery.id == delivery.sha256 and len(delivery.id) == 64


@pytest.mark.parametrize("source", sorted(SENDERS))
def test_both_secrets_are_taken_while_one_takes_over_from_the_other(source: str) -> None:
    for secret in ("new", "old"):
        assert taken(source, SENDERS[source]("push", BODY, secret), secrets=("new", "old")).repo == "shop"
    with pytest.raises(VerificationFailed):
        taken(source, SENDERS[source]("push", BODY, "older"), secrets=("new", "old"))


@pytest.mark.parametrize("source", sorted(SENDERS))
def test_without_a_secret_nothing_is_taken(source: str) -> None:
    for secrets in ((), ("",)):
        for offered in ("", "guess"):
            with pytest.raises(VerificationFailed):
                taken(source, SENDERS[source]("push", BODY, offered), secrets=secrets)
    with pytest.raises(VerificationFailed):
        taken(source, {})


@pytest.mark.parametrize("source", ["github", "gitea", "forgejo"])
def test_a_signature_is_good_for_its_body_alone(source: str) -> None:
    with pytest.raises(VerificationFailed):
        taken(source, SENDERS[source]("push", BODY), BODY + b" ")


@pytest.mark.parametrize("secret", [SECRET, "whsec_" + base64.b64encode(b"k" * 32).decode(), "whsec_not base64"])
def test_gitlabs_newer_signature_covers_id_time_and_body(secret: str) -> None:
    if secret.endswith("not base64"):
        headers = {**senders.gitlab_signed("Push Hook", BODY), "webhook-signature": "v1,AAAA"}
        with pytest.raises(VerificationFailed):
            taken("gitlab", headers, secrets=(secret,))
        return
    headers = senders.gitlab_signed("Push Hook", BODY, secret)
    assert taken("gitlab", headers, secrets=("other", secret)).id == "gl-1"
    for name in ("webhook-id", "webhook-timestamp"):
        with pytest.raises(VerificationFailed):
            taken("gitlab", {**headers, name: "2"}, secrets=(secret,))
    with pytest.raises(VerificationFailed):
        taken("gitlab", headers, BODY + b" ", (secret,))


@pytest.mark.parametrize(
    ("away", "why"),
    [(0, ""), (-290, ""), (290, ""), (-310, "0:05:10 before the box's time"), (310, "0:05:10 after"),
     (-86_400 * 400, "400 days, 0:00:00 before")],
)  # fmt: skip
def test_what_was_signed_for_another_time_is_kept_and_refused_with_both_times(away: int, why: str) -> None:
    now = datetime.now(UTC)
    headers = senders.gitlab_signed("Push Hook", BODY, at=str(int(now.timestamp()) + away))
    delivery = receive("gitlab", "shop", headers, BODY, (SECRET,), now.replace(microsecond=0), 5.0)
    assert (delivery.state == DeliveryState.REFUSED, why in delivery.why) == (bool(why), True)


@pytest.mark.parametrize("at", ["soon", "-1", "1e9", "٣٣", "9" * 13])
def test_what_is_no_time_is_refused_in_words(at: str) -> None:
    headers = senders.gitlab_signed("Push Hook", BODY, at=at)
    assert "no number of seconds" in taken("gitlab", headers).why


def test_a_wrong_signature_of_gitlab_is_not_made_up_for_by_a_token() -> None:
    headers = {**senders.gitlab("Push Hook", BODY), "webhook-signature": "v1,AAAA"}
    with pytest.raises(VerificationFailed):
        taken("gitlab", headers)


def test_alertmanager_may_show_the_secret_as_a_password() -> None:
    basic = base64.b64encode(f"alerts:{SECRET}".encode()).decode()
    assert taken("alertmanager", {"authorization": f"Basic {basic}"}).source == "alertmanager"
    for wrong in ("Basic ???", f"Digest {SECRET}", "Basic " + base64.b64encode(b"\xff:x").decode(), SECRET):
        with pytest.raises(VerificationFailed):
            taken("alertmanager", {"authorization": wrong})


@pytest.mark.parametrize("sender", ["gitea", "forgejo"])
def test_the_address_for_github_does_not_take_what_gitea_and_forgejo_send(sender: str) -> None:
    with pytest.raises(UsageError) as caught:
        taken("github", SENDERS[sender]("push", BODY))
    assert sender in caught.value.hint


def test_an_event_that_gitea_leaves_empty_is_told_by_its_type() -> None:
    headers = {**senders.gitea("", BODY), "X-Gitea-Event-Type": "status"}
    assert taken("gitea", headers).event == "status"


@given(
    st.sampled_from(sorted(SENDERS)),
    st.dictionaries(st.sampled_from(["Authorization", "X-Hub-Signature-256", "X-Gitea-Signature", "X-Forgejo-Signature",
                                     "X-Gitlab-Token", "webhook-signature", "webhook-id"]), st.text(max_size=40)),
    st.binary(max_size=40),
)  # fmt: skip
def test_no_headers_crash_the_check_or_get_through(source: str, headers: dict[str, str], body: bytes) -> None:
    with pytest.raises(VerificationFailed):
        taken(source, {**headers, "X-GitHub-Event": "push"}, body)
