"""The task of the Dag ``start_usage_email``: from a message or an asset event to a run of the Dag that mails the month."""
