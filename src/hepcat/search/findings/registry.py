"""All rules, and the one call that asks them.

In: a Ladder. Out: findings, the worst first. What can go wrong: nothing that traffic can cause, and how much
is said is bounded; SearchCancelled within a search that is over.
"""

from typing import Final

from hepcat.search import cancel
from hepcat.search.findings import addresses, authentication, delivery, dialog, media, outcome
from hepcat.search.findings.finding import NOTE, SEVERITIES, Finding, Rule
from hepcat.search.findings.scene import GIVE_UP, Scene
from hepcat.search.ladder import Ladder

#: In the order in which findings of one severity are told. A rule may leave out what one before it told.
RULES: Final[tuple[Rule, ...]] = (
    outcome.final_failure,
    outcome.no_response,
    delivery.no_ack,
    delivery.loop,
    authentication.authentication_loop,
    authentication.wrong_credentials,
    authentication.no_credentials,
    media.codec_mismatch,
    delivery.cancel_race,
    dialog.early_bye,
    dialog.session_timer,
    outcome.release_cause,
    outcome.no_final_response,
    delivery.retransmissions,
    outcome.post_dial_delay,
    addresses.private_address,
    media.media_changed,
    media.one_way_media,
    media.no_telephone_event,
    outcome.request_failed,
    outcome.failed_attempt,
    dialog.double_bye,
    delivery.malformed,
)
#: Bounds on what is said: of one rule about one call, about one picture, and messages named by a finding.
MAX_OF_A_RULE: Final = 5
MAX_FINDINGS: Final = 100
MAX_ARROWS: Final = 50


#: Rules about what did not come, and microseconds after a call's last message until it should have: 64*T1,
#: or timer C (RFC 3261 section 16.6) where somebody lets the phone ring.
_MAY_STILL_COME: Final = {
    outcome.no_response.name: GIVE_UP,
    authentication.no_credentials.name: GIVE_UP,
    outcome.no_final_response.name: 180_000_000,
}


def find(ladder: Ladder, now: int | None = None) -> list[Finding]:
    """Return what went wrong in these calls: errors, warnings, notes; each by RULES and time.

    now: microseconds since the epoch, where the calls may still go on: what can still come is a note then.
    """
    scene = Scene(ladder)
    found: list[tuple[tuple[int, int, int], Finding]] = []
    for call in scene.calls:
        for order, rule in enumerate(RULES):
            cancel.check()
            for told, _ in zip(rule.look(scene, call), range(MAX_OF_A_RULE), strict=False):
                arrows = tuple(dict.fromkeys(a.index for a in told.arrows))[:MAX_ARROWS]
                title, severity = told.title, told.severity
                if now is not None and call.end <= now < call.end + _MAY_STILL_COME.get(rule.name, 0):
                    title, severity = f"{title}, so far", NOTE
                finding = Finding(rule.name, severity, title, told.detail, arrows, call.leg.index)
                rank = (SEVERITIES.index(severity), order, arrows[0] if arrows else 0)
                found.append((rank, finding))
    found.sort(key=lambda each: each[0])
    return [finding for _, finding in found[:MAX_FINDINGS]]
