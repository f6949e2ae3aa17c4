"""A real Airflow on this machine: scheduler, dag-processor, api-server and triggerer, metadata in PostgreSQL.

The four are started separately and not by ``airflow standalone``, which leaves its children behind when it is
stopped and serves task logs on every network interface. Here everything listens on 127.0.0.1.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Literal, get_args

from typing_extensions import Self

from sandbox.airflow_api import AirflowApi, AirflowApiError
from sandbox.processes import ChildProcess, ProcessFailedError, free_port, stop_all

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from sandbox.postgres import EmbeddedPostgres

Component = Literal["api-server", "dag-processor", "scheduler", "triggerer"]

_STRANGERS = ("AIRFLOW", "AWS_", "PYTHONDONTWRITEBYTECODE")

# The api-server spends most of its start on imports, as long as the migration takes. So it imports meanwhile,
# with the garbage collector off (a tenth faster), and goes on once the file named by its argument is there.
_API_SERVER_LAUNCHER = """
import gc, pathlib, sys, time
gc.disable()
import airflow.api_fastapi.main
gc.enable()
migrated = pathlib.Path(sys.argv[1])
while not migrated.exists():
    time.sleep(0.05)
sys.argv = ["airflow", "api-server"]
from airflow.__main__ import main
main()
"""


@dataclass(frozen=True)
class User:
    """Somebody who may sign in; ``role`` is one of the simple auth manager's: viewer, user, op, admin."""

    name: str
    password: str
    role: str = "admin"


