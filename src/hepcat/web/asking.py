"""The running server, asked over its control socket.

In: the settings, which lead to the socket; a method and its parameters (control/methods.py). Out: its result.
What can go wrong: Problem 503 of kind no-server where none answers; where it refuses, 400 (wrong parameter),
403 (no right to), 409 (tried, and failed).
"""

import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from hepcat.config.settings import Settings
from hepcat.control.address import SOCKET_NAME
from hepcat.control.client import Client, Refused
from hepcat.errors import HepcatError
from hepcat.web.problems import Problem

#: Code of control/json_rpc.py -> status of HTTP.
_STATUS: Final = {-32601: 501, -32602: 400, -32001: 403, -32000: 409}


#: Seconds that an answer is given again to those who need no account: they must not keep the server busy.
_RECENT: Final = 1.0


class ServerControl:
    """The running server, asked over its control socket."""

    def __init__(self, settings: Settings) -> None:
        self.path: Path = settings.control.socket or settings.data / SOCKET_NAME
        self._mutex = threading.Lock()
        self._recent: dict[str, tuple[float, Any]] = {}

    def recent(self, method: str) -> Any:
        """Return what `call` returns, or did within the last second; one asks for all who want to know."""
        with self._mutex:
            at, answer = self._recent.get(method, (float("-inf"), None))
            if time.monotonic() - at > _RECENT:
                try:
                    answer = self.call(method)
                except Problem as problem:
                    answer = problem
                self._recent[method] = (time.monotonic(), answer)
        if isinstance(answer, Problem):
            raise Problem(answer.status, str(answer), answer.hint, kind=answer.kind)
        return answer

    def call(self, method: str, params: Mapping[str, Any] | None = None) -> Any:
        """Return the result of a method (control/methods.py). Raises Problem 503 where none runs."""
        if not self.path.exists():
            raise Problem(503, "no server runs on this lake", "hepcat serve starts one.", kind="no-server")
        try:
            with Client(self.path) as client:
                return client.call(method, **(params or {}))
        except Refused as error:
            raise Problem(_STATUS.get(error.code, 502), str(error), error.hint, kind="refused") from None
        except HepcatError as error:
            raise Problem(503, str(error), error.hint, kind="no-server") from None
