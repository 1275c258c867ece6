"""Asking the provider of OpenID Connect, within bounds of time and size.

In: addresses of the provider. Out: Authlib's HTTP client, JSON objects. What can go wrong: `OidcError` with
reason "away": the provider cannot be reached, takes too long, answers too much or something else than JSON.
"""

import asyncio
import warnings
from collections.abc import AsyncIterator
from typing import Any, Final, Literal

from hepcat.errors import HepcatError

#: Why a login came to nothing; the login page has words for each.
Reason = Literal["away", "state", "refused", "token", "role", "busy"]

#: Seconds for all that is asked of the provider for one login.
SECONDS: Final = 15.0
#: Octets of one answer.
MOST_OCTETS: Final = 1 << 20


class OidcError(HepcatError):
    """A login that came to nothing."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class time_limit:
    """Ends what takes too long, and says so as an OidcError; so with every other failure of the network."""

    def __init__(self) -> None:
        self._timeout = asyncio.timeout(SECONDS)

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()

    async def __aexit__(self, kind: Any, error: Any, trace: Any) -> None:
        try:
            await self._timeout.__aexit__(kind, error, trace)
        except TimeoutError:
            raise OidcError("away", f"the provider did not answer within {SECONDS:.0f} s") from None
        if isinstance(error, (_http().HTTPError, _http().InvalidURL, OSError)):
            raise OidcError("away", f"the provider cannot be reached: {error!r}") from None


def _http() -> Any:
    """Return the HTTP library that Authlib uses."""
    try:
        import httpx2 as http  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        import httpx as http
    return http


def open_client(**options: Any) -> Any:
    """Return Authlib's client, with bounds on what answers cost."""
    import authlib.deprecate  # noqa: F401  has filters of its own put up by then

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it would rather have httpx2
        from authlib.integrations.httpx_client import AsyncOAuth2Client
    client = AsyncOAuth2Client(timeout=SECONDS, follow_redirects=False, **options)
    client.headers["Accept-Encoding"] = "identity"  # a bound on octets is none on what they inflate to
    client.event_hooks["response"].append(_bound)
    return client


async def _bound(response: Any) -> None:
    """Bound a body that has not been read yet."""
    if response.headers.get("content-encoding", "identity") != "identity":
        raise OidcError("away", "the provider's answer is compressed, which was not asked for")
    response.stream = _bounded(response.stream)


def _bounded(stream: Any) -> Any:
    class Bounded(_http().AsyncByteStream):  # type: ignore[misc]
        async def __aiter__(self) -> AsyncIterator[bytes]:
            octets = 0
            async for piece in stream:
                octets += len(piece)
                if octets > MOST_OCTETS:
                    raise OidcError("away", f"an answer of the provider has more than {MOST_OCTETS} octets")
                yield piece

        async def aclose(self) -> None:
            await stream.aclose()

    return Bounded()


async def get_json(client: Any, url: str, signed_in: bool = True) -> dict[str, Any]:
    """Return an object that is to be had at an address, with the access token where `signed_in`."""
    response = await client.request("GET", url, withhold_token=not signed_in)
    try:
        found = response.json() if response.status_code == 200 else None
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise OidcError("away", f"{url} answers {response.status_code} and no JSON object")
    return found
