"""Accounts made once, with hashes that are quick to make: argon2 is slow on purpose."""

from pathlib import Path
from typing import Final

import pytest
from argon2 import PasswordHasher

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
