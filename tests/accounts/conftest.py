"""Accounts made once, with hashes that are quick to make: argon2 is slow on purpose."""

import datetime
from pathlib import Path
from typing import Final

import pytest
from argon2 import PasswordHasher
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from hepcat.web.accounts import Accounts
from hepcat.web.accounts.passwords import Hashing
from tests.accounts.support import OTHER, PASSWORD, settings_in

CHEAP: Final = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)


@pytest.fixture(scope="session")
def two_users(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of accounts with ada (admin, PASSWORD) and vic (viewer, OTHER), to be copied.

    Pages in a process of their own make these hashes anew with the parameters that people get.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Hashing, "_argon2", lambda _: CHEAP)
        accounts = Accounts(settings_in(tmp_path_factory.mktemp("two")))
        accounts.users.add("ada", PASSWORD, "admin")
        accounts.users.add("vic", OTHER, "viewer")
    accounts.close()  # the last to close it writes all of it into the one file
    return accounts.database.path


@pytest.fixture
def cheap_hashing(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests that make many hashes."""
    monkeypatch.setattr(Hashing, "_argon2", lambda _: CHEAP)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with localhost.pem and localhost.key, old.pem (expired) and its key."""
    folder = tmp_path_factory.mktemp("certificates")
    now = datetime.datetime.now(datetime.UTC)
    for name, ends in (
        ("localhost", now + datetime.timedelta(days=2)),
        ("old", now - datetime.timedelta(days=2)),
    ):
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=9))
            .not_valid_after(ends)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
            .sign(key, hashes.SHA256())
        )
        (folder / f"{name}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        (folder / f"{name}.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
    return folder
