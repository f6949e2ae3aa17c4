"""What leaves the ledger again, and what stays as proof: purged months, and persons whose address was erased."""
