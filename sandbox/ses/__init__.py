"""A local Amazon SES v2 that keeps every accepted mail and misbehaves on request.

In tests: `with SesStandIn() as ses:`. From a shell: `python -m sandbox.ses --help`.
"""

from .behaviours import EVERYBODY, Behaviour, Step
from .event_records import Fate
from .outbox import Settings
from .records import Mail, Request
from .sqs_events import SqsEvents, sns_envelope
from .standin import SesStandIn

__all__ = [
    "EVERYBODY",
    "Behaviour",
    "Fate",
    "Mail",
    "Request",
    "SesStandIn",
    "Settings",
    "SqsEvents",
    "Step",
    "sns_envelope",
]
