"""Airflow imports this file once, at the start of each of its processes (its folder must be on the Python path).

A worker forks for every task. What a delivery needs is loaded here, before the fork, so that a thousand tasks do not
load it a thousand times: with one task a recipient that is most of what a task costs.
"""

import airflow.providers.amazon.aws.assets.s3
import airflow.providers.amazon.aws.fs.s3
import airflow.providers.amazon.aws.hooks.base_aws
import airflow.sdk.lineage
import boto3
import jinja2.ext
import upath.implementations.local
from airflow.sdk import DAG, BaseSensorOperator, CronTriggerTimetable, Param, get_current_context, task

import mailonce.ledgers.dynamodb
import mailonce.ledgers.postgres
import mailonce.operators.ses
import mailonce.workflow.delivering
import mailonce.workflow.events.reconciling
import mailonce.workflow.planning
import mailonce.workflow.report
from mailonce.messages.templates import money
from mailonce.workflow.aws import preload

preload()
money(1, "EUR")  # reads the locale's data
