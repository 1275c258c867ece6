"""The HTTP door: /metrics for Prometheus, /healthz for whoever watches, /status and /stats as JSON.

In: GET requests. Out: text or JSON. What can go wrong: the address is taken (HepcatError at start); a
request is wrong (404, 405). It only reads, takes no parameters, and listens on loopback unless the
configuration says `public`.
"""

import errno
import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from hepcat.config.values import split_host_port
from hepcat.control.methods import METHODS
from hepcat.errors import HepcatError
from hepcat.pipeline.metrics import HepcatCollector, Metrics
from hepcat.pipeline.server import Server

#: Requests served at once; more wait in the kernel's backlog.
MAX_REQUESTS: Final = 16
_TEXT: Final = "text/plain; charset=utf-8"
_METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class HttpDoor:
    """Binds when made, answers from `start` on."""

    def __init__(self, listen: str, server: Server) -> None:
        """Bind ADDRESS:PORT. Raises HepcatError."""
        host, port = split_host_port(listen)
        self.listen = listen
        self._http = _bind(host, port)
        self._http.capture = server
        self._http.metrics = Metrics(
            HepcatCollector(server.counters.snapshot, server.store_ok, server.store_gauges)
        )

    def start(self) -> None:
        """Begin to answer."""
        threading.Thread(target=self._http.serve_forever, name="http", daemon=True).start()

    def stop(self) -> None:
        """Stop answering."""
        self._http.shutdown()
        self._http.server_close()


class _HttpServer(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    capture: Server
    metrics: Metrics

    def __init__(self, address: tuple[str, int], family: int) -> None:
        self.address_family = family
        self._places = threading.BoundedSemaphore(MAX_REQUESTS)
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        # HTTPServer's own would look the address up in the DNS.
        socket_server_bind(self)
        self.server_name, self.server_port = self.server_address[0], self.server_address[1]  # type: ignore[assignment]

    def process_request(self, request: Any, client_address: Any) -> None:
        self._places.acquire()
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

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
    timeout = 10  # seconds for a request to arrive and an answer to leave

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
        elif path[1:] in METHODS:
            answer = json.dumps(METHODS[path[1:]](self.server.capture), indent=1)
            self._answer(200, "application/json", answer.encode() + b"\n")
        else:
            known = ", ".join(["/metrics", "/healthz", *(f"/{name}" for name in METHODS)])
            self._answer(404, _TEXT, f"not found; there is {known}\n".encode())

    def _answer(self, status: int, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
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
