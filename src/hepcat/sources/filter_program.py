"""Classic BPF programs, rewritten: behind VLAN tags, MPLS labels and PPPoE, and for other link headers.

In: instructions (code, jt, jf, k) as libpcap makes them for Ethernet. Out: instructions for the kernel.
What can go wrong: ProgramError, with words for people (too long, addresses where there is no link header).

libpcap's own keywords cannot say "port 5060, tagged or not": `vlan` moves the offsets of all that follows
it. So the program is widened, not the expression. One look at the EtherType tells an untagged packet,
which runs the program as it is; for others a second copy runs, in which each load is moved by a distance
that was found on the way (so as if the tags were not there), or a third one, made for raw IP, where MPLS
and PPPoE have no EtherType. Two registers of scratch memory save A and X around a load; libpcap does the
same with `vlan` on Linux.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

Instruction = tuple[int, int, int, int]

#: Most instructions the kernel takes (BPF_MAXINSNS).
MAX_INSTRUCTIONS: Final = 4096
#: Loads from here on are the kernel's ancillary data (SKF_AD_OFF and its like), no octets of the packet.
ANCILLARY: Final = 0xFFE00000
#: The EtherType that the kernel knows of a packet (SKF_AD_OFF + SKF_AD_PROTOCOL).
ETHERTYPE_OF_KERNEL: Final = 0xFFFFF000
#: VLAN tags, and MPLS labels, that are walked over.
MAX_TAGS: Final = 3
MAX_LABELS: Final = 6

_LD_W, _LD_H, _LD_B = 0x20, 0x28, 0x30
_IND_W, _IND_H, _IND_B = 0x40, 0x48, 0x50
_LD_IMM, _LD_LEN, _LD_MEM = 0x00, 0x80, 0x60
_LDX_MSH, _LDX_MEM = 0xB1, 0x61
_ST, _STX = 0x02, 0x03
_ADD, _ADD_X, _AND, _LSH = 0x04, 0x0C, 0x54, 0x64
_JA, _JEQ, _JSET = 0x05, 0x15, 0x45
_RET, _TAX, _TXA = 0x06, 0x07, 0x87

_ABS_TO_IND: Final = {_LD_W: _IND_W, _LD_H: _IND_H, _LD_B: _IND_B}
_MEMORY: Final = frozenset({_LD_MEM, _LDX_MEM, _ST, _STX})

_ETHERTYPE, _ETHERNET = 12, 14  # where Ethernet's EtherType stands and how long its header is
_TAG_TYPES: Final = (0x8100, 0x88A8, 0x9100)  # 802.1Q, 802.1ad, and what came before it
_MPLS_TYPES: Final = (0x8847, 0x8848)  # RFC 3032 section 5
_PPPOE_TYPE: Final = 0x8864  # RFC 2516 section 4
_PPP_TYPES: Final = (0x0021, 0x0057)  # IPv4, IPv6 (RFC 1332, RFC 5072)


class ProgramError(Exception):
    """The program cannot be had in this form; the text says why."""


class _Op:
    """An instruction whose jumps name instructions instead of distances."""

    __slots__ = ("code", "jf", "jt", "k")

    def __init__(self, code: int, k: int = 0, jt: "_Op | None" = None, jf: "_Op | None" = None) -> None:
        self.code = code
        self.k = k & 0xFFFFFFFF
        self.jt = jt
        self.jf = jf

    @property
    def branches(self) -> bool:
        return self.code & 7 == _JA and self.code != _JA


def _load(program: Iterable[Instruction]) -> list[_Op]:
    """Turn distances into references."""
    source = list(program)
    ops = [_Op(code, k) for code, _, _, k in source]
    for i, (code, jt, jf, k) in enumerate(source):
        if code == _JA:
            ops[i].jt = ops[i + 1 + k]
        elif ops[i].branches:
            ops[i].jt, ops[i].jf = ops[i + 1 + jt], ops[i + 1 + jf]
    return ops


def _assemble(ops: list[_Op]) -> list[Instruction]:
    """Turn references into distances; a branch that goes too far for its octet goes by a jump."""
    while True:
        place = {id(op): i for i, op in enumerate(ops)}
        far = {
            id(op)
            for i, op in enumerate(ops)
            if op.branches and max(place[id(op.jt)], place[id(op.jf)]) - i - 1 > 255
        }
        if not far:
            break
        longer: list[_Op] = []
        for op in ops:
            longer.append(op)
            if id(op) in far:
                op.jt, op.jf = _Op(_JA, jt=op.jt), _Op(_JA, jt=op.jf)
                longer += (op.jt, op.jf)
        ops = longer
    if len(ops) > MAX_INSTRUCTIONS:
        raise ProgramError(f"it comes to {len(ops)} instructions; the kernel takes {MAX_INSTRUCTIONS}")
    out: list[Instruction] = []
    for i, op in enumerate(ops):
        if op.code == _JA:
            out.append((_JA, 0, 0, place[id(op.jt)] - i - 1))
        elif op.branches:
            out.append((op.code, place[id(op.jt)] - i - 1, place[id(op.jf)] - i - 1, op.k))
        else:
            out.append((op.code, 0, 0, op.k))
    return out


def _expand(ops: list[_Op], replace: Callable[[_Op], list[_Op] | None]) -> list[_Op]:
    """Put several instructions in the place of one; jumps to it lead to the first of them."""
    out: list[_Op] = []
    first: dict[int, _Op] = {}
    for op in ops:
        new = replace(op)
        if new is None:
            out.append(op)
            continue
        first[id(op)] = new[0]
        out += new
    for op in out:
        op.jt = first.get(id(op.jt), op.jt)
        op.jf = first.get(id(op.jf), op.jf)
    return out


def _free_slots(programs: Sequence[Iterable[Instruction]], count: int) -> list[int]:
    """Return registers of scratch memory that no program uses."""
    used = {k for program in programs for code, _, _, k in program if code in _MEMORY}
    free = [slot for slot in range(15, -1, -1) if slot not in used][:count]
    if len(free) < count:
        raise ProgramError("it needs too many registers to be widened for tags and labels")
    return free


class _Mover:
    """Moves each load of a program by the distance that stands in register `by`."""

    def __init__(self, by: int, save_a: int, save_x: int, first: int) -> None:
        """first: loads below it (link addresses) stay where they are."""
        self.by, self.save_a, self.save_x, self.first = by, save_a, save_x, first

    def moved(self, program: Iterable[Instruction]) -> list[_Op]:
        return _expand(_load(program), self._move)

    def _move(self, op: _Op) -> list[_Op] | None:
        if op.code in _ABS_TO_IND and self.first <= op.k < ANCILLARY:
            load = _Op(_ABS_TO_IND[op.code], op.k)
            return [_Op(_STX, self.save_x), _Op(_LDX_MEM, self.by), load, _Op(_LDX_MEM, self.save_x)]
        if op.code in _ABS_TO_IND.values():
            add = [_Op(_STX, self.save_x), _Op(_LD_MEM, self.by), _Op(_ADD_X), _Op(_TAX)]
            return [*add, _Op(op.code, op.k), _Op(_LDX_MEM, self.save_x)]
        if op.code == _LDX_MSH:  # X = length of the IPv4 header
            load = _Op(_IND_B, op.k)
            length = [_Op(_ST, self.save_a), _Op(_LDX_MEM, self.by), load, _Op(_AND, 15), _Op(_LSH, 2)]
            return [*length, _Op(_TAX), _Op(_LD_MEM, self.save_a)]
        return None


def _when(kinds: Sequence[int], then: _Op, otherwise: _Op) -> list[_Op]:
    """Go to `then` where A is one of `kinds`, else to `otherwise`."""
    tests = [_Op(_JEQ, kind, then) for kind in kinds]
    for i, test in enumerate(tests):
        test.jf = tests[i + 1] if i + 1 < len(tests) else otherwise
    return tests


def widened(ethernet: Sequence[Instruction], raw: Sequence[Instruction] | None) -> list[Instruction]:
    """Return a program that sees Ethernet frames as if tags, labels and PPPoE were not there.

    ethernet, raw: one expression, compiled for Ethernet and for raw IP. Without `raw` (the expression names
    link addresses), packets behind MPLS and PPPoE are judged as they are.
    """
    if all(code & 7 == _RET for code, _, _, _ in ethernet):
        return list(ethernet)
    by, save_a, save_x = _free_slots([ethernet, raw or ()], 3)
    plain = _load(ethernet)
    moved = _Mover(by, save_a, save_x, _ETHERTYPE).moved(ethernet)
    bare = _Mover(by, save_a, save_x, 0).moved(raw) if raw is not None else []
    mpls, pppoe, reject = _Op(_LDX_MEM, by), _Op(_LDX_MEM, by), _Op(_RET, 0)
    ops: list[_Op] = []
    tag = [_Op(_LD_H, _ETHERTYPE + 4 * n) for n in range(MAX_TAGS + 1)]
    for n in range(MAX_TAGS + 1):
        # A is the EtherType behind n tags.
        target = plain[0] if n == 0 else moved[0]
        behind = [_Op(_LD_IMM, 4 * n), _Op(_ST, by), _Op(_LD_H, _ETHERTYPE + 4 * n), _Op(_JA, jt=target)]
        done = behind if n else [_Op(_JA, jt=target)]
        at = _Op(_LD_IMM, _ETHERNET + 4 * n)
        at_pppoe = _Op(_LD_IMM, _ETHERNET + 4 * n)
        end = done[0]
        kinds = _when((_PPPOE_TYPE,), at_pppoe, end) if bare else [_Op(_JA, jt=end)]
        if bare:
            kinds = _when(_MPLS_TYPES, at, kinds[0]) + kinds
        tags = _when(_TAG_TYPES, tag[n + 1], kinds[0]) if n < MAX_TAGS else []
        ip = _when((0x0800, 0x86DD), end, tags[0] if tags else kinds[0])
        ops += [tag[n], *ip, *tags, *kinds]
        if bare:
            ops += [at, _Op(_ST, by), _Op(_JA, jt=mpls), at_pppoe, _Op(_ST, by), _Op(_JA, jt=pppoe)]
        ops += done
    if bare:
        ops += _behind_mpls(mpls, by, bare[0], reject) + _behind_pppoe(pppoe, by, bare[0], reject)
    ops += [*plain, *moved, *bare, reject]
    return _assemble(_without_jumps_to_next(_returns_last(ops)))


def _behind_mpls(start: _Op, by: int, then: _Op, reject: _Op) -> list[_Op]:
    """X is where the label stack begins: walk to its bottom (RFC 3032 section 2.1, bit S)."""
    bottoms = [_Op(_LD_IMM, 4 * (n + 1)) for n in range(MAX_LABELS)]
    looks = [_Op(_IND_B, 4 * n + 2) for n in range(MAX_LABELS)]
    ops = [start]
    for n in range(MAX_LABELS):
        deeper = looks[n + 1] if n + 1 < MAX_LABELS else reject
        ops += [looks[n], _Op(_JSET, 1, bottoms[n], deeper)]
    for bottom in bottoms:
        ops += [bottom, _Op(_ADD_X), _Op(_ST, by), _Op(_JA, jt=then)]
    return ops


def _behind_pppoe(start: _Op, by: int, then: _Op, reject: _Op) -> list[_Op]:
    """X is where the PPPoE header begins: six octets, and PPP's protocol (RFC 2516 section 4)."""
    found = _Op(_LD_IMM, 8)
    tests = _when(_PPP_TYPES, found, reject)
    return [start, _Op(_IND_H, 6), *tests, found, _Op(_ADD_X), _Op(_ST, by), _Op(_JA, jt=then)]


