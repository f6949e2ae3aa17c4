"""The operations on the account, its identities, configuration sets and suppression list."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .errors import already_exists, bad_request, not_found
from .fields import list_field, object_field, text_field
from .paging import page_of
from .records import moment_of
from .resources import EVENT_TYPES, Resources

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from .limits import SendingLimits
    from .outbox import Settings

SET_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
REASONS = ("BOUNCE", "COMPLAINT")
Answer = dict[str, Any]


@dataclass(frozen=True)
class Call:
    """One call of an operation: the named parts of its path, its query and its body."""

    names: Mapping[str, str]
    query: Mapping[str, str]
    body: dict[str, Any]


class AccountOperations:
    """Each operation takes a call and gives the content of its answer."""

    def __init__(self, settings: Settings, resources: Resources, limits: SendingLimits) -> None:
        self._settings = settings
        self._resources = resources
        self._limits = limits

    def routes(self) -> list[tuple[str, str, Any]]:
        """Method, path and operation of each."""
        one_set = "configuration-sets/{ConfigurationSetName}"
        one_address = "suppression/addresses/{EmailAddress}"
        return [
            ("GET", "account", self.get_account),
            ("POST", "identities", self.create_email_identity),
            ("GET", "identities/{EmailIdentity}", self.get_email_identity),
            ("POST", "configuration-sets", self.create_configuration_set),
            ("GET", one_set, self.get_configuration_set),
            ("POST", f"{one_set}/event-destinations", self.create_event_destination),
            ("GET", f"{one_set}/event-destinations", self.get_event_destinations),
            ("GET", "tags", self.list_tags),
            ("PUT", "suppression/addresses", self.put_suppressed),
            ("GET", "suppression/addresses", self.list_suppressed),
            ("GET", one_address, self.get_suppressed),
            ("DELETE", one_address, self.delete_suppressed),
        ]

    def get_account(self, _: Call) -> Answer:
        """GetAccount."""
        enabled = self._settings.sending_enabled
        return {
            "DedicatedIpAutoWarmupEnabled": False,
            "EnforcementStatus": "HEALTHY",
            "ProductionAccessEnabled": self._settings.production_access,
            "SendQuota": {
                "Max24HourSend": float(self._limits.max_24_hour_send),
                "MaxSendRate": float(self._limits.reported_rate()),
                "SentLast24Hours": float(self._limits.sent_last_24_hours()),
            },
            "SendingEnabled": enabled,
            "SuppressionAttributes": {"SuppressedReasons": list(REASONS)},
        }

    def create_email_identity(self, call: Call) -> Answer:
        """CreateEmailIdentity. Verified only if every identity counts as verified."""
        identity = required_text(call.body, "EmailIdentity")
        return identity_content(identity, self._resources.create_identity(identity))

    def get_email_identity(self, call: Call) -> Answer:
        """GetEmailIdentity."""
        identity = call.names["EmailIdentity"]
        verified = self._resources.identity_is_verified(identity)
        return {
            **identity_content(identity, verified),
            "FeedbackForwardingStatus": True,
            "Policies": {},
            "Tags": [],
            "VerificationStatus": "SUCCESS" if verified else "PENDING",
        }

    def create_configuration_set(self, call: Call) -> Answer:
        """CreateConfigurationSet."""
        name = required_text(call.body, "ConfigurationSetName")
        if not SET_NAME.fullmatch(name):
            raise bad_request("A configuration set's name is 1 to 64 ASCII letters, digits, '_' and '-'.")
        object_field(call.body, "SendingOptions", required=False)
        self._resources.create_configuration_set(name, call.body)
        return {}

    def get_configuration_set(self, call: Call) -> Answer:
        """GetConfigurationSet."""
        found = self._resources.configuration_set(call.names["ConfigurationSetName"])
        return {
            "SendingOptions": {"SendingEnabled": True},
            "ReputationOptions": {"ReputationMetricsEnabled": False},
            "DeliveryOptions": {"TlsPolicy": "OPTIONAL"},
            "Tags": [],
            **found.settings,
            "ConfigurationSetName": found.name,
        }

    def create_event_destination(self, call: Call) -> Answer:
        """CreateConfigurationSetEventDestination."""
        found = self._resources.configuration_set(call.names["ConfigurationSetName"])
        name = required_text(call.body, "EventDestinationName")
        destination = object_field(call.body, "EventDestination")
        types = list_field(destination, "MatchingEventTypes")
        if not types or not set(types) <= set(EVENT_TYPES):
            raise bad_request(f"MatchingEventTypes must be some of {', '.join(EVENT_TYPES)}.")
        with self._resources.lock:
            if name in found.destinations:
                raise already_exists(f"Event destination {name} already exists in {found.name}.")
            found.destinations[name] = {"Enabled": False, **destination, "Name": name}
        return {}

    def get_event_destinations(self, call: Call) -> Answer:
        """GetConfigurationSetEventDestinations."""
        found = self._resources.configuration_set(call.names["ConfigurationSetName"])
        with self._resources.lock:
            return {"EventDestinations": list(found.destinations.values())}

    def list_tags(self, call: Call) -> Answer:
        """ListTagsForResource: of a configuration set, by its ARN."""
        kind, _, name = call.query.get("ResourceArn", "").rpartition(":")[2].partition("/")
        if kind != "configuration-set":
            raise not_found(f"Only configuration sets have tags here, not {kind or 'nothing'}.")
        return {"Tags": self._resources.configuration_set(name).settings.get("Tags", [])}

    def put_suppressed(self, call: Call) -> Answer:
        """PutSuppressedDestination."""
        if call.body.get("Reason") not in REASONS:
            raise bad_request("Reason must be BOUNCE or COMPLAINT.")
        self._resources.suppress(required_text(call.body, "EmailAddress"), call.body["Reason"])
        return {}

    def get_suppressed(self, call: Call) -> Answer:
        """GetSuppressedDestination."""
        address = call.names["EmailAddress"]
        with self._resources.lock:
            found = self._resources.suppressed.get(address.lower())
        if found is None:
            raise not_found(f"Email address {address} does not exist on your suppression list.")
        return {"SuppressedDestination": suppressed_content(found)}

    def delete_suppressed(self, call: Call) -> Answer:
        """DeleteSuppressedDestination."""
        with self._resources.lock:
            self.get_suppressed(call)
            del self._resources.suppressed[call.names["EmailAddress"].lower()]
        return {}

    def list_suppressed(self, call: Call) -> Answer:
        """ListSuppressedDestinations, by reason if asked; the dates are not looked at."""
        reasons = call.query.get("Reason", "").split()
        with self._resources.lock:
            found = sorted(self._resources.suppressed.values(), key=lambda entry: entry.address)
        chosen = [suppressed_content(entry) for entry in found if not reasons or entry.reason in reasons]
        page, following = page_of(chosen, call.query)
        return {"SuppressedDestinationSummaries": page, **following}


def required_text(body: Answer, name: str) -> str:
    """The text of this name. Raises if it is missing or empty."""
    text = text_field(body, name)
    if not text:
        raise bad_request(f"{name} is missing.")
    return text


def identity_content(identity: str, verified: bool) -> Answer:
    """What is said about an identity when it is created and when it is looked up."""
    return {
        "IdentityType": "EMAIL_ADDRESS" if "@" in identity else "DOMAIN",
        "VerifiedForSendingStatus": verified,
        "DkimAttributes": {"SigningEnabled": False, "Status": "NOT_STARTED"},
    }


def suppressed_content(entry: Any) -> Answer:
    """An entry of the suppression list; times are seconds since 1970."""
    updated_at: datetime = moment_of(entry.updated_at)
    return {"EmailAddress": entry.address, "Reason": entry.reason, "LastUpdateTime": updated_at.timestamp()}
