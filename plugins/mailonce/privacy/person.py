"""One person in the ledger: what is known of them, and erasing it. Asks the ledger, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from mailonce.delivery import Entry
from mailonce.errors import InvalidInput
from mailonce.ledgers.base import Ledger
from mailonce.messages.addresses import recipient_address
from mailonce.privacy.erasure import FINISHED, erasure_of
from mailonce.privacy.pseudonyms import KEY_CHECK, Pseudonyms, check_key, is_pseudonym, without_addresses
from mailonce.suppression import Suppression, normal


@dataclass(frozen=True, kw_only=True)
class Person:
    """What a recipient id or an address stands for.

    :param entries: the deliveries, erased ones included.
    :param elsewhere: where an address was asked for: deliveries of the same recipients to other addresses.
    :param addresses: every address of the entries, and the one that was asked for; as they are looked up.
    :param suppressions: what is known of these addresses.
    """

    entries: tuple[Entry, ...]
    elsewhere: tuple[Entry, ...]
    addresses: frozenset[str]
    suppressions: tuple[Suppression, ...]

    @property
    def recipient_ids(self) -> list[str]:
        """Whose deliveries these are."""
        return sorted({entry.identity.recipient_id for entry in self.entries})

    @property
    def unfinished(self) -> list[Entry]:
        """Those that cannot be erased yet: to be sent, being sent, or in doubt."""
        return [entry for entry in self.entries if entry.state not in FINISHED]


def find_person(ledger: Ledger, who: str, pseudonyms: Pseudonyms | None, *, campaign: str | None = None) -> Person:
    """Look a person up. Deliveries that have expired are not found.

    :param who: a recipient id, an address, or a pseudonym.
    :param pseudonyms: finds what was erased under an address. :param campaign: only this one; None: all of them.
    """
    entries = deliveries_to(ledger, who, pseudonyms)
    elsewhere: dict[str, Entry] = {}
    if entries:
        # Another spelling of the same address, by upper and lower case, stands in a row of its own.
        meant = {_same(entry.email, pseudonyms) for entry in entries.values()}
        for recipient_id in sorted({entry.identity.recipient_id for entry in entries.values()}):
            for entry in ledger.browser.of_recipient(recipient_id):
                (entries if _same(entry.email, pseudonyms) in meant else elsewhere)[entry.key] = entry
    else:
        entries = {entry.key: entry for entry in ledger.browser.of_recipient(who)}
    asked = [who] if "@" in who else []
    addresses = {normal(email) for email in [*asked, *(entry.email for entry in entries.values())] if email}
    hidden = [pseudonyms.of(address) for address in addresses] if pseudonyms else []
    return Person(
        entries=_of(campaign, entries.values()),
        elsewhere=_of(campaign, (entry for key, entry in elsewhere.items() if key not in entries)),
        addresses=frozenset(addresses),
        suppressions=tuple(ledger.suppressions.of(dict.fromkeys([*sorted(addresses), *hidden]))),
    )


def deliveries_to(ledger: Ledger, address: str, pseudonyms: Pseudonyms | None) -> dict[str, Entry]:
    """Return the deliveries to an address by key, newest first: as it is spelled, as it is sent to, and erased ones.

    :param address: or a pseudonym; of any other text there are none.
    """
    if "@" not in address and not is_pseudonym(address):
        return {}
    spellings = [address, normal(address)]
    with suppress(InvalidInput):  # no address that could be mailed, but the text may stand in a row all the same
        spellings.append(recipient_address(address))
    if pseudonyms:
        spellings += [pseudonyms.of(spelling) for spelling in spellings]
    found = (entry for spelling in dict.fromkeys(spellings) for entry in ledger.of_address(spelling))
    return {entry.key: entry for entry in found}


def erase_person(
    ledger: Ledger, person: Person, pseudonyms: Pseudonyms, *, by: str, reason: str
) -> tuple[Sequence[Entry], Sequence[str]]:
    """Erase a person's deliveries and suppressions; may be repeated, and goes on where it was stopped.

    :return: the deliveries as they now stand, and the pseudonyms of the addresses that stay suppressed.
    :raises mailonce.errors.InvalidInput: a delivery is not finished; or the key is not that of earlier erasures.
    """
    if person.unfinished:
        raise _unfinished(person.unfinished[0])
    _note_key(ledger, pseudonyms)
    # First: as long as an address is known here, nobody may be mailed for want of its suppression.
    suppressed = [_hide(ledger, address, pseudonyms) for address in sorted(person.addresses)]
    erased = [_erase(ledger, entry, pseudonyms, by=by, reason=reason) for entry in person.entries]
    return erased, [each for each in suppressed if each]


def _erase(ledger: Ledger, entry: Entry, pseudonyms: Pseudonyms, *, by: str, reason: str) -> Entry:
    while True:
        if entry.state not in FINISHED:
            raise _unfinished(entry)
        erasure = erasure_of(entry, pseudonyms.of(entry.email), by=by, reason=reason)
        if erasure is None:
            return entry
        done = ledger.privacy.erase(erasure)
        now = next(ledger.find([entry.key]), None)
        if done or now is None:  # purged meanwhile
            return now or entry
        entry = now  # something was written to it meanwhile


def _hide(ledger: Ledger, address: str, pseudonyms: Pseudonyms) -> str:
    """Keep a suppression under its address's pseudonym instead; return that, or nothing if there is none."""
    if is_pseudonym(address):
        return ""
    held = next(ledger.suppressions.of([address]), None)
    if held:
        ledger.suppressions.add(
            Suppression(
                address=pseudonyms.of(address),
                reason=without_addresses(held.reason),
                since=held.since,
                by=held.by,
                key=held.key,
            )
        )
    ledger.privacy.forget_suppression(address)
    return pseudonyms.of(address) if held else ""


def _note_key(ledger: Ledger, pseudonyms: Pseudonyms) -> None:
    """Write which key it is, the first time; afterwards refuse another one, which would find nobody again."""
    if noted := next(ledger.suppressions.of([KEY_CHECK]), None):
        check_key(noted.reason, pseudonyms)
        return
    now = ledger.epoch.read().read_at
    ledger.suppressions.add(Suppression(address=KEY_CHECK, reason=pseudonyms.check, since=now, by="mailonce"))


def _unfinished(entry: Entry) -> InvalidInput:
    identity = entry.identity
    return InvalidInput(
        field=f"the delivery of {identity.campaign} {identity.period} to {identity.recipient_id}",
        reason=f"is {entry.state.value}, and so not finished; nothing more was erased",
        remedy=f"Wait until it is sent, or decide: mailonce resolve {entry.key} --sent | --cancel --reason '…'",
    )


def _same(email: str, pseudonyms: Pseudonyms | None) -> str:
    return pseudonyms.of(email) if pseudonyms else normal(email)


def _of(campaign: str | None, entries: Iterable[Entry]) -> tuple[Entry, ...]:
    return tuple(entry for entry in entries if campaign in (None, entry.identity.campaign))
