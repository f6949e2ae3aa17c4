"""The crash matrix: real processes, really killed at every point of a delivery, and what must have come of it.

``docs/crash-matrix.md`` says how to run it against a ledger and a campaign of one's own. :mod:`~mailonce.crashes.points`
is the table of cases and of the ends they must come to, :mod:`~mailonce.crashes.matrix` runs them.
"""
