"""The page as every Airflow process may carry it: nothing is loaded until the first request comes."""

from __future__ import annotations

import threading

from mailonce.page.asgi import Application, Receive, Scope, Send


class LazyPage:
    """An ASGI application that makes the real one when it is first asked.

    Airflow imports its plugins in each of its processes, also where nobody serves a page: in every task.
    """

    def __init__(self) -> None:
        self._page: Application | None = None
        self._lock = threading.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        await self._made()(scope, receive, send)

    def _made(self) -> Application:
        with self._lock:
            if self._page is None:
                from mailonce.page.app import create_app

                self._page = create_app()
            return self._page