class AirflowStack:
    """The whole of Airflow. Entered it is migrated, started and healthy; left it is stopped.

    ``environment`` is added last and so wins over every setting made here; the place for AIRFLOW_CONN_*.
    No AIRFLOW* or AWS_* variable of our own process is passed on. With no ``users`` everybody who can reach
    the port is admin. ``python`` is the interpreter whose Airflow runs. The same ``home`` and PostgreSQL can be used again later. Raises ProcessFailedError, with
    the tail of the log concerned, when something does not start.
    """

    def __init__(  # noqa: PLR0917 - the five things a stack is made of, in the order they are needed
        self,
        home: Path,
        postgres: EmbeddedPostgres,
        dags: Path,
        plugins: Path,
        environment: Mapping[str, str],
        port: int | None = None,
        *,
        users: Sequence[User] = (),
        paused_at_creation: bool = True,
        parallelism: int = 8,
        start_timeout: float = 180.0,
        python: str | Path = sys.executable,
    ) -> None:
        self.home = home.absolute()
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._postgres = postgres
        self._dags = dags.absolute()
        self._plugins = plugins.absolute()
        self._added_environment = dict(environment)
        self._migrated = self.home / "migrated"
        self._users = list(users)
        self._paused_at_creation = paused_at_creation
        self._parallelism = parallelism
        self._start_timeout = start_timeout
        self._python = python
        self._running: dict[Component, ChildProcess] = {}
        self._all_started: list[ChildProcess] = []

    def __enter__(self) -> Self:
        self.home.mkdir(parents=True, exist_ok=True)
        try:
            self._postgres.create_database("airflow")
            self._write_passwords()
            self._migrated.unlink(missing_ok=True)
            self._start("api-server")
            self.command("db", "migrate")
            self._migrated.touch()
            since = datetime.now(timezone.utc)
            self._start("dag-processor")
            self._start("scheduler")
            self._start("triggerer")
            for component in get_args(Component):
                self._wait_until_healthy(component, since)
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def api(self, user: str | None = None) -> AirflowApi:
        """A REST client signed in as that user, by default the first of ``users``. Raises AirflowApiError."""
        if not self._users:
            return AirflowApi(self.url)
        chosen = next(each for each in self._users if user in (None, each.name))
        return AirflowApi(self.url, chosen.name, chosen.password)

    def command(self, *arguments: str, timeout: float = 180.0) -> str:
        """Run ``airflow arguments…`` in this stack's environment; return its output. Raises ProcessFailedError."""
        result = subprocess.run(
            [self._python, "-m", "airflow", *arguments],
            env=self.environment(),
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            check=False,
        )
        if result.returncode != 0:
            tail = "\n".join(result.stdout.splitlines()[-40:])
            raise ProcessFailedError(f"airflow {' '.join(arguments)} exited with code {result.returncode}\n{tail}")
        return result.stdout

    def restart(self, component: Component) -> None:
        """Stop the component unless it is dead already, start it, wait until it reports itself healthy."""
        if component in self._running:
            self._running[component].stop()
        since = datetime.now(timezone.utc)
        self._start(component)
        self._wait_until_healthy(component, since)

    def kill(self, component: Component, *, whole_session: bool = False) -> None:
        """SIGKILL the component; its children (the scheduler's workers) live on unless ``whole_session``."""
        self._running[component].kill(whole_session=whole_session)

    def process(self, component: Component) -> ChildProcess:
        """The component's process, for its log, its pid and its members."""
        return self._running[component]

    def environment(self) -> dict[str, str]:
        """All environment variables of the components."""
        inherited = {k: v for k, v in os.environ.items() if not k.upper().startswith(_STRANGERS)}
        exempt = [value for key in ("no_proxy", "NO_PROXY") if (value := inherited.get(key))]
        no_proxy = ",".join(["127.0.0.1", "localhost", *exempt[:1]])
        settings = self._settings() | self._sign_in_settings()
        return (
            inherited
            # A proxy must not see what the components say to each other.
            | {"no_proxy": no_proxy, "NO_PROXY": no_proxy}
            | {"AIRFLOW_HOME": str(self.home), "SCARF_ANALYTICS": "false", "DO_NOT_TRACK": "1"}
            | {"AWS_EC2_METADATA_DISABLED": "true", "PYTHONUNBUFFERED": "1"}
            | {f"AIRFLOW__{section}__{name}".upper(): str(value) for (section, name), value in settings.items()}
            | self._added_environment
        )

    def _settings(self) -> dict[tuple[str, str], object]:
        database = self._postgres.dsn("airflow").replace("postgresql://", "postgresql+psycopg2://")
        return self._secrets() | {
            ("core", "executor"): "LocalExecutor",
            ("core", "parallelism"): self._parallelism,
            ("core", "dags_folder"): self._dags,
            ("core", "plugins_folder"): self._plugins,
            ("core", "load_examples"): False,
            ("core", "dags_are_paused_at_creation"): self._paused_at_creation,
            ("core", "execution_api_server_url"): f"{self.url}/execution/",
            # The default asks the name service, which a machine without network waits for.
            ("core", "hostname_callable"): "socket.gethostname",
            ("core", "min_serialized_dag_update_interval"): 2,
            ("database", "sql_alchemy_conn"): database,
            ("api", "host"): "127.0.0.1",
            ("api", "port"): self.port,
            ("api", "base_url"): self.url,
            ("api", "workers"): 1,
            ("dag_processor", "refresh_interval"): 5,
            ("dag_processor", "bundle_refresh_check_interval"): 1,
            ("dag_processor", "min_file_process_interval"): 5,
            ("scheduler", "scheduler_idle_sleep_time"): 0.3,
            # The default makes every task shorter than it wait for it at its end.
            ("workers", "min_heartbeat_interval"): 1,
            ("logging", "base_log_folder"): self.home / "logs",
            ("logging", "colored_console_log"): False,
            ("usage_data_collection", "enabled"): False,
        }

    def _secrets(self) -> dict[tuple[str, str], object]:
        """The installation's keys, made once for a home: what is encrypted with them must stay readable."""
        file = self.home / "secrets.json"
        if not file.exists():
            file.touch(mode=0o600)
            keys = {name: secrets.token_urlsafe(48) for name in ("jwt_secret", "secret_key")}
            keys["fernet_key"] = urlsafe_b64encode(secrets.token_bytes(32)).decode()
            file.write_text(json.dumps(keys))
        keys = json.loads(file.read_text())
        return {
            ("core", "fernet_key"): keys["fernet_key"],
            ("api_auth", "jwt_secret"): keys["jwt_secret"],
            ("api", "secret_key"): keys["secret_key"],
        }

    def _sign_in_settings(self) -> dict[tuple[str, str], object]:
        if not self._users:
            return {("core", "simple_auth_manager_all_admins"): True}
        return {
            ("core", "simple_auth_manager_users"): ",".join(f"{user.name}:{user.role}" for user in self._users),
            ("core", "simple_auth_manager_passwords_file"): self.home / "passwords.json",
        }

    def _write_passwords(self) -> None:
        file = self.home / "passwords.json"
        file.touch(mode=0o600)
        file.write_text(json.dumps({user.name: user.password for user in self._users}))

    def _start(self, component: Component) -> None:
        command: list[str | Path] = [self._python, "-m", "airflow", component]
        if component == "api-server":
            command = [self._python, "-c", _API_SERVER_LAUNCHER, self._migrated]
        elif component in ("scheduler", "triggerer"):
            command.append("--skip-serve-logs")
        process = ChildProcess(
            component,
            command,
            self.home / f"{component}.log",
            environment=self.environment(),
            directory=self.home,
        )
        process.start()
        self._running[component] = process
        self._all_started.append(process)

    def _wait_until_healthy(self, component: Component, since: datetime) -> None:
        api = AirflowApi(self.url, sign_in=False)

        def healthy() -> bool:
            for process in self._running.values():
                # One that died is worth more than a time-out of the one waited for.
                if process.name in ("api-server", component):
                    process.check()
            try:
                return _is_healthy(api.health(), component, since)
            except AirflowApiError:
                return False

        with api:
            self._running[component].wait_until(healthy, self._start_timeout)

    def _close(self) -> None:
        # Also those killed or replaced earlier: their tasks may still be running.
        stop_all(self._all_started, timeout=10)
        self._running.clear()
        self._all_started.clear()


def _is_healthy(health: Mapping[str, Mapping[str, str | None]], component: Component, since: datetime) -> bool:
    """Whether it beat after ``since``: for half a minute Airflow takes one that died for healthy."""
    if component == "api-server":
        return health["metadatabase"]["status"] == "healthy"
    name = component.replace("-", "_")
    entry = health.get(name) or {}
    beat = entry.get(f"latest_{name}_heartbeat")
    if entry.get("status") != "healthy" or beat is None:
        return False
    # Python 3.10 does not read the Z.
    return datetime.fromisoformat(beat.replace("Z", "+00:00")) >= since
