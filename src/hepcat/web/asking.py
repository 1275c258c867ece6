"""The running server, asked over its control socket.

In: the settings, which lead to the socket; a method and its parameters (control/methods.py). Out: its result.
What can go wrong: Problem 503 of kind no-server where none answers; where it refuses, 400 (wrong parameter),
403 (no right to), 409 (tried, and failed).
"""

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


class ServerControl:
    """The running server, asked over its control socket."""

    def __init__(self, settings: Settings) -> None:
        self.path: Path = settings.control.socket or settings.data / SOCKET_NAME

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