def _returns_last(ops: list[_Op]) -> list[_Op]:
    """Put the returns behind everything else.

    The kernel checks that registers are written before they are read, and takes what stands behind a return
    to follow it.
    """
    returns: dict[tuple[int, int], _Op] = {}
    for op in ops:
        if op.code & 7 == _RET:
            op.jt = returns.setdefault((op.code, op.k), _Op(op.code, op.k))
            op.code, op.k = _JA, 0
    return ops + list(returns.values())


def _without_jumps_to_next(ops: list[_Op]) -> list[_Op]:
    """Take out jumps to the instruction behind them, and lead jumps to jumps to where those go."""
    for op in ops:
        while op.jt is not None and op.jt.code == _JA:
            op.jt = op.jt.jt
        while op.jf is not None and op.jf.code == _JA:
            op.jf = op.jf.jt
    wanted = {id(target) for op in ops for target in (op.jt, op.jf)}
    out: list[_Op] = []
    for i, op in enumerate(ops):
        useless = op.code == _JA and i + 1 < len(ops) and op.jt is ops[i + 1]
        falls = i == 0 or not (ops[i - 1].branches or ops[i - 1].code in (_JA, _RET))
        if useless or (op.code == _JA and not falls and id(op) not in wanted):
            continue
        out.append(op)
    return out


