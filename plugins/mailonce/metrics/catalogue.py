"""Every metric there is: the one list that the code, ``docs/monitoring.md``, the dashboard and the rules agree with."""

from __future__ import annotations

from mailonce.events import Fate
from mailonce.metrics.base import Kind, Metric

COUNTER, GAUGE, TIMER = Kind.COUNTER, Kind.GAUGE, Kind.TIMER

MAILS = Metric(
    name="mails", kind=COUNTER, unit="deliveries", label="result",
    parts=("sent", "already_sent", "content_changed", "cancelled", "in_doubt", "rejected", "throttled", "quota_used_up",
           "blocked", "not_sent", "in_flight", "invalid", "failed"),
    meaning="how deliveries ended, one for each try of a mail that a task makes; the last seven are tried again or mended",
)  # fmt: skip
CLAIM = Metric(name="claim", kind=TIMER, unit="seconds", meaning="from asking the ledger for a claim until it is won")
SEND = Metric(
    name="send", kind=TIMER, unit="seconds", meaning="from the won claim until the provider accepted the mail"
)
RECORD = Metric(name="record", kind=TIMER, unit="seconds", meaning="from the acceptance until the ledger holds it")
SLOTS = Metric(
    name="slots", kind=COUNTER, unit="mails", label="outcome", parts=("granted", "wasted"),
    meaning="what the governor let this account's workers send, and what of it nobody used",
)  # fmt: skip
THROTTLED = Metric(
    name="throttled", kind=COUNTER, unit="slow-downs", meaning="how often the provider made all workers slow down"
)
QUOTA_LEFT = Metric(
    name="quota_left", kind=GAUGE, unit="mails",
    meaning="what the account may still send in its 24-hour window, asked by preflight; not told where it has no limit",
)  # fmt: skip
RUN = Metric(
    name="run", kind=GAUGE, unit="recipients", label="stage",
    parts=("planned", "accepted", "delivered", "bounced", "complained", "rejected", "held", "not_yet"),
    meaning="the funnel of the latest report: of those planned, how many got how far",
)  # fmt: skip
RUN_SECONDS = Metric(
    name="run_seconds", kind=GAUGE, unit="seconds",
    meaning="from the start of the latest run that sent something until its last task that did was done",
)  # fmt: skip
HELD = Metric(
    name="held", kind=GAUGE, unit="mails", meaning="in doubt at the latest report: wait for a person or proof"
)
MONTH_RATE = Metric(
    name="month_rate", kind=GAUGE, unit="share from 0 to 1", label="fate", parts=("bounced", "complained"),
    meaning="of the accepted mails of a month, how many bounced, or were called spam; counted when one newly did",
)  # fmt: skip
EVENTS = Metric(
    name="events", kind=COUNTER, unit="messages", label="outcome",
    parts=("applied", "already_known", "not_ours", "of_a_month_that_was_purged", "tells_nothing", "set_aside"),
    meaning="what became of the messages in the queue of the provider's events",
)  # fmt: skip
FATES = Metric(
    name="fates", kind=COUNTER, unit="mails", label="fate", parts=tuple(fate.value.lower() for fate in Fate),
    meaning="what newly became of mails, by the provider's events",
)  # fmt: skip
EVENTS_LAG = Metric(
    name="events_lag", kind=TIMER, unit="seconds", meaning="from the moment of an event until the ledger holds it"
)
EVENTS_WAITING = Metric(
    name="events_waiting", kind=GAUGE, unit="messages", meaning="what a run of the reconciler left in the queue"
)
DUPLICATES = Metric(
    name="duplicates",
    kind=COUNTER,
    unit="keys",
    meaning="for which the provider accepted more than one mail: 0, always",
)
ALERTS = Metric(
    name="alerts", kind=COUNTER, unit="alerts", label="about",
    parts=("failed", "held", "duplicate", "quota", "complaints", "bounces", "deadline", "set_aside",
           "not_started"),
    meaning="what was told to people",
)  # fmt: skip

METRICS = (MAILS, CLAIM, SEND, RECORD, SLOTS, THROTTLED, QUOTA_LEFT, RUN, RUN_SECONDS, HELD, MONTH_RATE, EVENTS, FATES,
           EVENTS_LAG, EVENTS_WAITING, DUPLICATES, ALERTS)  # fmt: skip
