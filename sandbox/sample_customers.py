"""The hundred businesses of the sample data, and which of them make trouble.

All of them are fictional, and all their addresses end in example.com, example.org or example.net, which
RFC 2606 reserves: nothing that the sandbox sends could reach anybody.
"""

from __future__ import annotations

import random
import re
import unicodedata
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple


@dataclass(frozen=True)
class Customer:
    """A business with an account. The discount is an amount of its currency, off every month."""

    recipient_id: str
    name: str
    email: str | None
    plan: str
    currency: str
    monthly_discount: Decimal


class Trouble(NamedTuple):
    """What is unusual about a customer, and why the sample data has it: what should come of it."""

    what: str
    why: str


class _Troublesome(NamedTuple):
    """A customer whose name and address are given, not made up like the ordinary ones."""

    recipient_id: str
    currency: str
    name: str
    email: str | None
    trouble: Trouble


# By currency, because a business pays in the currency of its country.
_ORDINARY_NAMES = {
    "USD": """Blue Heron Bakery; Copper Kettle Coffee Roasters; Prairie Wind Credit Union;
        Granite Peak Outfitters; Maple & Main Hardware; Redwood Dental Group; Silver Birch Publishing;
        Lakeshore Logistics; Canyon Radio; Bright Harbor Learning; Cedar Hollow Veterinary Clinic;
        Ironbridge Machine Works; Magnolia Medical Billing; Northern Lights Travel;
        Pinecrest Property Management; Quarry Street Architects; Sagebrush Analytics; Tall Ships Brewing;
        Union Square Florists; Wildflower Seed Company; Ember & Oak Furniture; Kestrel Kite Works;
        Foxglove Pharmacy; Saltmarsh Seafood; Lantern Street Cinema; Tumbleweed Telemetry""",
    "EUR": """Amsel Musikverlag GmbH; Boulangerie du Vieux Port; Cantina del Faro;
        Delft Blue Ceramics B.V.; Fjordlys Design ApS; Hafenblick Hotel; Imprimerie des Tilleuls;
        Kastanje Bakkerij; Librería Mar Abierto; Molino Verde S.r.l.; Nordwind Energie AG; Oliveto Alto;
        Pappelallee Apotheke; Quinta da Ribeira; Schönwetter Gartenbau; Tramontana Vini;
        Velo Atelier Lyon; Waldkauz Kinderbücher; Zeilmakerij De Meeuw; Żuraw Logistyka; Aurinko Sauna Oy;
        Bergamot Teehandel; Casa Limón Interiores; Dünenhaus Ferienwohnungen""",
    "GBP": """Abbey Lane Bicycles; Brackenridge Surveyors; Cobbler & Thread; Dovecote Farm Shop;
        Ellerby & Moss Solicitors; Fenland Hydroponics; Greyfriars Bookshop; Hollybank Nurseries;
        Kittiwake Kayaks; Marlstone Pottery; Otterburn Woollens; Puddingstone Catering; Rookery Press;
        Stargazey Fish Bar; Cooperative Society of Orchard Growers, Cider Makers and Beekeepers of the Low
        er Marsh Valley and Hills""",
    "JPY": """Asagao Confectionery K.K.; Fujibayashi Paper Mill; Hoshizora Planetarium; Kawasemi Ceramics;
        Kumogakure Onsen; Minato Bento K.K.; Sakuragaoka Driving School; Tsubame Rail Tours;
        Yamabuki Instruments; Yukishiro Ski Rentals""",
}

_MALFORMED = "malformed: reported by recipient, not mailed"
_NOWHERE = "nowhere to send: reported by recipient, not mailed"
_INJECTED = "header injection: must be refused, never passed on"

_REFUSED = (
    _Troublesome("CUST-0007", "USD", "Riverbend Orchards", "orders.riverbend-orchards.example.com",
                 Trouble("the address has no @", _MALFORMED)),
    _Troublesome("CUST-0013", "GBP", "Thistledown Linens", "accounts payable@example.com",
                 Trouble("the address has a space in it", _MALFORMED)),
    _Troublesome("CUST-0019", "EUR", "Lindenhof Optik", "kasse@example.org, filiale@example.org",
                 Trouble("two addresses in one field", _MALFORMED)),
    _Troublesome("CUST-0026", "USD", "Paper Lantern Events", "",
                 Trouble("the address is empty", _NOWHERE)),
    _Troublesome("CUST-0033", "GBP", "Harrow & Finch Joinery", None,
                 Trouble("the address is NULL", _NOWHERE)),
    _Troublesome("CUST-0038", "EUR", "Café Mistral", "café-mistral@example.net",
                 Trouble("the local part is not ASCII", "the provider takes none but ASCII: not mailed")),
    _Troublesome("CUST-0044", "USD", "Cobalt Signworks", "office@example.com\nBcc: everybody@example.net",
                 Trouble("the address carries a second header", _INJECTED)),
)  # fmt: skip

_UNUSUAL = (
    _Troublesome("CUST-0051", "GBP", 'Kiln & <b>Ember</b> <script>alert("Kiln")</script>', "kiln@example.org",
                 Trouble("the name contains HTML and a script", "valid: mailed, with the name escaped")),
    _Troublesome("CUST-0058", "USD", "Northgate Veterinary Clinic\nand Cattery", "northgate@example.com",
                 Trouble("the name contains a line break", "valid: mailed, and no header is broken by it")),
    _Troublesome("CUST-0063", "EUR", "Bücherstube am Deich", "rechnung@bücherstube.example.org",
                 Trouble("the domain is internationalised", "valid: mailed to its Punycode form")),
)  # fmt: skip


