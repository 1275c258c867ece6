"""OpenID Connect: whom a provider vouches for (authorization code flow, RFC 6749, with PKCE, RFC 7636).

In: [web.oidc] of the settings. Out: the address to send a browser to, and, of what the browser brings back,
an `Identity` with a role. What can go wrong: `OidcError`, with a `reason` that the login page has words for,
and in its message what the log should say. Nothing the provider or the browser sends is believed before it
is checked: state, issuer, signature (never "none", never a shared secret), audience, expiry, nonce.

The provider's description and its keys are fetched when needed (oidc_fetch.py), and kept for an hour.
"""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from hepcat.config.web import OidcSettings
from hepcat.errors import HepcatError
from hepcat.web.accounts.starting import is_local_name
from hepcat.web.accounts.users import Role
from hepcat.web.oidc_fetch import OidcError, get_json, open_client, time_limit

if TYPE_CHECKING:
    from joserfc.jwk import KeySet

#: Seconds that the provider's description and keys are kept.
KEEP_SECONDS: Final = 3600.0
#: Seconds before keys are fetched again because a token names one that is not among them.
AGAIN_SECONDS: Final = 30.0
#: Seconds for a person to log in at the provider.
LOGIN_SECONDS: Final = 600
#: Seconds that clocks may differ.
LEEWAY: Final = 60
#: Logins finished at once.
MOST_AT_ONCE: Final = 16
#: Signatures by the provider's own key. A symmetric one would be made with a secret that we know too.
ALGORITHMS: Final = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"}
)
_WELL_KNOWN: Final = "/.well-known/openid-configuration"


@dataclass(frozen=True, slots=True)
class Identity:
    """Somebody whom the provider vouches for."""

    name: str
    role: Role


