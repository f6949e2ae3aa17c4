"""Messages as SES, SNS and EventBridge write them; and everything else that may lie in a queue."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailonce.errors import EventUnreadable
from mailonce.events import Event, EventKind, Fate
from mailonce.keys import Identity
from mailonce.providers.ses_events import Ignored, read_event
from sandbox.ses import sns_envelope
from sandbox.ses.event_records import Fate as StandInFate
from sandbox.ses.event_records import records_of
from sandbox.ses.records import Mail, moment_of, timestamp
from tests.fakes import make_delivery

DELIVERY = make_delivery("Ünï 7", email="ann@example.org")
MESSAGE_ID = "0107018f2a3b4c5d-1b2c3d4e-0000-4000-8000-0123456789ab-000000"
SENT_AT = "2030-02-01T09:00:00.123Z"
TOLD_AT = "2030-02-01T09:00:07.5Z"
SENT, TOLD = (datetime(2030, 2, 1, 9, tzinfo=timezone.utc) + timedelta(seconds=each) for each in (0.123, 7.5))


def record(kind: str = "Send", told: Mapping[str, Any] | None = None, **mail: Any) -> dict[str, Any]:
    """A record as the SES Developer Guide shows them."""
    part = {
        "DeliveryDelay": "deliveryDelay", "Rendering Failure": "failure", "RenderingFailure": "failure",
    }.get(kind, kind.lower())  # fmt: skip
    about = {
        "timestamp": SENT_AT,
        "source": "Billing <billing@example.com>",
        "sendingAccountId": "123456789012",
        "messageId": MESSAGE_ID,
        "destination": [DELIVERY.message.to],
        "headersTruncated": False,
        "tags": {"ses:operation": ["SendEmail"], **{name: [value] for name, value in DELIVERY.tags.items()}},
    }
    return {"eventType": kind, "mail": about | mail, part: dict(told or {})}


def bounce(kind: str = "Permanent", sub_type: str = "General", **more: Any) -> dict[str, Any]:
    code = f"smtp; 550 5.1.1 <{DELIVERY.message.to}>: user\nunknown"
    recipient = {
        "emailAddress": "somewhere@else.example",
        "action": "failed",
        "status": "5.1.1",
        "diagnosticCode": code,
    }
    told = {
        "bounceType": kind,
        "bounceSubType": sub_type,
        "bouncedRecipients": [recipient],
        "timestamp": TOLD_AT,
        **more,
    }
    return record("Bounce", told)


def complaint(**more: Any) -> dict[str, Any]:
    return record("Complaint", {"complainedRecipients": [], "timestamp": TOLD_AT, "complaintSubType": None, **more})


def read(value: Any) -> Event | Ignored:
    return read_event(json.dumps(value))


def event_of(value: Any) -> Event:
    event = read(value)
    assert isinstance(event, Event)
    return event


class TestKinds:
    @pytest.mark.parametrize(
        ("value", "kind", "fate", "at", "detail"),
        [
            (record("Send"), EventKind.SEND, None, SENT, ""),
            (
                record("Delivery", {"timestamp": TOLD_AT, "smtpResponse": "250 2.6.0 Message received"}),
                EventKind.DELIVERY, Fate.DELIVERED, TOLD, "250 2.6.0 Message received",
            ),
            (
                record("DeliveryDelay", {
                    "timestamp": TOLD_AT, "delayType": "MailboxFull",
                    "delayedRecipients": [{"diagnosticCode": "smtp; 421 later"}],
                }),
                EventKind.DELIVERY_DELAY, Fate.DELAYED, TOLD, "MailboxFull: smtp; 421 later",
            ),
            (
                bounce(), EventKind.BOUNCE, Fate.BOUNCED, TOLD,
                "Permanent/General: smtp; 550 5.1.1 <(address)>: user unknown",
            ),
            (bounce("Transient", bouncedRecipients=[]), EventKind.BOUNCE, Fate.BOUNCED, TOLD, "Transient/General"),
            (complaint(complaintFeedbackType="abuse"), EventKind.COMPLAINT, Fate.COMPLAINED, TOLD, "abuse"),
            (complaint(), EventKind.COMPLAINT, Fate.COMPLAINED, TOLD, "no reason given"),
            (record("Reject", {"reason": "Bad content"}), EventKind.REJECT, Fate.DROPPED, SENT, "Bad content"),
            (
                record("Rendering Failure", {"errorMessage": "Attribute 'x' is not present.", "templateName": "t"}),
                EventKind.RENDERING_FAILURE, Fate.DROPPED, SENT, "Attribute 'x' is not present.",
            ),
            (
                record("RenderingFailure", {"errorMessage": "no"}),
                EventKind.RENDERING_FAILURE, Fate.DROPPED, SENT, "no",
            ),
        ],
    )  # fmt: skip
    def test_each_tells_what_it_tells(
        self, value: Any, kind: EventKind, fate: Fate | None, at: datetime, detail: str
    ) -> None:
        event = event_of(value)
        assert (event.kind, event.fate, event.at, event.detail) == (kind, fate, at, detail)
        assert (event.key, event.message_id, event.address) == (DELIVERY.key, MESSAGE_ID, DELIVERY.message.to)
        assert event.identity == DELIVERY.identity

    @pytest.mark.parametrize("kind", ["Open", "Click", "Subscription"])
    def test_some_tell_nothing(self, kind: str) -> None:
        assert read(record(kind)) is Ignored.TELLS_NOTHING

    @pytest.mark.parametrize("fate", list(StandInFate), ids=str)
    def test_the_stand_in_s_records(self, fate: StandInFate) -> None:
        mail = Mail(
            message_id=MESSAGE_ID, accepted_at=timestamp(), from_address="b@example.com", to=[DELIVERY.message.to],
            tags=dict(DELIVERY.tags), configuration_set="statements",
        )  # fmt: skip
        for told in records_of(mail, fate):
            event = event_of(told)
            assert event.kind.value == told["eventType"].replace(" ", "")
            assert event.identity == DELIVERY.identity
            assert timedelta(0) <= event.at - moment_of(mail.accepted_at) < timedelta(minutes=1)
            assert "@" not in event.detail


class TestSuppressing:
    @pytest.mark.parametrize("sub_type", ["General", "NoEmail", "Suppressed", "OnAccountSuppressionList"])
    def test_a_hard_bounce_does(self, sub_type: str) -> None:
        assert event_of(bounce(sub_type=sub_type)).suppresses.startswith(
            f"hard bounce (Permanent/{sub_type}: smtp; 550"
        )

    @pytest.mark.parametrize("kind", ["Transient", "Undetermined"])
    def test_another_bounce_does_not(self, kind: str) -> None:
        assert event_of(bounce(kind)).suppresses == ""

    def test_a_complaint_does(self) -> None:
        assert event_of(complaint(complaintFeedbackType="fraud")).suppresses == "complaint (fraud)"
        told = complaint(complaintSubType="OnAccountSuppressionList", complaintFeedbackType=None)
        assert event_of(told).suppresses == "complaint (OnAccountSuppressionList: no reason given)"

    def test_the_opposite_of_a_complaint_is_a_delivery(self) -> None:
        event = event_of(complaint(complaintFeedbackType="not-spam"))
        assert (event.kind, event.fate, event.suppresses) == (EventKind.DELIVERY, Fate.DELIVERED, "")

    @pytest.mark.parametrize("kind", ["Send", "Reject", "Rendering Failure"])
    def test_nothing_else_does(self, kind: str) -> None:
        assert event_of(record(kind)).suppresses == ""

    def test_it_is_about_the_address_that_was_mailed(self) -> None:
        assert event_of(bounce()).address == DELIVERY.message.to


class TestEnvelopes:
    @pytest.fixture
    def bare(self) -> dict[str, Any]:
        return record("Delivery", {"timestamp": TOLD_AT})

    def bridged(self, bare: Any, kind: str = "Email Delivered") -> dict[str, Any]:
        return {"version": "0", "id": "1", "detail-type": kind, "source": "aws.ses", "resources": [], "detail": bare}

    def test_each_gives_the_same_event(self, bare: dict[str, Any]) -> None:
        expected = read(bare)
        assert isinstance(expected, Event)
        for body in (
            json.dumps(bare) + "\n",
            json.dumps(sns_envelope(bare)),
            json.dumps(self.bridged(bare)),
            json.dumps({"Type": "Notification", "Message": json.dumps(self.bridged(bare))}),
        ):
            assert read_event(body) == expected

    def test_feedback_notifications_too_if_they_had_tags(self, bare: dict[str, Any]) -> None:
        expected = read(bare)
        bare["notificationType"] = bare.pop("eventType")
        assert read(bare) == expected
        del bare["mail"]["tags"]
        assert read(bare) is Ignored.NOT_OURS

    @pytest.mark.parametrize(
        "body",
        [
            "Successfully validated SNS topic for Amazon SES event publishing.",
            json.dumps({
                "Type": "Notification",
                "Message": "Successfully validated SNS topic for Amazon SES event publishing.\n",
            }),
            json.dumps({
                "Type": "Notification",
                "Message": json.dumps({"notificationType": "AmazonSnsSubscriptionSucceeded", "message": "You have…"}),
            }),
            json.dumps({"detail-type": "Sending Status Disabled", "source": "aws.ses", "detail": {"version": "1"}}),
        ],
    )  # fmt: skip
    def test_greetings_and_news_tell_nothing(self, body: str) -> None:
        assert read_event(body) is Ignored.TELLS_NOTHING

    @pytest.mark.parametrize("kind", ["SubscriptionConfirmation", "UnsubscribeConfirmation"])
    def test_what_asks_for_a_decision_gets_none(self, kind: str) -> None:
        with pytest.raises(EventUnreadable, match=rf"is a {kind} of SNS: somebody must decide .* SubscribeURL"):
            read({"Type": kind, "Token": "t", "SubscribeURL": "https://sns.example/?Action=Confirm", "Message": "m"})


class TestWhose:
    @pytest.mark.parametrize("tags", [None, {}, {"ses:operation": ["SendEmail"], "campaign": ["x"]}])
    @pytest.mark.parametrize("kind", ["Send", "Open", "A kind of tomorrow"])
    def test_a_mail_without_our_tag_is_not_ours(self, kind: str, tags: Any) -> None:
        assert read(record(kind, tags=tags)) is Ignored.NOT_OURS

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("mailonce_campaign", None), ("mailonce_period", None), ("mailonce_edition", None), ("mailonce_recipient", None),
            ("mailonce_campaign", []), ("mailonce_period", ["a", "b"]), ("mailonce_edition", [7]), ("mailonce_edition", [""]),
            ("mailonce_campaign", ["a b"]), ("mailonce_campaign", ["x" * 257]), ("mailonce_campaign", ["\ud800"]),
            ("mailonce_recipient", ["b64_%"]), ("mailonce_recipient", ["b64_A"]), ("mailonce_recipient", ["b64_"]),
            ("mailonce_recipient", ["b64__w"]), ("mailonce_recipient", ["b64_AA"]),
        ],
    )  # fmt: skip
    def test_an_identity_is_known_only_as_a_whole(self, name: str, value: Any) -> None:
        value_or_none = {} if value is None else {name: value}
        tags = {tag: [text] for tag, text in DELIVERY.tags.items() if tag != name} | value_or_none
        event = event_of(record(tags=tags))
        assert (event.identity, event.key) == (None, DELIVERY.key)

    @given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=60))
    def test_any_recipient_id_comes_back(self, recipient_id: str) -> None:
        delivery = make_delivery(recipient_id, email="ann@example.org")
        tags = {name: [value] for name, value in delivery.tags.items()}
        expected = delivery.identity if "mailonce_recipient" in tags else None
        assert event_of(record(tags=tags)).identity == expected

    def test_another_recipe_s_key_is_as_good(self) -> None:
        tags = {name: [value] for name, value in DELIVERY.tags.items()} | {"mailonce_key": ["0" * 64]}
        event = event_of(record(tags=tags))
        assert (event.key, event.identity) == ("0" * 64, DELIVERY.identity)
        assert isinstance(event.identity, Identity)


class TestUnreadable:
    @pytest.mark.parametrize(
        ("body", "reason"),
        [
            ("", "is not JSON"), ("{", "is not JSON"), ("nonsense", "is not JSON"), ("[" * 100_000, "is not JSON"),
            ("9" * 5000, "is not JSON"), ('{"a": "\x00"}', "is not JSON"),
            ("null", "a JSON NoneType"), ("[]", "a JSON list"), ('"text"', "a JSON str"), ("NaN", "a JSON float"),
            ("{}", "neither eventType nor notificationType"), ('{"Records": []}', "neither eventType"),
            ('{"eventType": 7}', "neither eventType"), ('{"eventType": "Send"}', "has no object mail"),
            ('{"eventType": "Send", "mail": {"tags": [1]}}', "has no object tags"),
            ('{"Type": "Notification"}', "without a message"), ('{"Type": {}, "Message": "m"}', "an SNS message"),
            ('{"Type": "Notification", "Message": "[]"}', "a JSON list"),
            ('{"Type": "Notification", "Message": "cut off {"}', "is not JSON"),
            ('{"detail-type": "Email Sent"}', "a JSON NoneType"),
        ],
    )  # fmt: skip
    def test_what_is_no_record(self, body: str, reason: str) -> None:
        with pytest.raises(EventUnreadable, match=reason):
            read_event(body)

    @pytest.mark.parametrize(
        ("value", "reason"),
        [
            (record("A kind of tomorrow"), "unknown kind 'Akindoftomorrow'"),
            (record(tags={"mailonce_key": ["abc"]}), "mailonce_key, or one that cannot be right"),
            (record(tags={"mailonce_key": [DELIVERY.key.upper()]}), "mailonce_key"),
            (record(tags={"mailonce_key": DELIVERY.key}), "mailonce_key"),
            (record(tags={"mailonce_key": [DELIVERY.key] * 2}), "mailonce_key"),
            (record(tags={"mailonce_key": None}), "mailonce_key"),
            (record(messageId=None), "messageId"), (record(messageId=""), "messageId"),
            (record(messageId="a b"), "messageId"), (record(messageId="m\0"), "messageId"),
            (record(messageId="x" * 257), "messageId"),
            (record(destination=[]), "destination"), (record(destination="ann@example.org"), "destination"),
            (record(destination=["ann"]), "destination"), (record(destination=["a@b", "c@d"]), "destination"),
            (record(destination=["ann\0@example.org"]), "destination"), (record(destination=["\ud800@a"]), "destination"),
            (record(timestamp=None), "timestamp"), (record(timestamp="now"), "timestamp"),
            (record(timestamp="2030-02-30T09:00:00Z"), "which is no moment"),
            (record(timestamp="0001-01-01T00:00:00+14:00"), "which is no moment"),
            (record(timestamp="2030-02-01T09:00:00"), "timestamp"), (record(timestamp=1_900_000_000), "timestamp"),
            (record("Delivery"), "timestamp"), (bounce(timestamp="yesterday"), "timestamp"),
            (bounce(""), "bounceType"), (record("Bounce", {"timestamp": TOLD_AT}), "bounceType"),
            ({**record("Bounce"), "bounce": None}, "has no object bounce"),
        ],
    )  # fmt: skip
    def test_what_no_ledger_could_keep(self, value: Any, reason: str) -> None:
        with pytest.raises(EventUnreadable, match=reason):
            read(value)

    def test_a_reason_holds_no_address_and_fits_a_line(self) -> None:
        with pytest.raises(EventUnreadable) as told:
            read(record(destination=["ann@example.org", "bob@example.org"]))
        assert "@" not in str(told.value)
        with pytest.raises(EventUnreadable) as told:
            read(record("x" * 10_000))
        assert len(str(told.value)) < 200


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=12,
)
REAL = [record(), bounce(), complaint(), record("Delivery", {"timestamp": TOLD_AT}), record("Rendering Failure")]


def is_judged(body: str) -> None:
    """Either it is understood, or it raises the one error; and what is understood can be kept by any store."""
    try:
        outcome = read_event(body)
    except EventUnreadable:
        return
    if isinstance(outcome, Event):
        assert len(outcome.id) == 20
        kept = [outcome.key, outcome.message_id, outcome.address, outcome.detail, outcome.suppresses]
        if outcome.identity:
            kept += vars(outcome.identity).values()
        for text in kept:
            assert "\0" not in text
            text.encode()


@given(st.binary() | JSON.map(json.dumps).map(str.encode))
def test_anything_is_judged(body: bytes) -> None:
    is_judged(body.decode(errors="surrogateescape"))


@given(st.sampled_from(REAL), st.booleans(), st.data())
def test_a_truncated_message_is_judged(value: dict[str, Any], wrapped: bool, data: st.DataObject) -> None:
    body = json.dumps(sns_envelope(value) if wrapped else value)
    cut = data.draw(st.integers(0, len(body) - 1))
    with pytest.raises(EventUnreadable):
        read_event(body[:cut])


@given(st.sampled_from(REAL), JSON, st.data())
def test_a_message_with_one_value_changed_is_judged(value: dict[str, Any], other: Any, data: st.DataObject) -> None:
    changed = json.loads(json.dumps(value))
    place: Any = changed
    while True:
        name = data.draw(st.sampled_from(range(len(place)) if isinstance(place, list) else sorted(place)))
        inside = place[name]
        if not (isinstance(inside, (dict, list)) and inside and data.draw(st.booleans())):
            break
        place = inside
    place[name] = other
    is_judged(json.dumps(changed))
    is_judged(json.dumps(sns_envelope(changed)))
