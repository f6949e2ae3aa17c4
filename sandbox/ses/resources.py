"""What an account has besides its mails: identities, configuration sets, templates, a suppression list."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .errors import already_exists, not_found, sending_paused
from .records import bare_address, timestamp

if TYPE_CHECKING:
    from collections.abc import Iterable

EVENT_TYPES = (
    *("SEND", "REJECT", "BOUNCE", "COMPLAINT", "DELIVERY"),
    *("OPEN", "CLICK", "RENDERING_FAILURE", "DELIVERY_DELAY", "SUBSCRIPTION"),
)


@dataclass
class ConfigurationSet:
    """A configuration set: how it was created, and its event destinations by name."""

    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    destinations: dict[str, dict[str, Any]] = field(default_factory=dict)

    def publishes(self, event_type: str) -> bool:
        """Whether an enabled destination wants events of this type."""
        return any(
            destination.get("Enabled") and event_type in destination.get("MatchingEventTypes", [])
            for destination in self.destinations.values()
        )


@dataclass
class StoredTemplate:
    """A stored template and the moment of its creation."""

    name: str
    content: dict[str, str]
    created_at: str


@dataclass
class Suppressed:
    """An address on the account's suppression list; `reason` is BOUNCE or COMPLAINT."""

    address: str
    reason: str
    updated_at: str


class Resources:
    """The resources of the account, in memory. None for identities or sets means that every one exists."""

    def __init__(
        self,
        verified_identities: Iterable[str] | None = None,
        configuration_sets: Iterable[str] | None = None,
        default_destination: dict[str, Any] | None = None,
    ) -> None:
        self.lock = threading.RLock()
        self._every_identity = verified_identities is None
        self._every_set = configuration_sets is None
        self._default_destination = default_destination
        self._identities = {identity.lower(): True for identity in verified_identities or ()}
        self._sets = {name: self._new_set(name) for name in configuration_sets or ()}
        self.templates: dict[str, StoredTemplate] = {}
        self.suppressed: dict[str, Suppressed] = {}

    def identity_is_verified(self, identity: str) -> bool:
        """Whether the identity (an address or a domain) exists and is verified. Raises if it is unknown."""
        with self.lock:
            if self._every_identity:
                return True
            if identity.lower() not in self._identities:
                raise not_found(f"Email identity {identity} does not exist.")
            return self._identities[identity.lower()]

    def create_identity(self, identity: str) -> bool:
        """Add an identity; whether it is verified. It is not, unless every identity counts as verified."""
        with self.lock:
            if identity.lower() in self._identities:
                raise already_exists(f"Email identity {identity} already exist.")
            self._identities[identity.lower()] = self._every_identity
            return self._every_identity

    def may_send_as(self, sender: str) -> bool:
        """Whether the address, its domain or a parent domain is verified."""
        address = bare_address(sender)
        with self.lock:
            if self._every_identity or self._identities.get(address):
                return True
            labels = address.rpartition("@")[2].split(".")
            return any(self._identities.get(".".join(labels[start:])) for start in range(len(labels)))

    def configuration_set(self, name: str) -> ConfigurationSet:
        """The set of this name. Raises if it does not exist."""
        with self.lock:
            if name not in self._sets:
                if not self._every_set:
                    raise not_found(f"Configuration set <{name}> does not exist.")
                self._sets[name] = self._new_set(name)
            return self._sets[name]

    def create_configuration_set(self, name: str, settings: dict[str, Any]) -> None:
        """Add a set. It has no event destinations, as with the real service, unless every set exists."""
        with self.lock:
            if name in self._sets:
                raise already_exists(f"Configuration set <{name}> already exists.")
            self._sets[name] = self._new_set(name) if self._every_set else ConfigurationSet(name)
            self._sets[name].settings = settings

    def check_set_may_send(self, name: str) -> None:
        """Raise if the set does not exist or is paused."""
        options = self.configuration_set(name).settings.get("SendingOptions") or {}
        if options.get("SendingEnabled") is False:
            raise sending_paused(f"Sending paused for configuration set {name}.")

    def template(self, name: str) -> StoredTemplate:
        """The stored template of this name. Raises if it does not exist."""
        with self.lock:
            if name not in self.templates:
                raise not_found(f"Template {name} does not exist.")
            return self.templates[name]

    def is_suppressed(self, address: str) -> bool:
        """Whether the address is on the suppression list."""
        return bare_address(address) in self.suppressed

    def suppress(self, address: str, reason: str) -> None:
        """Put the address on the suppression list."""
        with self.lock:
            self.suppressed[address.lower()] = Suppressed(address, reason, timestamp())

    def _new_set(self, name: str) -> ConfigurationSet:
        destination = self._default_destination
        return ConfigurationSet(name, destinations={"events": dict(destination)} if destination else {})
