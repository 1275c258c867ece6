"""The TLS context of a target: what is trusted, and what is shown.

In: the target's settings. Out: an SSLContext of a client; certificate and name of the target are checked
unless the settings say not to. What can go wrong: HepcatError naming the file.
"""

import ssl

from hepcat.config.agent import TargetSettings
from hepcat.errors import HepcatError


def client_context(settings: TargetSettings) -> ssl.SSLContext:
    """Read the files. TLS 1.2 and later (RFC 8996 ends what is before)."""
    for path in (settings.ca, settings.certificate, settings.private_key):
        if path is not None and not path.is_file():
            raise HepcatError(
                f"target {settings.name}: there is no file {path}", "Check its ca, certificate."
            )
    try:
        context = ssl.create_default_context(cafile=settings.ca)
    except (ssl.SSLError, OSError):
        raise HepcatError(
            f"target {settings.name}: no CA certificate in {settings.ca}",
            "ca is a PEM file of the CA certificates to trust, readable by the agent.",
        ) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not settings.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if settings.certificate is not None:
        try:
            # Without the callback, a key with a pass phrase would make OpenSSL ask on the terminal.
            context.load_cert_chain(settings.certificate, settings.private_key, password=lambda: "")
        except (ssl.SSLError, OSError, ValueError):
            raise HepcatError(
                f"target {settings.name}: cannot use certificate {settings.certificate}"
                + (f" with key {settings.private_key}" if settings.private_key else ""),
                "Both are PEM files; the key has no pass phrase.",
            ) from None
    return context
