"""What has to be right for the page: one list, for `hepcat serve`, `hepcat web` and `hepcat check-config`.

In: the settings. Out: `Checked`: what the page cannot be offered with, what keeps people from logging in,
what to warn of; and certificate and key, read. What can go wrong: nothing; whoever asks decides what follows.
"""

from dataclasses import dataclass, field

from hepcat.config.settings import Settings
from hepcat.errors import HepcatError
from hepcat.web.accounts.starting import check_may_listen
from hepcat.web.listening import DEFAULT_LISTEN, Tls, read_tls


@dataclass(slots=True)
class Checked:
    """What was found."""

    #: With any of these there is no page, and a server does not start.
    refused: list[HepcatError] = field(default_factory=list)
    #: With these there is a page, but a way to log in that the settings name is none.
    faults: list[HepcatError] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    tls: Tls | None = field(default=None, repr=False)


def check_page(settings: Settings) -> Checked:
    """Look at the address, the accounts, certificate and key, and the provider of OpenID Connect."""
    found = Checked(faults=check_login(settings))
    try:
        found.notes += check_may_listen(settings, settings.http.listen or DEFAULT_LISTEN)
    except HepcatError as error:
        found.refused.append(error)
    try:
        found.tls = read_tls(settings)
    except HepcatError as error:
        found.refused.append(error)
    return found


def accepted_page(settings: Settings) -> Checked:
    """Return what was found. Raises HepcatError where the page cannot be offered so."""
    found = check_page(settings)
    for error in found.refused:
        raise error
    return found


def check_login(settings: Settings) -> list[HepcatError]:
    """Return why people whom the provider of OpenID Connect vouches for cannot get in."""
    if settings.web.oidc is None:
        return []
    try:
        settings.web.oidc.read_secret()
    except HepcatError as error:
        return [error]
    return []
