"""What is counted and timed while mails are delivered. Knows no Airflow: whoever receives it is one file elsewhere."""
