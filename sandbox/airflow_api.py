"""A small client of Airflow's REST API: what the demo and the tests ask of a running Airflow."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx
from typing_extensions import Self

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime
    from types import TracebackType

_FINISHED = frozenset({"success", "failed"})
_PAGE = 100

TaskId = str | tuple[str, int]


class AirflowApiError(RuntimeError):
    """The request was refused or not answered. ``status`` is the HTTP status, None if there was no answer."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class TaskInstance:
    """One task of one run; ``map_index`` is -1 for a task which is not mapped."""

    task_id: str
    map_index: int
    rendered_map_index: str | None
    state: str | None
    try_number: int
    start_date: str | None
    end_date: str | None


class AirflowApi:
    """Signed in with name and password, or without both where everybody is admin. Raises AirflowApiError."""

    def __init__(self, url: str, name: str | None = None, password: str | None = None, *, sign_in: bool = True) -> None:
        # trust_env=False: a proxy in the environment must not see requests to our own machine.
        self._client = httpx.Client(base_url=url, timeout=30, trust_env=False)
        self._credentials = None if name is None else {"username": name, "password": password}
        if sign_in:
            self._sign_in()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the connections back."""
        self._client.close()

    def request(self, method: str, path: str, *, body: object = None, **parameters: Any) -> Any:
        """Send one request and return the decoded answer, or None for an empty one.

        ``path`` is below the server's root, ``parameters`` become the query. A GET is repeated for a few
        seconds while the server is away, so that it may be restarted meanwhile; nothing else is.
        """
        for attempt in range(20):
            try:
                answer = self._client.request(method, path, json=body, params=parameters)
                break
            except httpx.TransportError as error:
                if method != "GET" or attempt == 19 or "Authorization" not in self._client.headers:
                    raise AirflowApiError(f"{method} {path}: no answer: {error!r}") from error
                time.sleep(0.5)
        if answer.is_error:
            raise AirflowApiError(f"{method} {path}: {answer.status_code} {_detail(answer)}", answer.status_code)
        return answer.json() if answer.content else None

    def health(self) -> dict[str, dict[str, str | None]]:
        """The components' state, as the monitor reports it; needs no sign-in."""
        answer: dict[str, dict[str, str | None]] = self.request("GET", "/api/v2/monitor/health")
        return answer

    def wait_for_dag(self, dag: str, timeout: float = 60) -> None:
        """Return once the Dag is parsed. Raises AirflowApiError with its import errors when time runs out."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                self.request("GET", _dag(dag))
                return
            except AirflowApiError as error:
                if error.status != 404:
                    raise
                if time.monotonic() > deadline:
                    errors = "\n".join(each["stack_trace"] for each in self.import_errors())
                    raise AirflowApiError(f"no Dag {dag!r} after {timeout:g} s\n{errors}", 404) from error
            time.sleep(0.3)

    def import_errors(self) -> list[dict[str, Any]]:
        """Every Dag file which could not be imported: filename, stack_trace, timestamp."""
        return list(self._pages("/api/v2/importErrors", "import_errors"))

    def unpause(self, dag: str) -> None:
        """Let the Dag's runs start."""
        self.request("PATCH", _dag(dag), body={"is_paused": False})

    def trigger(
        self,
        dag: str,
        conf: Mapping[str, Any] | None = None,
        run_id: str | None = None,
        logical_date: datetime | None = None,
    ) -> str:
        """Start a run with these parameters; return its id."""
        body = {"conf": dict(conf or {}), "logical_date": logical_date.isoformat() if logical_date else None}
        if run_id is not None:
            body["dag_run_id"] = run_id
        return str(self.request("POST", f"{_dag(dag)}/dagRuns", body=body)["dag_run_id"])

    def run(self, dag: str, run_id: str) -> dict[str, Any]:
        """Everything the server says about one run."""
        answer: dict[str, Any] = self.request("GET", _run(dag, run_id))
        return answer

    def runs(self, dag: str) -> list[dict[str, Any]]:
        """All runs of the Dag."""
        return list(self._pages(f"{_dag(dag)}/dagRuns", "dag_runs"))

    def wait_for_run(self, dag: str, run_id: str, timeout: float = 300) -> str:
        """Wait until the run has finished: "success" or "failed". Raises AirflowApiError on time-out."""
        deadline = time.monotonic() + timeout
        while (state := str(self.run(dag, run_id)["state"])) not in _FINISHED:
            if time.monotonic() > deadline:
                tasks = ", ".join(f"{t.task_id}[{t.map_index}]={t.state}" for t in self.task_instances(dag, run_id))
                raise AirflowApiError(f"{dag} {run_id} is {state} after {timeout:g} s: {tasks[:2000]}")
            time.sleep(0.5)
        return state

    def task_instances(self, dag: str, run_id: str) -> list[TaskInstance]:
        """The latest try of every task of the run, mapped ones included, ordered by task and index."""
        found = self._pages(f"{_run(dag, run_id)}/taskInstances", "task_instances")
        tasks = [
            TaskInstance(
                task_id=each["task_id"],
                map_index=each["map_index"],
                rendered_map_index=each["rendered_map_index"],
                state=each["state"],
                try_number=each["try_number"],
                start_date=each["start_date"],
                end_date=each["end_date"],
            )
            for each in found
        ]
        return sorted(tasks, key=lambda task: (task.task_id, task.map_index))

    def clear(
        self, dag: str, run_id: str, task_ids: Sequence[TaskId] | None = None, *, only_failed: bool = False
    ) -> int:
        """Run tasks again, and what follows them; return how many were cleared.

        ``task_ids`` names tasks, or (task, map index); None means the whole run.
        """
        body: dict[str, object] = {"dry_run": False, "dag_run_id": run_id, "only_failed": only_failed}
        if task_ids is not None:
            body |= {"task_ids": list(task_ids), "include_downstream": True}
        return int(self.request("POST", f"{_dag(dag)}/clearTaskInstances", body=body)["total_entries"])

    def logs(self, dag: str, run_id: str, task: str, try_number: int = 1, map_index: int = -1) -> str:
        """The log of one try, one line for each message; an error's traceback is its type and message."""
        path = f"{_task(dag, run_id, task)}/logs/{try_number}"
        answer = self.request("GET", path, map_index=map_index, full_content="true")
        return "\n".join(_log_line(message) for message in answer["content"])

    def xcom(self, dag: str, run_id: str, task: str, key: str = "return_value", map_index: int = -1) -> Any:
        """The value a task left under that key."""
        path = f"{_task(dag, run_id, task)}/xcomEntries/{quote(key, safe='')}"
        return self.request("GET", path, map_index=map_index)["value"]

    def _pages(self, path: str, name: str) -> Iterator[dict[str, Any]]:
        offset = 0
        while True:
            page = self.request("GET", path, limit=_PAGE, offset=offset)
            yield from page[name]
            offset += len(page[name])
            if not page[name] or offset >= page["total_entries"]:
                return

    def _sign_in(self) -> None:
        method = "GET" if self._credentials is None else "POST"
        token = self.request(method, "/auth/token", body=self._credentials)["access_token"]
        self._client.headers["Authorization"] = f"Bearer {token}"


def _dag(dag: str) -> str:
    return f"/api/v2/dags/{quote(dag, safe='')}"


def _run(dag: str, run_id: str) -> str:
    return f"{_dag(dag)}/dagRuns/{quote(run_id, safe='')}"


def _task(dag: str, run_id: str, task: str) -> str:
    return f"{_run(dag, run_id)}/taskInstances/{quote(task, safe='')}"


def _detail(answer: httpx.Response) -> str:
    """What the server says is wrong, without the envelope."""
    try:
        detail = answer.json()["detail"]
    except (ValueError, KeyError, TypeError):
        return answer.text
    if isinstance(detail, list):
        return "; ".join(f"{'.'.join(map(str, each.get('loc', [])))}: {each.get('msg')}" for each in detail)
    return str(detail)


def _log_line(message: str | Mapping[str, Any]) -> str:
    if isinstance(message, str):
        return message
    errors = [f"{each.get('exc_type')}: {each.get('exc_value')}" for each in message.get("error_detail") or []]
    return "\n".join([str(message.get("event", "")), *errors])
