"""Runs the stand-in from a shell: `python -m sandbox.ses --port 8090 --journal mails.jsonl`."""

from __future__ import annotations

import argparse
import json
import logging
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .behaviours import Behaviour
from .event_records import Fate
from .outbox import Settings
from .sqs_events import SqsEvents
from .standin import SesStandIn

if TYPE_CHECKING:
    from collections.abc import Sequence

EXAMPLES = """
examples:
  python -m sandbox.ses --port 8090 --journal mails.jsonl
      accept everything, keep it in mails.jsonl, show it on http://127.0.0.1:8090/

  python -m sandbox.ses --port 8090 --rate 14 --burst 14 --max-24-hour-send 50000 --latency 0.02
      a new production account, with answers after 20 ms

  python -m sandbox.ses --port 8090 --behaviours '{"ann@example.com": ["throttle", "accept_then_reset"]}'
      refuse Ann's first mail, accept her second without an answer, then be normal

  python -m sandbox.ses --port 8090 --events-queue-url http://127.0.0.1:4566/000000000000/ses-events \\
      --events-endpoint-url http://127.0.0.1:4566
      publish Send, Delivery, Bounce and other events to a local SQS queue

while it runs:
  curl -X PUT http://127.0.0.1:8090/_standin/behaviours -d '{"*": ["unavailable_503"]}'
  curl http://127.0.0.1:8090/_standin/summary
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT. Returns the exit code."""
    parser = argument_parser()
    options = parser.parse_args(arguments)
    logging.basicConfig(
        level=logging.DEBUG if options.verbose else logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    logging.getLogger("botocore").setLevel(logging.INFO)
    try:
        standin = build(options)
        standin.start()
    except (OSError, ValueError, TypeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    print(f"SES stand-in: {standin.url} ({len(standin.mails)} mails in the journal)", flush=True)
    stop.wait()
    standin.stop()
    print(f"SES stand-in stopped: {len(standin.mails)} mails accepted.", flush=True)
    return 0


def build(options: argparse.Namespace) -> SesStandIn:
    """The stand-in that the options describe. Raises ValueError or TypeError for a wrong one."""
    events = None
    if options.events_queue_url:
        events = SqsEvents(
            options.events_queue_url,
            options.events_endpoint_url,
            wrap_in_sns=not options.no_sns_envelope,
            region_name=options.region,
        )
    standin = SesStandIn(
        host=options.host,
        port=options.port,
        journal=options.journal,
        settings=Settings(
            latency=options.latency,
            slow_seconds=options.slow_seconds,
            hang_seconds=options.hang_seconds,
            late_seconds=options.late_seconds,
            signature_max_age=options.signature_max_age,
            sending_enabled=not options.sending_disabled,
        ),
        rate=options.rate,
        burst=options.burst,
        max_24_hour_send=options.max_24_hour_send,
        verified_identities=options.verified_identity,
        configuration_sets=options.configuration_set,
        events=events,
    )
    for address, behaviours in json_object(options.behaviours).items():
        standin.behave(address, behaviours)
    standin.set_fates(json_object(options.fates))
    return standin


def json_object(text: str | None) -> dict[str, Any]:
    """A JSON object, given as such or as the name of a file that has one. None is an empty one."""
    if not text:
        return {}
    content = text if text.lstrip().startswith("{") else Path(text).read_text(encoding="utf-8")
    document = json.loads(content)
    if not isinstance(document, dict):
        raise TypeError(f"not a JSON object: {text}")
    return document


def argument_parser() -> argparse.ArgumentParser:
    """The options and their help."""
    parser = argparse.ArgumentParser(
        prog="python -m sandbox.ses",
        description="A local Amazon SES v2 that keeps every accepted mail and misbehaves on request.",
        epilog=f"{EXAMPLES}\nbehaviours:\n  {', '.join(item.value for item in Behaviour)}"
        f"\n  with a number of seconds after a colon: accept_slowly:0.5, accept_then_hang:30, late_accept:5"
        f"\n\nfates:\n  {', '.join(item.value for item in Fate)}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    add("--port", type=int, default=8090, help="port; 0 takes a free one (default: %(default)s)")
    add("--journal", metavar="FILE", help="JSON lines file that keeps all requests and mails; loaded at start")
    add("--latency", type=float, default=0.0, metavar="SECONDS", help="wait this long before every answer")
    add("--rate", type=float, metavar="N", help="recipients a second; more are throttled (default: no limit)")
    add("--burst", type=float, metavar="N", help="recipients at once (default: the rate)")
    add("--max-24-hour-send", type=float, default=-1, metavar="N", help="daily quota; -1 means none (default)")
    add("--signature-max-age", type=float, metavar="SECONDS", help="refuse older signatures, and none at all")
    add("--sending-disabled", action="store_true", help="the account is paused")
    add("--verified-identity", action="append", metavar="NAME", help="repeatable; default: every identity")
    add("--configuration-set", action="append", metavar="NAME", help="repeatable; default: every set exists")
    add("--behaviours", metavar="JSON", help="{recipient: [behaviour, ...]}, or a file with that")
    add("--fates", metavar="JSON", help="{recipient: fate}, or a file with that")
    add("--slow-seconds", type=float, default=2.0, metavar="SECONDS", help="for accept_slowly")
    add("--hang-seconds", type=float, default=60.0, metavar="SECONDS", help="for accept_then_hang")
    add("--late-seconds", type=float, default=1.0, metavar="SECONDS", help="for late_accept")
    add("--events-queue-url", metavar="URL", help="SQS queue that gets the events")
    add("--events-endpoint-url", metavar="URL", help="endpoint of a local SQS")
    add("--no-sns-envelope", action="store_true", help="send the bare events, not wrapped as SNS does")
    add("--region", default="us-east-1", help="region of the queue (default: %(default)s)")
    add("--verbose", action="store_true", help="log every request")
    return parser


if __name__ == "__main__":
    sys.exit(main())
