"""The other end of the control socket: asks a running hepcat, and puts what goes wrong in words.

In: the path of a socket, methods and parameters. Out: results. What can go wrong: HepcatError: nobody there,
no right, not a hepcat, no answer in time, or what the method itself says.
"""

import json
import os
import socket
import stat
import time
from pathlib import Path
from typing import Any, Final

from hepcat.control.address import address
from hepcat.errors import HepcatError
from hepcat.search.render.escape import safe_line

#: Seconds for an answer; a reload may take longer.
ANSWER_SECONDS: Final = 10.0
RELOAD_SECONDS: Final = 60.0
#: Most octets of an answer: counters of very many sources and targets.
MOST: Final = 64 * 2**20


class Refused(HepcatError):
    """What a running hepcat answers where it does not carry a method out. code: of control/json_rpc.py."""

    def __init__(self, message: str, hint: str, code: int) -> None:
        super().__init__(message, hint)
        self.code = code


class Client:
    """One connection. A context manager."""

    def __init__(self, path: Path) -> None:
        """Connect. Raises HepcatError."""
        self.path = path
        self._number = 0
        self._received = bytearray()
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._sock.settimeout(ANSWER_SECONDS)
        try:
            if not stat.S_ISSOCK(os.stat(path).st_mode):
                raise HepcatError(f"{path} is not a socket", "--socket names the control socket of a hepcat.")
            with address(path) as name:
                self._connect(name)
        except OSError as error:
            self._sock.close()
            raise _no_connection(path, error) from None
        except BaseException:
            self._sock.close()
            raise

    def _connect(self, name: str) -> None:
        end = time.monotonic() + ANSWER_SECONDS
        while True:
            try:
                self._sock.connect(name)
                return
            except BlockingIOError:  # so many wait there already that there is no place to wait
                if time.monotonic() > end:
                    raise
                time.sleep(0.01)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self._sock.close()

    def call(self, method: str, **params: Any) -> Any:
        """Return the result of a method. Raises HepcatError: Refused where the other side says no."""
        self._number += 1
        request = {"jsonrpc": "2.0", "method": method, "params": params, "id": self._number}
        self._sock.settimeout(RELOAD_SECONDS if method == "reload" else ANSWER_SECONDS)
        try:
            self._sock.sendall(json.dumps(request).encode() + b"\n")
            line = self._line()
        except TimeoutError:
            raise HepcatError(
                f"{self.path}: no answer in time",
                "The process behind it may be stopped, or the machine overloaded; its log may tell.",
            ) from None
        except OSError as error:
            raise HepcatError(f"{self.path}: the connection was lost: {error.strerror}") from None
        return self._result(line)

    def _line(self) -> bytes:
        while b"\n" not in self._received:
            octets = self._sock.recv(65_536)
            if not octets:
                raise HepcatError(f"{self.path}: the other side closed the connection", "Has it stopped?")
            self._received += octets
            if len(self._received) > MOST:
                raise self._stranger()
        line, _, self._received = self._received.partition(b"\n")
        return bytes(line)

    def _result(self, line: bytes) -> Any:
        try:
            answer = json.loads(line)
        except (ValueError, RecursionError):
            raise self._stranger() from None
        if not isinstance(answer, dict) or answer.get("id") != self._number:
            raise self._stranger()
        error = answer.get("error")
        if isinstance(error, dict):
            data = error.get("data")
            hint = data.get("hint", "") if isinstance(data, dict) else ""
            code = error.get("code")
            raise Refused(_safe(error.get("message")), _safe(hint), code if isinstance(code, int) else 0)
        if "result" not in answer:
            raise self._stranger()
        return answer["result"]

    def _stranger(self) -> HepcatError:
        return HepcatError(
            f"{self.path}: what answers there is not a hepcat", "--socket names the control socket of one."
        )


def _safe(words: Any) -> str:
    return "\n".join(safe_line(line) for line in str(words).splitlines())


def _no_connection(path: Path, error: OSError) -> HepcatError:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return HepcatError(
            f"no hepcat is running there: there is no {path}",
            "Name the lake's folder (--data), the configuration (--config) or the socket (--socket) of the "
            "one you mean.",
        )
    if isinstance(error, ConnectionRefusedError):
        return HepcatError(
            f"no hepcat is running there: nobody answers at {path}",
            "It ended without removing its socket, and makes it anew when it is started again.",
        )
    if isinstance(error, PermissionError):
        return HepcatError(
            f"no right to open {path}",
            "Become root or the server's user, or a member of its group; `socket_mode` in [control] says who "
            "may.",
        )
    if isinstance(error, TimeoutError | BlockingIOError):
        return HepcatError(f"{path}: nobody takes the connection", "Is the process behind it stopped?")
    return HepcatError(f"cannot connect to {path}: {error.strerror}")
