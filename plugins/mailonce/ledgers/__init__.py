"""Where claims and receipts are kept: one small interface (:mod:`mailonce.ledgers.base`), one folder a back end."""
