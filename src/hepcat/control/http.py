"""The HTTP door: /metrics for Prometheus, /healthz for whoever watches, /status and /stats as JSON.

In: GET and HEAD requests, one a connection. Out: text or JSON. What can go wrong: the address is taken
(HepcatError at start); a request is wrong (404, 405). It only reads, takes no parameters, and listens on
loopback unless the configuration says `public`.

Nothing a client does makes the door wait. A connection that finds no place is closed at once, and each has
a deadline for all of its request and answer: a time-out for each octet would let a slow one stay for ever.
"""

import contextlib
import errno
import json
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from hepcat.config.settings import NO_ACCOUNTS, HttpSettings
from hepcat.config.values import split_host_port
from hepcat.control.methods import READ, Control, Running, call_method, metrics_of
from hepcat.errors import HepcatError
from hepcat.pipeline.metrics import Metrics

#: Requests served at once.
MAX_REQUESTS: Final = 16
#: Seconds for a request to arrive and its answer to leave.
REQUEST_SECONDS: Final = 5.0
#: Seconds after which a request has to make room for another when all places are taken.
SPARE_SECONDS: Final = 1.0
#: Seconds between looks at the clock.
LOOK_SECONDS: Final = 1.0
#: Octets of a body, which no request here needs, that are read so that the answer is not lost to a reset.
MOST_BODY: Final = 65_536
_TEXT: Final = "text/plain; charset=utf-8"
_METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class HttpDoor:
    """Binds when made, answers from `start` on."""

    def __init__(self, http: HttpSettings, server: Running) -> None:
        """Bind where the settings say. Raises HepcatError."""
        assert http.listen is not None
        if http.reachable and not http.public:
            raise HepcatError(NO_ACCOUNTS.format(http.listen))
        self.listen = http.listen
        self._http = _bind(*split_host_port(http.listen))
        self._thread: threading.Thread | None = None
        self._http.capture = server
        self._http.metrics = metrics_of(server)

    def start(self) -> None:
        """Begin to answer."""
        self._thread = threading.Thread(
            target=self._http.serve_forever, args=(LOOK_SECONDS,), name="http", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Stop answering, at once: requests that have not ended are cut off."""
        with contextlib.suppress(OSError):  # wakes the loop, which would else sleep out its time
            self._http.socket.shutdown(socket.SHUT_RDWR)
        if self._thread is not None:  # else it would wait for ever for the end of what never began
            self._http.shutdown()
        self._http.server_close()
        self._http.cut_off(0.0)


class _HttpServer(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128
    capture: Running
    metrics: Metrics

    def __init__(self, address: tuple[str, int], family: int) -> None:
        self.address_family = family
        self._mutex = threading.Lock()
        self._begun: dict[socket.socket, float] = {}  # connections that are served, and since when
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        # HTTPServer's own would look the address up in the DNS.
        socket_server_bind(self)
        self.server_name, self.server_port = self.server_address[0], self.server_address[1]  # type: ignore[assignment]

        self.socket.setblocking(False)  # a peer that has gone again must not let accept wait for the next

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve the connection in a thread of its own; close it where there is no place."""
        if len(self._begun) >= MAX_REQUESTS and not self.cut_off(SPARE_SECONDS, most=1):
            self.shutdown_request(request)
            return
        with self._mutex:
            self._begun[request] = time.monotonic()
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection, whichever way its request ended."""
        with self._mutex:
            self._begun.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Cut off what is past its deadline; the loop calls this at least every LOOK_SECONDS."""
        self.cut_off(REQUEST_SECONDS)

    def cut_off(self, seconds: float, most: int = MAX_REQUESTS) -> int:
        """End the oldest requests that began so long ago; return how many. Their threads see a closed
        connection and end; their places are free from now on.
        """
        cut = 0
        with self._mutex:  # a connection in the table is not closed yet, so its descriptor is its own
            for request, begun in list(self._begun.items()):
                if cut < most and time.monotonic() - begun >= seconds:
                    del self._begun[request]
                    with contextlib.suppress(OSError):
                        request.shutdown(socket.SHUT_RDWR)
                    cut += 1
        return cut

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is none of our errors."""


def socket_server_bind(server: _HttpServer) -> None:
    """Bind with IPv6 addresses meaning IPv6 only, as the HEP listeners do."""
    if server.address_family == socket.AF_INET6:
        server.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.socket.bind(server.server_address)
    server.server_address = server.socket.getsockname()


class _Handler(BaseHTTPRequestHandler):
    server: _HttpServer
    protocol_version = "HTTP/1.1"
    server_version = "hepcat"
    sys_version = ""

    def parse_request(self) -> bool:
        """Read a request's head; answer 405 to what does not read. One request a connection."""
        if not super().parse_request():
            return False
        self.close_connection = True
        if self.command in ("GET", "HEAD"):
            return True
        length = self.headers.get("Content-Length", "")
        if length.isascii() and length.isdigit() and len(length) < 9:
            self.rfile.read(min(int(length), MOST_BODY))
        self._answer(405, _TEXT, b"only GET and HEAD are answered here\n")
        return False

    def do_HEAD(self) -> None:
        """Answer as to GET; `_answer` leaves the body out."""
        self.do_GET()

    def do_GET(self) -> None:
        """Answer one request."""
        path = self.path.partition("?")[0]
        if path == "/metrics":
            self._answer(200, _METRICS_TYPE, self.server.metrics.text())
        elif path == "/healthz":
            well = self.server.capture.store_ok()
            self._answer(
                200 if well else 503, "text/plain; charset=utf-8", b"ok\n" if well else b"cannot store\n"
            )
        elif path[1:] in READ:
            answer = json.dumps(call_method(Control(self.server.capture), path[1:]), indent=1)
            self._answer(200, "application/json", answer.encode() + b"\n")
        else:
            known = ", ".join(["/healthz", *(f"/{name}" for name in READ)])
            self._answer(404, _TEXT, f"not found; there is {known}\n".encode())

    def _answer(self, status: int, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Connection", "close")
        if status == 405:
            self.send_header("Allow", "GET, HEAD")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: scrapes every few seconds would bury the log."""


def _bind(host: str, port: int) -> _HttpServer:
    try:
        return _HttpServer((host, port), socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        hint = "Choose another with --http ADDRESS:PORT."
        if error.errno == errno.EADDRINUSE:
            hint = f"Another program has it (`ss -lntp 'sport = :{port}'` names it). " + hint
        raise HepcatError(f"cannot listen on http://{host}:{port}: {error.strerror}", hint) from None
