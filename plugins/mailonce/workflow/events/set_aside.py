"""Messages of no use: taken out of their queue, and kept for somebody to look at."""

from __future__ import annotations

import hashlib
import json
import logging
from datetime import datetime, timezone

from mailonce.workflow.events.queue import Message
from mailonce.workflow.snapshot import folder

log = logging.getLogger(__name__)


class SetAside:
    """Keeps messages under ``<snapshot_uri>/<of>/set-aside/<day>/``, one file a body.

    :param snapshot_uri: the setting of that name. :param of: what they were meant to be.
    """

    def __init__(self, snapshot_uri: str, *, of: str = "events") -> None:
        self.uri = f"{snapshot_uri.rstrip('/')}/{of}/set-aside"

    def keep(self, message: Message, reason: str) -> None:
        """Write one message down; again is harmless. The file holds the body, so perhaps an address; the log does not.

        :param reason: why it is set aside, in words that follow "a message".
        """
        at = datetime.now(timezone.utc)
        name = hashlib.sha256(message.body.encode(errors="surrogatepass")).hexdigest()
        day = folder(self.uri) / f"{at:%Y-%m-%d}"
        day.mkdir(parents=True, exist_ok=True)
        kept = {"message_id": message.id, "at": at.isoformat(), "reason": reason, "body": message.body}
        (day / f"{name}.json").write_text(json.dumps(kept, indent=2), encoding="utf-8")
        log.warning("message %s %s. Set aside: %s/%s.json", message.id, reason, day, name)
