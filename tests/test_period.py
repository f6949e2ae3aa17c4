from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailonce.errors import InvalidInput
from mailonce.period import Period, month_before, time_zone

UTC = timezone.utc
# "localtime" is whatever the machine says; it is no IANA name.
ZONES = sorted(available_timezones() - {"localtime"})


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def months_between(earlier: str, later: date) -> int:
    year, month = (int(part) for part in earlier.split("-"))
    return (later.year - year) * 12 + later.month - month


@pytest.mark.parametrize("zone", ZONES)
def test_a_run_at_noon_in_utc_on_the_1st_reports_the_month_before_in_every_zone(zone: str) -> None:
    for year in (1999, 2023, 2024, 2026, 2037):
        for month in range(1, 13):
            expected = f"{year - 1}-12" if month == 1 else f"{year}-{month - 1:02}"
            assert month_before(datetime(year, month, 1, 12, tzinfo=UTC), zone).key == expected


@given(
    st.datetimes(datetime.fromisoformat("1971-01-01"), datetime.fromisoformat("2037-12-31"), timezones=st.just(UTC)),
    st.sampled_from(ZONES),
)
def test_the_month_before_is_the_one_before_the_local_month(anchor: datetime, zone: str) -> None:
    local = anchor.astimezone(ZoneInfo(zone)).date()
    period = month_before(anchor, zone)
    assert months_between(period.key, local) == 1
    assert period.ends_at <= anchor, "the month was not over yet"


@given(st.dates(date(1971, 2, 1), date(2037, 11, 30)), st.sampled_from(ZONES))
def test_months_join_without_gap_or_overlap(day: date, zone: str) -> None:
    this = Period(f"{day:%Y-%m}", zone)
    following = Period(f"{this.next_start:%Y-%m}", zone)
    assert this.ends_at == following.starts_at
    assert this.start <= day <= this.last_day < this.next_start
    assert timedelta(days=27) < this.ends_at - this.starts_at < timedelta(days=32)
    assert this.starts_at.utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    ("anchor", "zone", "month"),
    [
        ("2026-01-01T12:00", "UTC", "2025-12"),
        ("2024-03-01T00:00", "UTC", "2024-02"),
        ("2024-02-29T23:59:59", "UTC", "2024-01"),
        # Late on the 31st in UTC it is the 1st already in the east, early on the 1st still the 31st in the west.
        ("2026-10-31T10:00", "Pacific/Kiritimati", "2026-10"),
        ("2026-10-31T09:59", "Pacific/Kiritimati", "2026-09"),
        ("2026-11-01T10:59", "Pacific/Niue", "2026-09"),
        ("2026-11-01T11:00", "Pacific/Niue", "2026-10"),
        ("2026-10-31T23:00", "Europe/Berlin", "2026-10"),
        ("2026-10-31T22:59", "Europe/Berlin", "2026-09"),
        ("2026-03-31T22:00", "Europe/Berlin", "2026-03"),
    ],
)
def test_month_before_at_the_edges(anchor: str, zone: str, month: str) -> None:
    assert month_before(instant(anchor), zone).key == month


def test_the_same_instant_in_another_zone_is_the_same_run() -> None:
    anchor = instant("2026-11-01T02:00")
    elsewhere = anchor.astimezone(ZoneInfo("America/Los_Angeles"))
    assert elsewhere.month == 10
    assert month_before(elsewhere, "UTC") == month_before(anchor, "UTC") == Period("2026-10")


def test_an_anchor_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="give it a time zone"):
        month_before(datetime(2026, 11, 1), "UTC")  # noqa: DTZ001


