"""The TLS context of tls:// listeners.

In: [hep.tls] of the settings. Out: an SSLContext. What can go wrong: HepcatError naming the file.
"""

import ssl
from pathlib import Path

from hepcat.config.settings import TlsSettings
from hepcat.errors import HepcatError


def make_context(settings: TlsSettings) -> ssl.SSLContext:
    """Read the certificate, the key and the client CA. TLS 1.2 and later (RFC 8996 ends what is before)."""
    assert settings.certificate is not None
    assert settings.key is not None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    for path in (settings.certificate, settings.key, settings.client_ca):
        if path is not None:
            _check_readable(path)
    try:
        # Without the callback, a key with a pass phrase would make OpenSSL ask on the terminal.
        context.load_cert_chain(settings.certificate, settings.key, password=lambda: "")
    except (ssl.SSLError, OSError, ValueError) as error:
        reason = getattr(error, "reason", None)
        if reason == "KEY_VALUES_MISMATCH":
            message = f"{settings.key} is not the key of the certificate {settings.certificate}"
        else:
            message = f"cannot use certificate {settings.certificate} with key {settings.key}"
        raise HepcatError(message, "Both are PEM files; the key has no pass phrase.") from None
    if settings.client_ca is not None:
        try:
            context.load_verify_locations(settings.client_ca)
        except (ssl.SSLError, OSError):
            raise HepcatError(
                f"no CA certificate in {settings.client_ca}", "client_ca is a PEM file of CA certificates."
            ) from None
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _check_readable(path: Path) -> None:
    try:
        path.open("rb").close()
    except OSError as error:
        raise HepcatError(
            f"cannot read {path}: {error.strerror}", "Check [hep.tls] and the file's permissions."
        ) from None
