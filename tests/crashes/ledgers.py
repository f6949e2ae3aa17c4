"""Ledgers of the tests, as a worker process opens them for itself: by name, with plain arguments."""

from __future__ import annotations

import os

import boto3
from botocore.config import Config

from mailonce.ledgers.base import Ledger
from mailonce.ledgers.dynamodb import DynamoDBLedger
from mailonce.ledgers.postgres import PostgresLedger
from sandbox.aws import ACCESS_KEY, REGION, SECRET_KEY

SESSION = boto3.session.Session(aws_access_key_id=ACCESS_KEY, aws_secret_access_key=SECRET_KEY, region_name=REGION)
SESSION.client("dynamodb")  # the description of the service is read now, once, and not by each worker


def postgres(conninfo: str, table: str) -> Ledger:
    return PostgresLedger(conninfo, table=table)


def dynamodb(url: str, table: str) -> Ledger:
    client = SESSION.client("dynamodb", endpoint_url=url, config=Config(proxies={}, max_pool_connections=32))
    return DynamoDBLedger(client, table=table)


def from_environment() -> Ledger:
    """As a user's own function would: it knows by itself where the ledger is."""
    return postgres(os.environ["TEST_CONNINFO"], os.environ["TEST_TABLE"])
