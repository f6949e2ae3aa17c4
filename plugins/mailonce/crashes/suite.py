"""The crash matrix as a test, to be run as it is or imported into a test file::

pytest --pyargs mailonce.crashes.suite --mailonce-crash-ledger my_ledgers:open_ledger

from mailonce.crashes.suite import test_crash_matrix  # in a test file, beside one's own tests
"""

from __future__ import annotations

import pytest

from mailonce.crashes.matrix import Matrix
from mailonce.crashes.points import Case, cases


@pytest.mark.parametrize("mailonce_crash_case", [*cases()], ids=str)
def test_crash_matrix(mailonce_crash_matrix: Matrix, mailonce_crash_case: Case) -> None:
    """One case: at most one mail, nobody lost, and the end that the table says."""
    verdict = mailonce_crash_matrix.verdict(mailonce_crash_case)
    assert verdict.ok, verdict.sentence