@dataclass(frozen=True, slots=True)
class Begun:
    """A login that has begun: what the browser keeps, and where it goes."""

    url: str = field(repr=False)
    ticket: str = field(repr=False)  # signed; holds state, nonce, PKCE's verifier, and where to return to


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a ticket holds."""

    state: str
    nonce: str
    verifier: str
    next: str


class Provider:
    """The provider of the settings."""

    def __init__(self, settings: OidcSettings, clock: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._clock = clock
        self._issuer = settings.issuer
        self._secret = secrets.token_urlsafe(32)  # of tickets; a new process knows none of the old one's
        self._description = _Kept(self._fetch_description)
        self._keys = _Kept(self._fetch_keys)
        self._at_once = 0

    async def begin(self, redirect_uri: str, next_path: str) -> Begun:
        """Return where to send a browser, and the ticket it keeps meanwhile."""
        from joserfc import jwk, jwt

        async with time_limit():
            description = await self._description.get()
            state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
            async with self._client(description, redirect_uri) as client:
                url, _ = client.create_authorization_url(
                    _endpoint(description, "authorization_endpoint"),
                    state=state,
                    nonce=nonce,
                    code_verifier=verifier,
                )
        claims = {
            "state": state,
            "nonce": nonce,
            "verifier": verifier,
            "next": next_path,
            "exp": int(self._clock()) + LOGIN_SECONDS,
        }
        return Begun(url, jwt.encode({"alg": "HS256"}, claims, jwk.OctKey.import_key(self._secret)))

    def read_ticket(self, ticket: str) -> Ticket:
        """Return what a ticket of ours holds. Raises OidcError."""
        from joserfc import jwk, jwt
        from joserfc.errors import JoseError

        try:
            claims = jwt.decode(ticket, jwk.OctKey.import_key(self._secret), algorithms=["HS256"]).claims
        except (JoseError, ValueError) as error:
            raise OidcError("state", f"the ticket is none of ours: {error}") from None
        if claims["exp"] < self._clock():
            raise OidcError("state", f"the login took longer than {LOGIN_SECONDS} s")
        return Ticket(claims["state"], claims["nonce"], claims["verifier"], claims["next"])

    async def finish(
        self, ticket: Ticket, state: str, code: str, issuer: str | None, redirect_uri: str
    ) -> Identity:
        """Return whom the provider vouches for, of what the browser brought back. Raises OidcError."""
        if not secrets.compare_digest(state.encode(), ticket.state.encode()):
            raise OidcError("state", "the state is not that of this browser's login")
        if issuer is not None and issuer != self._issuer:  # RFC 9207
            raise OidcError("state", "the answer is of another issuer")
        if self._at_once >= MOST_AT_ONCE:
            raise OidcError("busy", f"more than {MOST_AT_ONCE} logins at once")
        self._at_once += 1
        try:
            async with time_limit():
                return await self._redeem(ticket, code, redirect_uri)
        finally:
            self._at_once -= 1

    async def _redeem(self, ticket: Ticket, code: str, redirect_uri: str) -> Identity:
        from authlib.common.errors import AuthlibBaseError

        description = await self._description.get()
        async with self._client(description, redirect_uri) as client:
            try:
                answer = await client.fetch_token(
                    _endpoint(description, "token_endpoint"),
                    grant_type="authorization_code",
                    code=code,
                    code_verifier=ticket.verifier,
                    redirect_uri=redirect_uri,
                )
            except AuthlibBaseError as error:
                raise OidcError("refused", f"the provider does not take the code: {error}") from None
            except (ValueError, AttributeError, TypeError) as error:
                raise OidcError("away", f"the provider's answer is no token: {error}") from None
            claims = await self._verified(answer, description, ticket)
            if self._lacks(claims) and description.get("userinfo_endpoint"):
                more = await get_json(client, _endpoint(description, "userinfo_endpoint"))
                if more.get("sub") != claims["sub"]:  # OpenID Connect Core 1.0 section 5.3.2
                    raise OidcError("token", "the user's information is about another")
                claims = {**more, **claims}
        return self._identity(claims)

    async def _verified(
        self, answer: dict[str, Any], description: dict[str, Any], ticket: Ticket
    ) -> dict[str, Any]:
        """Return the claims of the ID token (OpenID Connect Core 1.0 section 3.1.3.7)."""
        from authlib.oidc.core import CodeIDToken
        from joserfc import jwt
        from joserfc.errors import InvalidKeyIdError, JoseError
        from joserfc.jws import JWSRegistry

        id_token = answer.get("id_token")
        if not isinstance(id_token, str):
            raise OidcError("token", "the provider gave no ID token; is openid among the scopes?")
        offered = description.get("id_token_signing_alg_values_supported") or ["RS256"]
        registry = JWSRegistry(
            algorithms=sorted(ALGORITHMS.intersection(map(str, offered))), strict_check_header=False
        )
        try:
            try:
                token = jwt.decode(id_token, await self._keys.get(), registry=registry)
            except InvalidKeyIdError:  # the provider may have new keys
                token = jwt.decode(id_token, await self._keys.get(AGAIN_SECONDS), registry=registry)
            claims = CodeIDToken(
                token.claims,
                token.header,
                {
                    "iss": {"essential": True, "value": self._issuer},
                    "aud": {"essential": True, "value": self._settings.client_id},
                },
                {
                    "nonce": ticket.nonce,
                    "client_id": self._settings.client_id,
                    "access_token": answer.get("access_token"),
                },
            )
            claims.validate(now=int(self._clock()), leeway=LEEWAY)
        except (JoseError, ValueError, TypeError, KeyError) as error:
            raise OidcError("token", f"the ID token is not good: {error}") from None
        return dict(claims)

    def _lacks(self, claims: dict[str, Any]) -> bool:
        wanted = (self._settings.user_claim, self._settings.role_claim)
        return any(_claim(claims, name) is None for name in wanted)

    def _identity(self, claims: dict[str, Any]) -> Identity:
        settings = self._settings
        given = _claim(claims, settings.user_claim)
        name = given if isinstance(given, str) else str(claims["sub"])
        name = "".join(letter for letter in name if letter.isprintable()).strip()[:128] or "(no name)"
        roles = _claim(claims, settings.role_claim)
        values = {
            str(value) for value in (roles if isinstance(roles, list) else [roles]) if value is not None
        }
        if values & set(settings.admins):
            return Identity(name, "admin")
        if values & set(settings.viewers) or "*" in settings.viewers:
            return Identity(name, "viewer")
        raise OidcError(
            "role",
            f"{name!r} is known to the provider, but has no value of {settings.role_claim} that gives a role",
        )

    def _client(self, description: dict[str, Any], redirect_uri: str) -> Any:
        try:
            secret = self._settings.read_secret()
        except HepcatError as error:
            raise OidcError("away", str(error)) from None
        methods = description.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        method = "none" if secret is None else "client_secret_basic"
        if secret is not None and method not in methods and "client_secret_post" in methods:
            method = "client_secret_post"
        return open_client(
            client_id=self._settings.client_id,
            client_secret=secret,
            scope=" ".join(self._settings.scopes),
            redirect_uri=redirect_uri,
            token_endpoint_auth_method=method,
            code_challenge_method="S256",
        )

    async def _fetch_description(self) -> dict[str, Any]:
        async with open_client(client_id=self._settings.client_id) as client:
            found = await get_json(client, self._issuer.rstrip("/") + _WELL_KNOWN, signed_in=False)
        if found.get("issuer") != self._issuer:  # OpenID Connect Discovery 1.0 section 4.3
            raise OidcError(
                "away",
                f"the provider calls itself {found.get('issuer')!r}; web.oidc.issuer has to be just that",
            )
        return found

    async def _fetch_keys(self) -> "KeySet":
        from joserfc.errors import JoseError
        from joserfc.jwk import KeySet

        address = _endpoint(await self._description.get(), "jwks_uri")
        async with open_client(client_id=self._settings.client_id) as client:
            found = await get_json(client, address, signed_in=False)
        try:
            signing = [
                key for key in found["keys"] if key.get("use", "sig") == "sig" and key.get("kty") != "oct"
            ]
            return KeySet.import_key_set({"keys": signing})
        except (JoseError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise OidcError("away", f"the provider's keys cannot be used: {error}") from None


class _Kept:
    """Something fetched when first asked for, for all who ask meanwhile, and kept for an hour."""

    def __init__(self, fetch: Callable[[], Awaitable[Any]]) -> None:
        self._fetch = fetch
        self._lock: asyncio.Lock | None = None
        self._value: Any = None
        self._when = float("-inf")

    async def get(self, seconds: float = KEEP_SECONDS) -> Any:
        """Return it, fetched again where it is older than that."""
        if self._lock is None:
            self._lock = asyncio.Lock()
        async with self._lock:
            if self._value is None or time.monotonic() - self._when > seconds:
                self._value = await self._fetch()
                self._when = time.monotonic()
            return self._value


def _endpoint(description: dict[str, Any], name: str) -> str:
    """Return an address of the description: TLS, but on this machine."""
    url = description.get(name)
    parts = urlsplit(url) if isinstance(url, str) else None
    if parts is None or not (
        parts.scheme == "https" or (parts.scheme == "http" and is_local_name(parts.hostname or ""))
    ):
        raise OidcError("away", f"the provider's {name} is no https:// address")
    assert isinstance(url, str)
    return url


def _claim(claims: dict[str, Any], name: str) -> Any:
    """Return a claim; a name with dots leads into objects (realm_access.roles) unless it is one itself."""
    if name in claims:
        return claims[name]
    found: Any = claims
    for part in name.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found
