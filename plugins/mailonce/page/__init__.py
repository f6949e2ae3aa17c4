"""The page "Mail ledger" inside Airflow: what became of every mail, for people who are asked about one."""
