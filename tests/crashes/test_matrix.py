"""The whole matrix, on both ledgers. Which cases there are, and how they must end, stands in ``points.py``."""

from __future__ import annotations

from mailonce.crashes.suite import test_crash_matrix

__all__ = ["test_crash_matrix"]
