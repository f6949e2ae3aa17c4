"""AWS clients from Airflow's connections, made as cheaply as one task a recipient needs."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from botocore.config import Config
    from botocore.loaders import Loader


def aws_client(
    conn_id: str,
    service: str,
    *,
    region_name: str = "",
    configure: Callable[[Config], Config] | None = None,
    endpoint_url: str = "",
) -> Any:
    """Return a boto3 client through an Airflow connection: its credentials, roles, region, endpoint and TLS settings.

    :param configure: gets the connection's own client configuration, and returns the one to use.
    :param endpoint_url: where the client leads; empty: where the connection says.
    """
    from airflow.providers.amazon.aws.hooks.base_aws import AwsGenericHook

    hook: Any = AwsGenericHook(aws_conn_id=conn_id, client_type=service, region_name=region_name or None)
    session = hook.get_session(region_name=hook.region_name)
    # boto3 offers no public place for it; without it each client reads megabytes of JSON anew.
    session._session.register_component("data_loader", _loader())  # noqa: SLF001
    # Not `hook.conn`: to name its caller in the user agent it reads the source of everything on the stack, which
    # takes longer than all the rest of a delivery (measured: 30 % of a task's processor time).
    return session.client(
        service,
        config=configure(hook.config) if configure else hook.config,
        endpoint_url=endpoint_url or hook.conn_config.get_service_endpoint_url(service),
        verify=hook.verify,
    )


def preload() -> None:
    """Read what every client needs; to be called before the workers fork, so that it is read once and not per task."""
    loader = _loader()
    for service in ("sesv2", "dynamodb", "sqs"):
        loader.load_service_model(service, "service-2")
        loader.load_service_model(service, "endpoint-rule-set-1")
    for name in ("endpoints", "partitions", "sdk-default-configuration", "_retry"):
        loader.load_data(name)


@lru_cache(maxsize=1)
def _loader() -> Loader:
    """Return one loader for all sessions of the process: it remembers what it has read."""
    from botocore.session import get_session

    # Made by a session, so that it honours AWS_DATA_PATH.
    loader: Loader = get_session().get_component("data_loader")
    return loader
