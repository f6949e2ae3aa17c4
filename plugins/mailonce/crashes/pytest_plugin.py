"""The crash matrix in pytest: an option, and the fixtures behind :mod:`mailonce.crashes.suite`.

pytest imports this wherever mailonce is installed, so it imports nothing but pytest until somebody asks for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from mailonce.crashes.matrix import Matrix
    from mailonce.crashes.orders import LedgerMaker
    from mailonce.messages.message import Message

OPTION = "--mailonce-crash-ledger"
INI = "mailonce_crash_ledger"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option, and the setting of the same meaning."""
    help_text = "the ledger to run mailonce's crash matrix on: module:callable, which returns a Ledger"
    parser.getgroup("mailonce").addoption(OPTION, metavar="MODULE:CALLABLE", help=help_text)
    parser.addini(INI, help_text)


@pytest.fixture(scope="session")
def mailonce_crash_ledger(request: pytest.FixtureRequest) -> LedgerMaker:
    """How the matrix's processes open the ledger; override it where a name is not enough."""
    from mailonce.crashes.orders import LedgerMaker

    name = request.config.getoption(OPTION) or request.config.getini(INI)
    if not name:
        raise pytest.UsageError(
            f"the crash matrix needs a ledger: give {OPTION} module:callable, set {INI} in pytest's configuration, "
            "or override the fixture mailonce_crash_ledger (scope session)"
        )
    return LedgerMaker(name=str(name))


@pytest.fixture(scope="session")
def mailonce_crash_message() -> Message:
    """The mail that is delivered, to nobody; override it to use another."""
    from mailonce.crashes.matrix import PLAIN

    return PLAIN


@pytest.fixture(scope="session")
def mailonce_crash_matrix(
    request: pytest.FixtureRequest, mailonce_crash_ledger: LedgerMaker, mailonce_crash_message: Message
) -> Iterator[Matrix]:
    """The matrix on that ledger, its cases already under way: the tests wait for their verdicts in turn."""
    from mailonce.crashes.matrix import Matrix
    from mailonce.crashes.points import Case

    with Matrix(mailonce_crash_ledger, message=mailonce_crash_message) as matrix:
        chosen = (getattr(item, "callspec", None) for item in request.session.items)
        params = (value for spec in chosen if spec for value in spec.params.values())
        matrix.start(case for case in params if isinstance(case, Case))
        yield matrix