@pytest.mark.parametrize(
    ("month", "zone", "starts", "ends"),
    [
        ("2026-10", "UTC", "2026-10-01T00:00", "2026-11-01T00:00"),
        ("2026-10", "Europe/Berlin", "2026-09-30T22:00", "2026-10-31T23:00"),
        ("2026-03", "Europe/Berlin", "2026-02-28T23:00", "2026-03-31T22:00"),
        ("2024-02", "UTC", "2024-02-01T00:00", "2024-03-01T00:00"),
        ("2026-12", "Asia/Kathmandu", "2026-11-30T18:15", "2026-12-31T18:15"),
        ("2026-10", "Pacific/Kiritimati", "2026-09-30T10:00", "2026-10-31T10:00"),
        ("2026-10", "Pacific/Pago_Pago", "2026-10-01T11:00", "2026-11-01T11:00"),
        # On 2026-11-01 Havana has two midnights: the month before ends with the first of them.
        ("2026-10", "America/Havana", "2026-10-01T04:00", "2026-11-01T04:00"),
        # Beirut changes at midnight, in the last week of a month.
        ("2026-03", "Asia/Beirut", "2026-02-28T22:00", "2026-03-31T21:00"),
        ("2026-10", "Asia/Beirut", "2026-09-30T21:00", "2026-10-31T22:00"),
        # On 2017-10-01 Asuncion had no midnight: the clock went from 23:59:59 to 01:00.
        ("2017-10", "America/Asuncion", "2017-10-01T04:00", "2017-11-01T03:00"),
        # Samoa skipped 2011-12-30 altogether.
        ("2011-12", "Pacific/Apia", "2011-12-01T10:00", "2011-12-31T10:00"),
    ],
)
def test_bounds_are_the_zone_s_midnights(month: str, zone: str, starts: str, ends: str) -> None:
    period = Period(month, zone)
    assert (period.starts_at, period.ends_at) == (instant(starts), instant(ends))


@pytest.mark.parametrize(
    ("month", "first", "last", "label"),
    [
        ("2026-10", date(2026, 10, 1), date(2026, 10, 31), "October 2026"),
        ("2024-02", date(2024, 2, 1), date(2024, 2, 29), "February 2024"),
        ("2100-02", date(2100, 2, 1), date(2100, 2, 28), "February 2100"),
        ("2026-12", date(2026, 12, 1), date(2026, 12, 31), "December 2026"),
    ],
)
def test_what_templates_see(month: str, first: date, last: date, label: str) -> None:
    period = Period(month)
    assert (period.start, period.last_day, period.label) == (first, last, label)


@pytest.mark.parametrize(
    "month",
    [
        "",
        "2026",
        "2026-13",
        "2026-00",
        "2026-1",
        "26-10",
        "2026-10-01",
        " 2026-10",
        "2026-10\n",
        "2026/10",
        "0000-01",
        "0001-01",
        "9999-12",
        "\uff12\uff10\uff12\uff16-10",
        "2026-10; DROP TABLE usage",
    ],
)
@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo"])
def test_what_is_no_month_is_refused(month: str, zone: str) -> None:
    with pytest.raises(InvalidInput, match=r"is not a month. Write it as 2026-10") as caught:
        Period(month, zone)
    assert caught.value.field == "period"


@pytest.mark.parametrize("month", ["0001-02", "9999-11"])
@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Etc/GMT+12"])
def test_every_month_that_is_taken_has_bounds(month: str, zone: str) -> None:
    assert Period(month, zone).starts_at < Period(month, zone).ends_at


@given(st.text())
def test_any_text_is_a_month_or_refused(text: str) -> None:
    try:
        period = Period(text)
    except InvalidInput:
        return
    assert f"{period.start.year:04}-{period.start.month:02}" == text


@pytest.mark.parametrize(
    "zone", ["", "Mars/Olympus", "Europe", "../../etc/passwd", "/etc/localtime", "a\0b", "+02:00", "x" * 5000, "\ud800"]
)
def test_what_is_no_time_zone_is_refused(zone: str) -> None:
    with pytest.raises(InvalidInput, match="is not a time zone") as caught:
        time_zone(zone)
    assert caught.value.field == "timezone"
    with pytest.raises(InvalidInput, match="is not a time zone"):
        Period("2026-10", zone)
