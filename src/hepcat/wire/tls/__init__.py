"""TLS streams read with their secrets: TLS 1.2 (and 1.0, 1.1) and 1.3, one connection per two flows.

`Secrets` holds what a key log and RSA keys say; `TlsDecryptor` turns stretches of TLS octets into
stretches of what was inside.
"""

from hepcat.wire.tls.decryptor import TlsDecryptor
from hepcat.wire.tls.secrets import Secrets

__all__ = ["Secrets", "TlsDecryptor"]
