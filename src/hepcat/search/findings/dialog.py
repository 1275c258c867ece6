"""Rules about how a dialog lived and ended: BYE too soon or twice, session timers (RFC 4028)."""

from collections.abc import Iterator
from typing import Final

from hepcat.search.findings.causes import sentences
from hepcat.search.findings.finding import NOTE, WARNING, Told, rule
from hepcat.search.findings.scene import Call, Exchange, Scene
from hepcat.search.ladder import Arrow
from hepcat.search.render.words import seconds

#: A call that is over so soon after its answer was no conversation.
EARLY: Final = 2_000_000
#: RFC 4028 section 10: who does not refresh hangs up min(32 s, a third of the interval) before it ends.
_BEFORE: Final = 32_000_000
#: What timers and networks are late by.
_SLACK: Final = 10_000_000
#: Intervals that are believed; Min-SE is 90 s (RFC 4028 section 5).
_SHORTEST: Final = 10
_LONGEST: Final = 7 * 24 * 3600


def _byes(call: Call) -> list[Exchange]:
    """Return the BYEs, those that were only challenged left out."""
    return [e for e in call.exchanges if e.method == "BYE" and e.request is not None and not e.challenged]


@rule(
    "early_bye",
    "Hung up right after the answer",
    "RFC 3261 section 15",
    """A BYE less than 2 s after the 2xx. Often the media could not be set up, the codec does not fit, or a
    device refused after answering. Not told where a CANCEL crossed the answer, nor where a fork got
    several answers.""",
)
def early_bye(scene: Scene, call: Call) -> Iterator[Told]:
    """Tell who hung up."""
    answers = [e.answer for e in call.initial if e.answer is not None and e.method == "INVITE"]
    byes = _byes(call)
    talk = call.leg.talk_time
    if not answers or not byes or talk is None or talk >= EARLY:
        return
    answer = answers[0]
    bye = byes[0].request
    if bye is None or answer.index in scene.told or answer.dialog is not None:
        return
    yield Told(
        WARNING,
        f"Hung up {seconds(talk)} after the answer",
        sentences(
            f"BYE {scene.way(bye)}",
            f"Check media and codecs, and the log of {scene.host(bye.src)}: it ended the call",
        ),
        [bye, answer],
    )


@rule(
    "double_bye",
    "BYE twice",
    "RFC 3261 section 15",
    """A dialog was ended twice: by both sides (a note; they may have crossed), or by one side with a
    second BYE of a new CSeq although the first was not challenged.""",
)
def double_bye(scene: Scene, call: Call) -> Iterator[Told]:
    """Compare the BYEs of each dialog: the same two tags, whichever way round."""
    dialogs: dict[frozenset[str | None], list[Arrow]] = {}
    for exchange in _byes(call):
        bye = exchange.request
        if bye is not None and bye.from_tag and bye.to_tag:
            dialogs.setdefault(frozenset((bye.from_tag, bye.to_tag)), []).append(bye)
    for byes in dialogs.values():
        if len(byes) < 2:
            continue
        first, second = byes[0], byes[1]
        both = first.from_tag != second.from_tag
        yield Told(
            NOTE if both else WARNING,
            "Both sides hung up" if both else f"{scene.host(first.src)} hung up {len(byes)} times",
            sentences(
                f"BYE {scene.way(first)}, and {scene.way(second)} {seconds(second.ts - first.ts)} later",
                "" if both else "Check that the response to the first BYE reaches its sender",
            ),
            byes,
        )


@rule(
    "session_timer",
    "Session timer ran out",
    "RFC 4028 sections 7.2, 8 and 10",
    """A 2xx agreed on Session-Expires, no refresh (re-INVITE or UPDATE) followed in time, and a BYE came
    when the session expired (warning); or the dialog went on after it without a refresh (note).""",
)
def session_timer(scene: Scene, call: Call) -> Iterator[Told]:
    """Go from refresh to refresh; the first that is missing is told."""
    agreed = _agreements(scene, call)
    if not agreed:
        return
    byes = _byes(call)
    bye = byes[0].request if byes else None
    for at, (answer, interval) in enumerate(agreed):
        if interval is None:
            continue
        expires = answer.ts + interval
        following = agreed[at + 1][0] if at + 1 < len(agreed) else None
        if following is not None and following.ts <= expires + _SLACK:
            continue
        said = f"{scene.way(answer)} agreed on {interval // 1_000_000} s and nothing refreshed it"
        check = "Check that re-INVITE or UPDATE of the refresher gets through, and who should refresh"
        early = expires - min(_BEFORE, interval // 3) - 1_000_000
        if bye is not None and (following is None or bye.ts < following.ts):
            if early <= bye.ts <= expires + _SLACK:
                detail = sentences(
                    said, f"BYE {scene.way(bye)} came {seconds(bye.ts - answer.ts)} later", check
                )
                yield Told(WARNING, "Hung up as the session timer ran out", detail, [bye, answer])
                return
            if bye.ts < early:
                return
        later = next((a for a in call.arrows if a.ts > expires + _SLACK), None)
        if later is not None:
            detail = sentences(said, f"The dialog went on with {scene.way(later)}", check)
            yield Told(NOTE, "Session timer was not refreshed", detail, [answer, later])
        return


def _agreements(scene: Scene, call: Call) -> list[tuple[Arrow, int | None]]:
    """Return each 2xx to INVITE and UPDATE in order, and the interval that it sets; None: no timer."""
    found: list[tuple[Arrow, int | None]] = []
    for exchange in call.exchanges:
        answer = exchange.answer
        if exchange.method in ("INVITE", "UPDATE") and answer is not None:
            value = scene.header_number(answer, "session-expires")
            timed = value is not None and _SHORTEST <= value <= _LONGEST
            found.append((answer, value * 1_000_000 if value is not None and timed else None))
    return sorted(found, key=lambda each: each[0].ts)
