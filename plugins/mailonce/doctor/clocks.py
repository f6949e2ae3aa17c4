"""Do the clocks agree, and are the stages of a claim long enough?"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime

from mailonce.delivery import Timing
from mailonce.doctor.installation import Installation
from mailonce.findings import Finding, Severity

CLOCKS = "clocks"
STAGES = "stages of a claim"
NOTICEABLE = timedelta(seconds=30)
TOLERATED = Timing.clock_tolerance
"""Who is ahead by more is not let send, see :func:`mailonce.departure.check_clock`; of who is as far behind, AWS
refuses the signatures."""

SIGNATURE_LASTS = timedelta(minutes=15)
"""How long AWS takes a signature at most, see :class:`mailonce.delivery.Timing`."""


def provider(installation: Installation) -> Iterator[Finding]:
    """Compare this machine's clock with the provider's, as its answers are dated."""
    answer = installation.ask("sesv2", "get_account")
    told = (answer.content or {}).get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
    if told is None:
        yield Finding(severity=Severity.UNKNOWN, check=CLOCKS, found="the provider did not tell its time.")
    else:
        yield _compared("the provider's", parsedate_to_datetime(told), answer.asked_at, answer.answered_at)


def ledger(installation: Installation) -> Iterator[Finding]:
    """Compare this machine's clock with the ledger's, by which claims age."""
    # Asked before as well: opening the connection would count as a part of the round trip.
    if installation.epoch is None:
        yield Finding(severity=Severity.UNKNOWN, check=CLOCKS, found="there is no ledger yet that could tell its time.")
        return
    before = _now()
    there = installation.ledger.epoch.read().read_at
    yield _compared("the ledger's", there, before, _now())


def _compared(whose: str, there: datetime, before: datetime, after: datetime) -> Finding:
    """Judge by the middle of the round trip, in favour of the clock as far as the trip leaves it open."""
    here = before + (after - before) / 2
    unsure = (after - before) / 2
    skew = here - there
    least = max(timedelta(0), abs(skew) - unsure)
    way = "ahead of" if skew > timedelta(0) else "behind"
    found = f"this machine is {abs(skew).total_seconds():.0f} s {way} {whose} clock"
    if least <= NOTICEABLE:
        return Finding(severity=Severity.OK, check=CLOCKS, found=f"{found}.")
    remedy = "Let every worker, and the ledger's machine, follow a time server (NTP)."
    if least <= TOLERATED:
        return Finding(severity=Severity.WARNING, check=CLOCKS, found=f"{found}.", remedy=remedy)
    more = f", more than the {TOLERATED.total_seconds() / 60:.0f} minutes that a claim allows for."
    return Finding(severity=Severity.ERROR, check=CLOCKS, found=found + more, remedy=remedy)


def stages(installation: Installation) -> Iterator[Finding]:
    """Compare the settings of a claim with what a request, and the validity of its signature, may take."""
    settings = installation.settings
    timing = settings.timing
    needed = SIGNATURE_LASTS + timing.clock_tolerance
    request = installation.longest_request
    if timing.settle < needed:
        yield Finding(
            severity=Severity.WARNING,
            check=STAGES,
            found=f"settle_after is {settings.settle_after} s: a request may still be accepted after that, so whoever "
            "releases a mail in doubt, a person or in_doubt = resend, may make a second copy.",
            remedy=f"Leave it at {needed.total_seconds():.0f} or more: only tests should be in such a hurry.",
        )
    if timing.window < request:
        yield Finding(
            severity=Severity.WARNING,
            check=STAGES,
            found=f"claim_window is {settings.claim_window} s, shorter than a request may take ({request.total_seconds():.0f} s): "
            "others take a mail for abandoned while its answer is still awaited.",
            remedy=f"Set it to {2 * request.total_seconds():.0f} or more, or the client's time-outs lower.",
        )
    if timing.settle >= needed and timing.window >= request:
        yield Finding(
            severity=Severity.OK,
            check=STAGES,
            found=f"claim_window {settings.claim_window} s, settle_after {settings.settle_after} s.",
        )


def _now() -> datetime:
    return datetime.now(timezone.utc)
