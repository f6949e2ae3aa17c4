"""What is safe to do next about each kind of exception: one sentence each, for the report."""

from __future__ import annotations

from collections.abc import Mapping

from mailonce.events import Fate
from mailonce.states import State
from mailonce.workflow.plan import NOT_YET, Plan
from mailonce.workflow.snapshot import RejectKind

SAFE_NEXT: Mapping[str, str] = {
    State.SENDING.value: "Wait two minutes, then clear the failed tasks: it then says SENT or IN_DOUBT.",
    State.RELEASED.value: "Nothing was sent. Mend the cause, then clear the failed tasks: only the missing mails go out.",
    State.REJECTED.value: "Correct the address or the mail, then: mailonce resolve KEY --release, and clear the failed task.",
    State.IN_DOUBT.value: (
        "Held, and never sent again by itself. Look for it in the provider's log, then: mailonce resolve KEY with --sent "
        "or --release."
    ),
    NOT_YET: "Nothing was sent. Read the failed task's log, mend the cause, then clear the task.",
    RejectKind.INVALID.value: "Nothing was sent. Mend the row's data, then trigger the month again: only the missing mails go out.",
    RejectKind.SUPPRESSED.value: "Left out on purpose. Should the address work again: mailonce suppression lift ADDRESS.",
    Fate.BOUNCED.value: "It was accepted and is not sent again. Ask the customer for another address for the next month.",
    Fate.DROPPED.value: "The provider accepted it and then dropped it. Mend the cause; another `edition` sends it again.",
    Fate.COMPLAINED.value: "The recipient called it spam. Do not mail them again without asking.",
    "duplicate": "It cannot be taken back. mailonce show KEY tells which claim sent which mail.",
    Plan.CONTENT_CHANGED.value: (
        "Nothing was sent again. To send a corrected statement, run the month for just these recipients with another "
        "`edition`."
    ),
}
"""By the state that a report names."""
