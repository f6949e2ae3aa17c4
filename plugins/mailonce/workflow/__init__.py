"""Everything that knows Airflow: settings, connections, the tasks of the monthly Dag, retries."""
