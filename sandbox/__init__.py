"""Everything the demo, the local stack and the tests start on this machine: PostgreSQL, AWS, Airflow."""
