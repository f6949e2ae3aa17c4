"""Who must not be mailed: the ledger's suppressions and, if the settings say so, the SES account's own list."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from botocore.exceptions import BotoCoreError, ClientError

from mailonce.errors import NeverLeft
from mailonce.ledgers.base import Ledger
from mailonce.suppression import normal
from mailonce.workflow.connections import ses_account_client
from mailonce.workflow.settings import Settings

log = logging.getLogger(__name__)

PAGE = 1000
"""As many entries of the account's list as SES gives at once."""


class Suppressed:
    """Answers which of some addresses are suppressed, and why.

    :raises mailonce.errors.NeverLeft: the account's list is to be asked, and cannot be. Better nobody is mailed for
        now than those who asked not to be.
    """

    def __init__(self, ledger: Ledger, settings: Settings) -> None:
        self._ledger = ledger
        self._account = _account_list(settings) if settings.account_suppressions else {}

    def __call__(self, addresses: Sequence[str]) -> Mapping[str, str]:
        """Return the suppressed ones, as :func:`mailonce.suppression.normal` spells them, each with the reason."""
        found = {address: self._account[address] for address in map(normal, addresses) if address in self._account}
        for suppression in self._ledger.suppressions.of(addresses):
            found[suppression.address] = f"{suppression.reason} (since {suppression.since:%Y-%m-%d}, {suppression.by})"
        return found


def _account_list(settings: Settings) -> Mapping[str, str]:
    """Return the account's own list. It is read whole: SES answers only about one question a second for one address."""
    found: dict[str, str] = {}
    request: dict[str, str] = {}
    try:
        client = ses_account_client(settings)
        while True:
            answer = client.list_suppressed_destinations(PageSize=PAGE, **request)  # type: ignore[arg-type]
            for entry in answer["SuppressedDestinationSummaries"]:
                found[normal(entry["EmailAddress"])] = (
                    f"on the SES account's suppression list ({entry['Reason'].lower()})"
                )
            if not answer.get("NextToken"):
                break
            request = {"NextToken": answer["NextToken"]}
    except (ClientError, BotoCoreError) as error:
        raise NeverLeft(
            f"the SES account's suppression list cannot be read ({error}). Give the role ses:ListSuppressedDestinations, "
            "or set [mailonce] account_suppressions to false."
        ) from error
    log.info("the SES account's suppression list holds %d addresses", len(found))
    return found
