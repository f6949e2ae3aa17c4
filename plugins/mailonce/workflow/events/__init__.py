"""The tasks of the Dag ``reconcile_usage_email``: from a queue of the provider's events to facts in the ledger."""
