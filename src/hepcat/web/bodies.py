"""Bounds on what requests bring: no route takes more than some words of JSON.

In: an ASGI application. Out: one that answers 413 to a longer body, whether its length was told or not; what
is read of it is never more than the bound. What can go wrong: nothing else.
"""

from typing import Final

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hepcat.web.problems import problem_response

#: Octets of a request's body.
MOST: Final = 65_536
_TOLD: Final = f"the body has more than {MOST} octets"


class BoundedBodies:
    """The middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, while its body is within the bound."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        told = dict(scope["headers"]).get(b"content-length", b"0")
        if told.isdigit() and int(told[:20]) > MOST:
            await problem_response(413, _TOLD)(scope, receive, send)
            return
        octets = 0

        async def bounded() -> Message:
            nonlocal octets
            message: Message = {}
            if octets <= MOST:
                message = await receive()
                octets += len(message.get("body", b""))
            if octets > MOST:  # said to each who asks, for the first may have lost interest
                raise HTTPException(413, _TOLD)  # FastAPI passes it on from where it reads the body
            return message

        await self._app(scope, bounded, send)
