"""[web]: the HTTP API and the page that `hepcat serve` and `hepcat web` offer at [http] listen."""

import os
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from hepcat.config.section import Section
from hepcat.config.values import Network
from hepcat.errors import HepcatError


class OidcSettings(Section):
    """[web.oidc]: log in with OpenID Connect."""

    issuer: str = Field(description="The provider's issuer URL; what it is and can stands beneath it.")
    client_id: str = Field(min_length=1, description="What the provider calls hepcat.")
    client_secret: SecretStr | None = Field(
        None, description="The client's secret; better kept out of the file."
    )
    client_secret_file: Path | None = Field(None, description="File whose first line is the client's secret.")
    client_secret_env: str | None = Field(
        None, description="Environment variable that holds the client's secret."
    )
    name: str = Field("single sign-on", min_length=1, max_length=64, description="What the button says.")
    scopes: tuple[str, ...] = Field(("openid", "profile", "email"), description="Scopes asked for.")
    user_claim: str = Field("preferred_username", description="Claim that names the user; else `sub` does.")
    role_claim: str = Field("groups", description="Claim that decides about the role: a text or a list.")
    admins: tuple[str, ...] = Field((), description="Values of `role_claim` that make an administrator.")
    viewers: tuple[str, ...] = Field(
        (), description='Values of `role_claim` that make a viewer; "*" is everyone who can log in there.'
    )

    @field_validator("issuer")
    @classmethod
    def _encrypted(cls, issuer: str) -> str:
        parts = urlsplit(issuer)
        here = parts.hostname in ("localhost", "127.0.0.1", "::1")
        if not parts.hostname or not (parts.scheme == "https" or (parts.scheme == "http" and here)):
            raise ValueError("write https://HOST..., just as the provider calls itself")
        return issuer

    def read_secret(self) -> str | None:
        """Return the client's secret, None without one. Raises HepcatError where it cannot be read."""
        if self.client_secret is not None:
            return self.client_secret.get_secret_value()
        if self.client_secret_env is not None:
            text = os.environ.get(self.client_secret_env, "")
        elif self.client_secret_file is not None:
            try:
                text = self.client_secret_file.read_text().partition("\n")[0].strip()
            except (OSError, UnicodeDecodeError) as error:
                reason = error.strerror if isinstance(error, OSError) else "not text"
                raise HepcatError(
                    f"web.oidc: cannot read {self.client_secret_file}: {reason}",
                    "client_secret_file names a file whose first line is the secret.",
                ) from None
        else:
            return None
        if not text:
            raise HepcatError(
                "web.oidc: the client's secret is empty",
                "Put it in the file or the variable that the setting names.",
            )
        return text

    @model_validator(mode="after")
    def _somebody_may_enter(self) -> "OidcSettings":
        if not self.admins and not self.viewers:
            raise ValueError(
                "give admins or viewers: values of role_claim that let people in; without one nobody gets in"
            )
        return self

    @model_validator(mode="after")
    def _at_most_one_secret(self) -> "OidcSettings":
        names = ("client_secret", "client_secret_file", "client_secret_env")
        if len([name for name in names if getattr(self, name) is not None]) > 1:
            raise ValueError("give at most one of client_secret, client_secret_file and client_secret_env")
        return self


class WebSettings(Section):
    """[web]: the page and the API. Where they listen is [http] listen."""

    enabled: bool = Field(
        True, description="Offer the page and the API; else only metrics and health stand at [http] listen."
    )
    accounts: Path | None = Field(
        None, description="File of the accounts. Not set: accounts.db in the lake's folder."
    )
    public_url: str | None = Field(
        None,
        description="How browsers reach the page where that is not its own address, such as "
        "https://sip.example.org behind a proxy.",
    )
    trusted_proxies: tuple[Network, ...] = Field(
        (),
        description="Addresses or networks of proxies whose X-Forwarded-For is believed, as in "
        '["192.0.2.7", "10.0.0.0/8"]. Not set: with a `public_url`, those of this machine.',
    )
    certificate: Path | None = Field(
        None, description="Certificate with its chain, PEM: the page is served over TLS."
    )
    key: Path | None = Field(None, description="Private key, PEM, without a pass phrase.")
    query_seconds: float = Field(30.0, gt=0, le=3600, description="Longest a request may search.")
    searches: int = Field(
        0,
        ge=0,
        le=256,
        description="Searches that run at once; others wait for a place. 0: one more than processors.",
    )
    searches_a_user: int = Field(4, ge=1, le=256, description="Of these, most of one user.")
    waiting: int = Field(
        256,
        ge=0,
        le=10_000,
        description="Searches that may wait for a place; further ones are refused (429).",
    )
    page_rows: int = Field(1000, ge=1, le=100_000, description="Most rows of one answer.")
    max_rows: int = Field(
        100_000, ge=1, le=10_000_000, description="Most rows that can be paged through in order."
    )
    export_messages: int = Field(1_000_000, ge=1, description="Most messages of one export.")
    live_clients: int = Field(64, ge=1, le=10_000, description="Pages in live mode at once.")
    live_seconds: float = Field(
        3600.0,
        gt=0,
        le=604_800,
        description="Longest a connection brings live results; pages then connect again and miss nothing.",
    )
    connections: int = Field(2000, ge=1, le=100_000, description="Connections of clients at once.")
    connections_an_address: int = Field(
        256,
        ge=1,
        le=100_000,
        description="Of these, most of one address (of IPv6, of one /64); this machine and trusted proxies "
        "may have all.",
    )
    session_hours: float = Field(12.0, gt=0, le=8760, description="Hours after which to log in again.")
    idle_hours: float = Field(4.0, gt=0, le=8760, description="Hours without use that end a session.")
    token_days: float = Field(
        90.0, gt=0, le=3660, description="Days that an API token is good for by default."
    )
    login_attempts: int = Field(
        5,
        ge=1,
        le=1000,
        description="Wrong passwords of a user, or from an address, before each waits longer.",
    )
    open_metrics: bool = Field(False, description="Let /metrics be read without an account.")
    oidc: OidcSettings | None = Field(None, description="OpenID Connect.")

    @field_validator("public_url")
    @classmethod
    def _url(cls, url: str | None) -> str | None:
        if url is not None and not url.startswith(("http://", "https://")):
            raise ValueError("write https://HOST, or http://HOST")
        return url.rstrip("/") if url else url

    @model_validator(mode="after")
    def _both(self) -> "WebSettings":
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key go together")
        return self
