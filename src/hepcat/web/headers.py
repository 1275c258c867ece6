"""Headers that tell browsers what our pages may do: nothing but what they need.

In: an ASGI application. Out: one whose every answer has the headers below, unless the route set its own.
What can go wrong: nothing.
"""

from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: Scripts, styles and requests of our own only; nobody may frame us; no plug-ins, no forms to elsewhere.
CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
#: What is no page of ours (ladders as SVG, JSON) is a picture or text and no more, if opened by itself.
DOCUMENT_POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; sandbox"
)
ALWAYS: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
}
#: A year (RFC 6797); not for subdomains, which may be anybody's.
STRICT_TRANSPORT: Final = "max-age=31536000"


class SecurityHeaders:
    """The middleware. secure: browsers reach the page over TLS."""

    def __init__(self, app: ASGIApp, secure: bool) -> None:
        self._app = app
        self._always = {**ALWAYS, **({"Strict-Transport-Security": STRICT_TRANSPORT} if secure else {})}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and the answer back with the headers."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path: str = scope["path"]

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._always.items():
                    headers.setdefault(name, value)
                page = headers.get("content-type", "").startswith("text/html")
                if message["status"] != 304:  # which would change the policy of what the browser has
                    headers.setdefault(
                        "Content-Security-Policy", CONTENT_SECURITY_POLICY if page else DOCUMENT_POLICY
                    )
                if path.startswith(("/api/", "/auth/")) and not page:
                    headers.setdefault("Cache-Control", "no-store")
            await send(message)

        await self._app(scope, receive, send_with_headers)
