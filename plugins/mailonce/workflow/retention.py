"""How long each campaign's finished deliveries are remembered: the setting ``retention_days``.

One number for all, or ``campaign=days`` for some of them, comma-separated; a number among them is for all others::

    400
    monthly_usage=400, welcome=30
    90, monthly_usage=400
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

OTHERS = ""
"""The name under which the campaigns stand that are not named."""

_LONGEST = 36_500
"""Days: a century. Databases know no interval without end."""


def retention_of(days: str, campaign: str) -> timedelta | None:
    """Return how long a campaign's finished deliveries are remembered; None: for ever.

    :param days: the setting. :raises ValueError: it is not what it should be; says why.
    """
    told = days_of(days)
    number = told.get(campaign, told.get(OTHERS, 0))
    return timedelta(days=number) if number else None


def days_of(days: str) -> Mapping[str, int]:
    """Return the days of each campaign that the setting names, and under :data:`OTHERS` those of all others.

    :raises ValueError: it is not what it should be; says why.
    """
    told: dict[str, int] = {}
    for part in filter(None, (each.strip() for each in days.split(","))):
        campaign, _, number = (each.strip() for each in part.rpartition("="))
        if not (number.isascii() and number.isdigit()) or ("=" in part and not campaign):
            raise ValueError(f"{part!r} is neither a number of days nor campaign=days")
        if int(number) > _LONGEST:
            raise ValueError(f"{number} days are more than {_LONGEST}")
        if campaign in told:
            raise ValueError(f"{campaign or 'the number for all others'} stands in it twice")
        told[campaign] = int(number)
    return told
