"""Airflow imports this file once, at the start of each of its processes (its folder must be on the Python path).

A worker forks for every task. What a delivery needs is imported here, before the fork, so that a thousand tasks do
not import it a thousand times: with one task a recipient that is most of what a task costs.
"""

import airflow.providers.amazon.aws.hooks.base_aws
import boto3
import mailonce.ledgers.postgres
import mailonce.workflow.delivering  # noqa: F401 - imported for the import's sake