def shifted(program: Sequence[Instruction], octets: int) -> list[Instruction]:
    """Return a program for packets that have so many octets in front."""
    loads = (*_ABS_TO_IND, *_ABS_TO_IND.values(), _LDX_MSH)
    return [(c, jt, jf, k + octets if c in loads and k < ANCILLARY else k) for c, jt, jf, k in program]


def relinked(
    program: Sequence[Instruction], ethertype_at: int, payload_at: int, length: int = 0
) -> list[Instruction]:
    """Return a program for Ethernet as one for another link header.

    ethertype_at, payload_at: where they stand; ETHERTYPE_OF_KERNEL where only the kernel knows it. length:
    octets that Ethernet's frame is longer than what the program will see (for `len`). Raises ProgramError
    where the program looks at link addresses.
    """
    move = payload_at - _ETHERNET

    def replace(op: _Op) -> list[_Op] | None:
        if op.code in _ABS_TO_IND and op.k < ANCILLARY:
            if op.k == _ETHERTYPE and op.code == _LD_H:
                return [_Op(_LD_H, ethertype_at)]
            return [_Op(op.code, _behind_link(op.k) + move)]
        if op.code == _LDX_MSH:
            return [_Op(_LDX_MSH, _behind_link(op.k) + move)]
        if op.code == _IND_H and op.k == _ETHERTYPE:  # behind a tag, or (X is 0) the frame's own
            other, end = _Op(_IND_H, op.k + move), _Op(_ADD, 0)
            own = _Op(_LD_H, ethertype_at)
            return [_Op(_TXA), _Op(_JEQ, 0, own, other), own, _Op(_JA, jt=end), other, end]
        if op.code in _ABS_TO_IND.values():
            return [_Op(op.code, op.k + move)]
        if op.code == _LD_LEN and length:
            return [_Op(_LD_LEN), _Op(_ADD, length)]
        return None

    return _assemble(_expand(_load(program), replace))


def _behind_link(k: int) -> int:
    if k < _ETHERNET:
        raise ProgramError("it looks at Ethernet's header, which this interface does not have")
    return k
