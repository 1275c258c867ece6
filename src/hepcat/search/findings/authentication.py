"""Rules about challenges and credentials (RFC 3261 section 22, RFC 7616): who was refused, and why."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Literal

from hepcat.search.findings.causes import quoted, sentences
from hepcat.search.findings.finding import ERROR, NOTE, WARNING, Told, rule
from hepcat.search.findings.headers import split_quoted, unquoted
from hepcat.search.findings.outcome import result
from hepcat.search.findings.scene import Call, Exchange, Scene
from hepcat.search.ladder import Arrow
from hepcat.search.render.escape import safe_line

#: Credentials refused so often in a row are a loop.
LOOP: Final = 3
_MOST: Final = 4  # values of a header that are read

Why = Literal["refused", "stale", "old nonce"]


@dataclass(frozen=True, slots=True)
class _Refusal:
    """A challenge to a request that had credentials for its realm."""

    request: Arrow
    challenge: Arrow
    why: Why
    user: str
    realm: str


@dataclass(slots=True)
class _Chain:
    """What one sender tried with one method, since it last succeeded."""

    refusals: list[_Refusal] = field(default_factory=list)
    nonces: dict[str, str] = field(default_factory=dict)  # realm -> the nonce last given out
    unanswered: tuple[Arrow, Arrow, str] | None = None  # request and challenge, of which realm
    succeeded: bool = False


def digest(value: str) -> dict[str, str]:
    """Return the parameters of `Digest a="b", c=d`, names in small letters."""
    found: dict[str, str] = {}
    for part in split_quoted(value.partition(" ")[2], ","):
        name, equals, text = part.partition("=")
        if equals:
            found.setdefault(name.strip().lower(), unquoted(text))
    return found


def _chains(scene: Scene, call: Call) -> list[_Chain]:
    """Return the runs of refusals; a run ends with a success."""
    if call.leg.index not in scene.chains:
        done: list[_Chain] = []
        open_: dict[tuple[str | None, int], _Chain] = {}
        for exchange in call.exchanges:
            request, final = exchange.request, exchange.final
            if request is None or exchange.method in ("CANCEL", "ACK"):
                continue
            chain = open_.setdefault((exchange.method, request.src), _Chain())
            if exchange.challenged:
                _follow(scene, chain, exchange, request)
                continue
            chain.unanswered = None
            if final is not None and (final.status or 0) < 300:
                chain.succeeded = True
                done.append(open_.pop((exchange.method, request.src)))
        scene.chains[call.leg.index] = [*done, *open_.values()]
    return scene.chains[call.leg.index]  # type: ignore[return-value]


def _follow(scene: Scene, chain: _Chain, exchange: Exchange, request: Arrow) -> None:
    """Add what one challenge means."""
    challenge = next(a for a in exchange.responses if a.status in (401, 407))
    sent, asked = scene.headers(request), scene.headers(challenge)
    names = ("authorization", "proxy-authorization")
    credentials = {c.get("realm", ""): c for name in names for c in map(digest, sent.get(name, ())[:_MOST])}
    challenges = [
        digest(value)
        for name in ("www-authenticate", "proxy-authenticate")
        for value in asked.get(name, ())[:_MOST]
    ]
    chain.unanswered = None
    for given in challenges or [{}]:
        realm, nonce = given.get("realm", ""), given.get("nonce", "")
        used = credentials.get(realm)
        if used is None:
            chain.unanswered = (request, challenge, realm)
        elif chain.unanswered is None:
            before = chain.nonces.get(realm)
            why: Why = "refused"
            if given.get("stale", "").lower() == "true":
                why = "stale"
            elif before != used.get("nonce", ""):
                why = "old nonce"  # of before the capture, or not the last one: new credentials may do
            chain.refusals.append(_Refusal(request, challenge, why, used.get("username", ""), realm))
        chain.nonces[realm] = nonce


def _who(scene: Scene, refusal: _Refusal) -> str:
    user = f" as {quoted(refusal.user, 60)}" if refusal.user else ""
    return f"{scene.way(refusal.request)}{user}, realm {quoted(refusal.realm, 60)}"


_WHY: Final[dict[str, tuple[str, str]]] = {
    "refused": (
        "the credentials are refused each time",
        "Check user name, password and realm on both sides, and that nothing changes the request on the way",
    ),
    "stale": (
        "the nonce is stale each time",
        "The password is right: check the lifetime of nonces, the clocks, and whether several servers "
        "answer in turn without sharing them",
    ),
    "old nonce": (
        "the credentials are for another nonce than the last one",
        "Check whether several servers challenge in turn without sharing nonces, and whether the client "
        "takes the new nonce",
    ),
}

_NONCE_BY_WORDS: Final = (
    "The server says that it was the nonce, though not by stale=true: the password may be right. Check how "
    "long its nonces are good for, and how long the client takes to answer"
)


@rule(
    "authentication_loop",
    "Authentication loop",
    "RFC 3261 section 22, RFC 7616 section 3.3 (stale)",
    """Requests with credentials were challenged again three times or more in a row. Tells refused
    credentials, stale nonces (stale=true: the password is right) and credentials for another nonce
    apart.""",
)
def authentication_loop(scene: Scene, call: Call) -> Iterator[Told]:
    """Tell each run of refusals that is long."""
    for chain in _chains(scene, call):
        if len(chain.refusals) < LOOP:
            continue
        kinds = [refusal.why for refusal in chain.refusals]
        why = max(kinds, key=kinds.count)
        title, check = _WHY[why]
        first = chain.refusals[0]
        yield Told(
            ERROR,
            f"Authentication loop, {len(kinds)} challenges to {safe_line(first.request.method, 20)}: {title}",
            sentences(_who(scene, first), check),
            [a for r in chain.refusals for a in (r.challenge, r.request)],
        )


@rule(
    "wrong_credentials",
    "Wrong credentials",
    "RFC 3261 section 22",
    """A request with credentials for the nonce just given out was challenged again, not for a stale nonce,
    and nothing succeeded after it: user name, password or realm are wrong. A warning where
    only the phrase says that it was the nonce: the password may be right.""",
)
def wrong_credentials(scene: Scene, call: Call) -> Iterator[Told]:
    """Tell the first refusal of each run that is too short for a loop."""
    for chain in _chains(scene, call):
        refused = [refusal for refusal in chain.refusals if refusal.why == "refused"]
        if not refused or len(chain.refusals) >= LOOP or chain.succeeded:
            continue
        by_words = "nonce" in (refused[0].challenge.reason or "").lower()
        yield Told(
            WARNING if by_words else ERROR,
            f"Credentials refused: {result(refused[0].challenge)}",
            sentences(_who(scene, refused[0]), _NONCE_BY_WORDS if by_words else _WHY["refused"][1]),
            [a for r in refused for a in (r.challenge, r.request)],
        )


@rule(
    "no_credentials",
    "Challenged, and not tried again",
    "RFC 3261 sections 22.2 and 22.3",
    """The last thing that happened to a request was a challenge (401, 407) for a realm that it had no
    credentials for: the client has none, or gave up. A note for OPTIONS.""",
)
def no_credentials(scene: Scene, call: Call) -> Iterator[Told]:
    """Tell the challenge."""
    for chain in _chains(scene, call):
        if chain.unanswered is None:
            continue
        request, challenge, realm = chain.unanswered
        yield Told(
            NOTE if request.method == "OPTIONS" else WARNING,
            f"No credentials: {result(challenge)} was not answered",
            sentences(
                f"{scene.way(challenge)}, realm {quoted(realm, 60)}, and no further request was captured",
                "Check that the client has an account for this realm and supports the algorithm asked for",
            ),
            [challenge, request],
        )
