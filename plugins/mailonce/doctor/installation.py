"""What is examined: the settings, and what they lead to. Each thing is looked up once, whoever needs it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from botocore.config import Config
from botocore.exceptions import BotoCoreError

from mailonce.epoch import Epoch
from mailonce.errors import RunBlocked
from mailonce.findings import Finding
from mailonce.ledgers.base import Ledger
from mailonce.providers.ses import SesProvider, one_request
from mailonce.workflow.aws import aws_client
from mailonce.workflow.connections import events_client, open_ledger, open_ses
from mailonce.workflow.questions import Answer, ask, quickly
from mailonce.workflow.senders import providers_of
from mailonce.workflow.settings import Settings

if TYPE_CHECKING:
    from airflow.sdk import DAG
    from mypy_boto3_sesv2.client import SESV2Client

Thing = TypeVar("Thing")

OTHERS_WAIT = timedelta(seconds=35)
"""How long Brevo, or a relay that is in order, may take for one mail."""
_AMAZON = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws")


class Installation:
    """One installation of the package, as the checks see it.

    What fails is not tried again: the same exception is raised for every check that needs it, so that one trouble
    costs one wait, and is told once.

    :param dags: the Dags whose tasks are looked at. :param broken_dags: files that are no Dags, and why.
    :param campaign: :param period: the month that is to be mailed; empty: no certain one.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        dags: Sequence[DAG] = (),
        broken_dags: Mapping[str, str] | None = None,
        campaign: str = "",
        period: str = "",
    ) -> None:
        self.settings = settings
        self.dags = dags
        self.broken_dags = broken_dags or {}
        self.campaign = campaign
        self.period = period
        self._found: dict[str, Any] = {}
        self._failed: dict[str, Exception] = {}

    @property
    def providers(self) -> frozenset[str]:
        """Who carries the mails: ``ses``, ``brevo``, ``smtp``."""
        return providers_of(self.dags, self.settings)

    @property
    def ledger(self) -> Ledger:
        """The ledger.

        :raises mailonce.errors.MailonceError: it cannot be opened.
        """
        return self._once("ledger", lambda: open_ledger(self.settings))

    @property
    def ledger_findings(self) -> Sequence[Finding]:
        """What the ledger's own store says of itself.

        :raises mailonce.errors.LedgerError: the ledger does not answer.
        """
        return self._once("ledger's findings", lambda: list(self.ledger.examine()))

    @property
    def epoch(self) -> Epoch | None:
        """The ledger's epoch. None: there is no ledger yet, and asking it for more would make one.

        :raises mailonce.errors.LedgerError: the ledger does not answer.
        """
        return self._once("epoch", self.look_up_epoch)

    def look_up_epoch(self) -> Epoch | None:
        """Return the ledger's epoch as it is now; None: as above."""
        # Both ledgers say so in these words, which tests/doctor/test_ledger.py holds them to.
        absent = any(one.check == "table" and one.found.startswith("There is no ") for one in self.ledger_findings)
        return None if absent else self.ledger.epoch.read()

    def client(self, service: str) -> Any:
        """Return a boto3 client for questions, through the connection that mails are sent through.

        :raises mailonce.errors.RunBlocked: none can be made.
        """
        return self._once(f"client {service}", lambda: self._client(service, quickly))

    def is_amazons(self, service: str) -> bool:
        """Tell whether a service is Amazon's own, and no stand-in."""
        host = urlsplit(self.client(service).meta.endpoint_url).hostname or ""
        return host.endswith(_AMAZON)

    @property
    def provider(self) -> SesProvider:
        """The provider, as a task gets it.

        :raises mailonce.errors.InvalidInput: its client would repeat requests by itself.
        :raises mailonce.errors.RunBlocked: none can be made.
        """
        return self._once("provider", lambda: self._made(lambda: open_ses(self.settings)))

    def sending_client(self, endpoint_url: str = "") -> SESV2Client:
        """Return a client like the one that sends, but without a proxy.

        :param endpoint_url: where it leads; empty: to SES.
        :raises mailonce.errors.RunBlocked: none can be made.
        """
        here = Config(proxies={}, use_fips_endpoint=False, use_dualstack_endpoint=False)
        client: SESV2Client = self._client("sesv2", lambda own: one_request(own).merge(here), endpoint_url)
        return client

    @property
    def longest_request(self) -> timedelta:
        """How long a request may take before it is given up."""

        def look_up() -> timedelta:
            if "ses" not in self.providers:
                return OTHERS_WAIT
            config: Any = self.sending_client().meta.config
            return timedelta(seconds=config.connect_timeout + config.read_timeout)

        return self._once("longest request", look_up)

    def ask(self, service: str, operation: str, **arguments: Any) -> Answer:
        """Ask AWS one question, see :func:`mailonce.workflow.questions.ask`."""
        question = f"{operation} {json.dumps(arguments, sort_keys=True)}"
        # A service that cannot be reached is not waited for again at the next question.
        return self._once(question, lambda: ask(self.client(service), operation, **arguments), trouble=service)

    def close(self) -> None:
        """Give back connections."""
        if ledger := self._found.pop("ledger", None):
            ledger.close()

    def _client(self, service: str, configure: Callable[[Config], Config], endpoint_url: str = "") -> Any:
        def make() -> Any:
            settings = self.settings
            region = events_client(settings).meta.region_name if service == "sqs" else settings.region_name
            return aws_client(
                settings.aws_conn_id, service, region_name=region, configure=configure, endpoint_url=endpoint_url
            )

        return self._made(make)

    def _made(self, make: Callable[[], Thing]) -> Thing:
        if failure := self._failed.get("client"):
            raise failure
        try:
            return make()
        except BotoCoreError as error:
            failure = RunBlocked(f"no AWS client can be made ({type(error).__name__}: {error}).")
            self._failed["client"] = failure
            raise failure from error

    def _once(self, what: str, find: Callable[[], Thing], *, trouble: str = "") -> Thing:
        if failure := self._failed.get(trouble or what):
            raise failure
        if what not in self._found:
            try:
                self._found[what] = find()
            except Exception as failure:
                self._failed[trouble or what] = failure
                raise
        found: Thing = self._found[what]
        return found
