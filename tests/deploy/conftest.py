"""The template for AWS, deployed once for all tests of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sandbox.aws import LocalAws
from sandbox.ses import SesStandIn
from tests.deploy.aws_stack import SnsEvents, Stack


@pytest.fixture(scope="session")
def stack(local_aws: LocalAws) -> Stack:
    return Stack(local_aws, NamePrefix="deployed")


@pytest.fixture
def deployed_ses(stack: Stack, local_aws: LocalAws) -> Iterator[SesStandIn]:
    """SES with the configuration set of the template and no other, which publishes to the template's topic."""
    with SesStandIn(configuration_sets=[], events=SnsEvents(local_aws, stack.made["EventsTopic"])) as ses:
        stack.publish_from(ses)
        yield ses
