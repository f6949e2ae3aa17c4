"""Who must not be mailed: the ledger's suppressions and, if the settings say so, the SES account's own list."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from botocore.exceptions import BotoCoreError, ClientError

from mailonce.errors import NeverLeft
from mailonce.ledgers.base import Ledger
from mailonce.privacy.pseudonyms import KEY_CHECK, Pseudonyms, check_key
from mailonce.suppression import Suppression, normal
from mailonce.workflow.connections import erasure_key, ses_account_client
from mailonce.workflow.settings import Settings

log = logging.getLogger(__name__)

FEW = 3
"""Up to so many addresses are asked for one by one; for more, the whole list is read once."""

PAGE = 1000
"""As many entries of the account's list as SES gives at once."""


class Suppressed:
    """Answers which of some addresses are suppressed, and why.

    Where persons were erased, their suppressions stand in the ledger under the pseudonyms of their addresses: see
    :mod:`mailonce.privacy.pseudonyms`.

    :raises mailonce.errors.NeverLeft: the account's list is to be asked, and cannot be. Better nobody is mailed for
        now than those who asked not to be.
    :raises mailonce.errors.InvalidInput: persons were erased, and the key to their pseudonyms is missing or another.
    """

    def __init__(self, ledger: Ledger, settings: Settings) -> None:
        self._ledger = ledger
        self._settings = settings
        self._key: Pseudonyms | None = None
        self._list: Mapping[str, str] | None = None if settings.account_suppressions else {}

    def __call__(self, addresses: Sequence[str]) -> Mapping[str, str]:
        """Return the suppressed ones, as :func:`mailonce.suppression.normal` spells them, each with the reason."""
        listed = self._account(addresses)
        found = {address: listed[address] for address in map(normal, addresses) if address in listed}
        for suppression in self._ledger.suppressions.of(addresses):
            found[suppression.address] = _why(suppression)
        for suppression in self._ledger.suppressions.of(hidden := self._hidden(addresses)):
            found[hidden[suppression.address]] = _why(suppression)
        return found

    def _hidden(self, addresses: Sequence[str]) -> Mapping[str, str]:
        """Return the addresses by their pseudonyms; nothing, where nobody was erased."""
        if (said := next(self._ledger.suppressions.of([KEY_CHECK]), None)) is None:
            return {}
        if self._key is None:
            self._key = check_key(said.reason, erasure_key(self._settings))
        return {self._key.of(address): normal(address) for address in addresses}

    def _account(self, addresses: Sequence[str]) -> Mapping[str, str]:
        if self._list is None and len(addresses) <= FEW:
            return _account_entries(self._settings, addresses)
        if self._list is None:
            self._list = _account_list(self._settings)
        return self._list


def _account_entries(settings: Settings, addresses: Sequence[str]) -> Mapping[str, str]:
    """Return what the account's own list says of a few addresses."""
    client = ses_account_client(settings)
    found: dict[str, str] = {}
    for address in addresses:
        try:
            answer = client.get_suppressed_destination(EmailAddress=address)
        except client.exceptions.NotFoundException:
            continue
        except (ClientError, BotoCoreError) as error:
            raise _unread(error, "ses:GetSuppressedDestination") from error
        found[normal(address)] = _reason(answer["SuppressedDestination"]["Reason"])
    return found


def _account_list(settings: Settings) -> Mapping[str, str]:
    """Return the account's own list, whole: SES answers only about one question a second for one address."""
    found: dict[str, str] = {}
    request: dict[str, str] = {}
    try:
        client = ses_account_client(settings)
        while True:
            answer = client.list_suppressed_destinations(PageSize=PAGE, **request)  # type: ignore[arg-type]
            for entry in answer["SuppressedDestinationSummaries"]:
                found[normal(entry["EmailAddress"])] = _reason(entry["Reason"])
            if not answer.get("NextToken"):
                break
            request = {"NextToken": answer["NextToken"]}
    except (ClientError, BotoCoreError) as error:
        raise _unread(error, "ses:ListSuppressedDestinations") from error
    log.info("the SES account's suppression list holds %d addresses", len(found))
    return found


def _why(suppression: Suppression) -> str:
    return f"{suppression.reason} (since {suppression.since:%Y-%m-%d}, {suppression.by})"


def _reason(reason: str) -> str:
    return f"on the SES account's suppression list ({reason.lower()})"


def _unread(error: Exception, action: str) -> NeverLeft:
    return NeverLeft(
        f"the SES account's suppression list cannot be read ({error}). Give the role {action}, or set [mailonce] "
        "account_suppressions to false."
    )