def _provoking(trouble: Trouble, *customers: tuple[str, str, str, str]) -> tuple[_Troublesome, ...]:
    """Customers with nothing wrong about them, to whose mail the provider is told to misbehave."""
    return tuple(_Troublesome(*customer, trouble) for customer in customers)


_THROTTLED = _provoking(
    Trouble("the provider throttles this address", "refused for now: sent by a later try, once"),
    ("CUST-0004", "USD", "Juniper Press", "throttled-juniper-press@example.com"),
    ("CUST-0022", "EUR", "Seeadler Reederei", "throttled-seeadler@example.com"),
    ("CUST-0041", "GBP", "Wren Hill Dairy", "throttled-wren-hill@example.com"),
    ("CUST-0060", "JPY", "Momiji Tea House", "throttled-momiji@example.com"),
    ("CUST-0079", "USD", "Anchor Bay Marine", "throttled-anchor-bay@example.com"),
    ("CUST-0098", "EUR", "Atelier Brindille", "throttled-brindille@example.com"),
)
_REJECTED = _provoking(
    Trouble("the provider rejects this message", "refused for good: recorded as rejected, never tried again"),
    ("CUST-0016", "USD", "Desert Bloom Nursery", "rejected-desert-bloom@example.com"),
    ("CUST-0055", "EUR", "Gasthof Sonnenuhr", "rejected-sonnenuhr@example.com"),
    ("CUST-0087", "GBP", "Pebble Beach Huts", "rejected-pebble-beach@example.com"),
)
_ANSWER_LOST = _provoking(
    Trouble("the provider accepts, but its answer is lost", "in doubt: held until an event proves it was sent"),
    ("CUST-0010", "EUR", "Falkensee Druck", "lost-answer-falkensee@example.com"),
    ("CUST-0035", "USD", "Harvest Moon Foods", "lost-answer-harvest-moon@example.com"),
    ("CUST-0066", "JPY", "Tanpopo Preschool", "lost-answer-tanpopo@example.com"),
    ("CUST-0091", "GBP", "Sandpiper Yachts", "lost-answer-sandpiper@example.com"),
)
_UNAVAILABLE = _provoking(
    Trouble("the provider answers 503", "in doubt: held, because it may have been accepted all the same"),
    ("CUST-0029", "USD", "Owl Creek Winery", "unavailable-owl-creek@example.com"),
    ("CUST-0072", "EUR", "Torrent Cycles", "unavailable-torrent@example.com"),
)
_TROUBLESOME = _REFUSED + _UNUSUAL + _THROTTLED + _REJECTED + _ANSWER_LOST + _UNAVAILABLE


def _addressed(customers: tuple[_Troublesome, ...]) -> list[tuple[str, str]]:
    return [(customer.recipient_id, customer.email) for customer in customers if customer.email is not None]


TROUBLE: dict[str, Trouble] = {customer.recipient_id: customer.trouble for customer in _TROUBLESOME}
"""Every customer that is not ordinary, by recipient id: what is unusual, and what should come of it."""

REFUSED: list[tuple[str, str | None]] = [(customer.recipient_id, customer.email) for customer in _REFUSED]
"""Addresses that no mail can go to."""

UNUSUAL: list[tuple[str, str]] = _addressed(_UNUSUAL)
"""Customers that look wrong but are valid: their mail must go out."""

THROTTLED: list[tuple[str, str]] = _addressed(_THROTTLED)
REJECTED: list[tuple[str, str]] = _addressed(_REJECTED)
ANSWER_LOST: list[tuple[str, str]] = _addressed(_ANSWER_LOST)
UNAVAILABLE: list[tuple[str, str]] = _addressed(_UNAVAILABLE)


def _local_part(name: str) -> str:
    """Turn "Boulangerie du Vieux Port" into "boulangerie-du-vieux-port"."""
    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", ascii_name.lower()).strip("-")[:40].strip("-")


def sample_customers() -> list[Customer]:
    """Return the hundred customers in the order of their ids; the same ones every time."""
    chance = random.Random("customers")  # noqa: S311
    ordinary = [
        (" ".join(name.split()), currency) for currency, names in _ORDINARY_NAMES.items() for name in names.split(";")
    ]
    chance.shuffle(ordinary)
    troublesome = {customer.recipient_id: customer for customer in _TROUBLESOME}
    customers = []
    for number in range(1, len(ordinary) + len(troublesome) + 1):
        recipient_id = f"CUST-{number:04d}"
        domain = chance.choice(("example.com", "example.org", "example.net"))
        email: str | None
        if recipient_id in troublesome:
            name, currency = troublesome[recipient_id].name, troublesome[recipient_id].currency
            email = troublesome[recipient_id].email
        else:
            name, currency = ordinary.pop()
            email = f"{_local_part(name)}@{domain}"
        plan = chance.choices(("Starter", "Team", "Scale"), weights=(5, 4, 1))[0]
        discount = Decimal(chance.choice((10, 20, 25))) if chance.random() < 0.15 else Decimal(0)
        if currency == "JPY":
            discount *= 100
        customers.append(Customer(recipient_id, name, email, plan, currency, discount))
    return customers
