"""What has to be right before the page is offered: accounts, where others reach it.

In: the settings, the address to listen on. Out: notes for the log. What can go wrong: HepcatError, with the
command that helps. Loads neither the web stack nor argon2: the server asks before it starts the child.
"""

import ipaddress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from hepcat.config.values import is_loopback, split_host_port
from hepcat.errors import HepcatError
from hepcat.web.accounts import Accounts, accounts_path

if TYPE_CHECKING:
    from hepcat.config.settings import Settings


def check_may_listen(settings: "Settings", address: str) -> list[str]:
    """Raise HepcatError unless the page may be offered at ADDRESS:PORT; return what to warn of."""
    web = settings.web
    here_only = is_loopback(split_host_port(address)[0])
    if here_only and (web.public_url is None or is_local_name(urlsplit(web.public_url).hostname or "")):
        return _expired(web.certificate)
    accounts = Accounts(settings)
    try:
        enough = not accounts.open()
    finally:
        accounts.close()
    if not enough:
        where = address if not here_only else f"{address}, as {web.public_url},"
        place = f"--data {settings.data}" if web.accounts is None else "--config FILE"
        if web.accounts is None and not settings.data.exists():
            place += " --make-folder"
        raise HepcatError(
            f"{where} can be reached by other machines, and there are no accounts in "
            f"{accounts_path(settings).absolute()}",
            f"Make one: `hepcat user add NAME --role admin {place}`; or listen on 127.0.0.1.",
        )
    if web.certificate is None and not (web.public_url or "").startswith("https://"):
        return [
            f"passwords and calls go over the network in the clear: {address} has no TLS "
            "([web] certificate and key; or public_url = https://... where a proxy does it)"
        ]
    return _expired(web.certificate)


def is_local_name(host: str) -> bool:
    """Whether a host's name or address always means this machine (RFC 6761 section 6.3)."""
    host = host.rstrip(".").lower()
    if host == "localhost" or host.endswith(".localhost"):
        return True
    return is_loopback_address(host)


def is_loopback_address(host: str) -> bool:
    """Whether this is an address of loopback, be it an IPv4 one within IPv6."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def _expired(certificate: Path | None) -> list[str]:
    """Return what to warn of: browsers refuse an expired certificate, but capture has to go on."""
    if certificate is None:
        return []
    from cryptography import x509

    try:
        ends = x509.load_pem_x509_certificates(certificate.read_bytes())[0].not_valid_after_utc
    except (OSError, ValueError):
        return []  # listening.read_tls says what is wrong
    if ends >= datetime.now(UTC):
        return []
    return [f"{certificate} expired on {ends:%Y-%m-%d}: browsers refuse it"]
