"""The PostgreSQL ledger: one table, one statement a step."""

from mailonce.ledgers.postgres.ledger import PostgresLedger

__all__ = ["PostgresLedger"]
