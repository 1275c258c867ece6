"""The words of a ladder that every form shows alike: times, differences, a call in one line.

In: values of the model. Out: plain text, not yet made safe for a form. What can go wrong: nothing;
times that no calendar has are shown as seconds since the epoch.
"""

from datetime import UTC, datetime, timedelta

from hepcat.search.ladder import Arrow, Ladder
from hepcat.search.ladder_legs import Leg

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def moment(us: int, utc: bool) -> datetime | None:
    """Return the time of microseconds since the epoch, in UTC or the machine's zone; None if impossible."""
    try:
        at = _EPOCH + timedelta(microseconds=us)
        return at if utc else at.astimezone()
    except (OverflowError, ValueError, OSError):
        return None


def clock(us: int, utc: bool) -> str:
    """`HH:MM:SS.mmm`."""
    at = moment(us, utc)
    return at.strftime("%H:%M:%S.") + f"{at.microsecond // 1000:03d}" if at else f"{us // 1_000_000}"


def day(us: int, utc: bool) -> str:
    """`YYYY-MM-DD`, empty where the calendar ends."""
    at = moment(us, utc)
    return at.strftime("%Y-%m-%d") if at else ""


def zone(ladder: Ladder, utc: bool) -> str:
    """Name the zone that the times are in."""
    at = moment(ladder.arrows[0].ts, utc) if ladder.arrows else None
    return "UTC" if utc or at is None else (at.tzname() or "local time")


def seconds(us: int) -> str:
    """`0.012 s`."""
    return f"{us / 1_000_000:.3f} s"


def delta(us: int) -> str:
    """`+0.012 s`."""
    return f"+{seconds(us)}"


def plural(count: int, word: str, many: str | None = None) -> str:
    """`1 message`, `2 messages`."""
    return f"{count} {word if count == 1 else many or word + 's'}"


def outcome_of(leg: Leg) -> str:
    """`200 OK, completed`."""
    return ", ".join(part for part in (leg.result, leg.state) if part)


def figures_of(leg: Leg) -> list[str]:
    """The times and counts of a call that are known."""
    times = (("PDD", leg.post_dial_delay), ("ring", leg.ring_time), ("talk", leg.talk_time))
    found = [f"{name} {seconds(value)}" for name, value in times if value is not None]
    found.append(plural(leg.messages, "message"))
    if leg.retransmissions:
        found.append(plural(leg.retransmissions, "retransmission"))
    if leg.copies:
        found.append(plural(leg.copies, "copy", "copies"))
    return found


def people_of(leg: Leg) -> str:
    """`INVITE alice → bob`."""
    people = f"{leg.caller or '?'} → {leg.callee or '?'}" if leg.caller or leg.callee else ""
    return " ".join(part for part in (leg.method, people) if part)


def media_of(arrow: Arrow, most: int = 4) -> list[str]:
    """One text a media stream, at most `most`; none where the same SDP was shown just before."""
    if arrow.sdp is None or arrow.faint or arrow.forward_of is not None:
        return []
    media = arrow.sdp.media
    lone = len(media) == 1 and media[0].kind == "audio"
    lines = [m.summary if lone else f"{m.kind} {m.summary}" for m in media[:most]]
    if len(media) > most:
        lines.append(f"and {len(media) - most} more streams")
    return lines
