"""Kernel: classic BPF programs run in user space, over columns of packets.

In: instructions as libpcap makes them, `Packets` in a window. Out: a mask of those that the program
accepts: what the kernel would let pass, for files, for rings that many filters share, and for packets that
were put together after the kernel's filter had only seen fragments. What can go wrong: HepcatError for a
program that is not valid, with the instruction and why. No packet can make it fail: a load outside the
captured octets rejects the packet, as does a division by zero.

The machine is that of McCanne and Jacobson, "The BSD Packet Filter" (1993): A, X, sixteen registers, jumps
forward only, so a packet costs at most as many steps as the program is long. Sums wrap at 32 bits; a load
at X + k does too, as in the kernel (libpcap's own interpreter rejects it). A shift by 32 or more gives 0.
Loads behind SKF_AD_OFF read what Linux knows beside the octets: here EtherType and the VLAN tag.
"""

from collections.abc import Iterable
from typing import Any, Final

import cython
import numpy as np

from hepcat.batch.schema import NO_VLAN
from hepcat.errors import HepcatError
from hepcat.wire.columns import LINK_ETHERTYPE, Array, Packets

Instruction = tuple[int, int, int, int]

#: Most instructions a program may have (Linux: BPF_MAXINSNS).
MAX_INSTRUCTIONS: Final = 4096
#: Registers of scratch memory (BPF_MEMWORDS).
REGISTERS: Final = 16
#: Absolute loads from here on are Linux' ancillary data (SKF_AD_OFF), or its other negative offsets.
ANCILLARY: Final = 0xFFE00000
#: Those that are known, to opcodes of our own: protocol, vlan_tag, vlan_tag_present, vlan_tpid.
ANCILLARY_CODES: Final = {0xFFFFF000: 0x100, 0xFFFFF02C: 0x101, 0xFFFFF030: 0x102, 0xFFFFF03C: 0x103}

LOADS: Final = frozenset({0x20, 0x28, 0x30})  # ld, ldh, ldb at k
BRANCHES: Final = frozenset({0x15, 0x25, 0x35, 0x45, 0x1D, 0x2D, 0x3D, 0x4D})
JUMP: Final = 0x05
RETURNS: Final = frozenset({0x06, 0x16})
MEMORY: Final = frozenset({0x60, 0x61, 0x02, 0x03})
DIVISIONS: Final = frozenset({0x34, 0x94})
OTHERS: Final = frozenset(
    {0x40, 0x48, 0x50, 0x00, 0x80, 0x01, 0x81, 0xB1, 0x07, 0x87, 0x84}
    | {0x04, 0x14, 0x24, 0x44, 0x54, 0x64, 0x74, 0xA4}
    | {0x0C, 0x1C, 0x2C, 0x3C, 0x4C, 0x5C, 0x6C, 0x7C, 0x9C, 0xAC}
)

M32 = cython.declare(cython.ulonglong, 0xFFFFFFFF)
ETHERTYPE_BIT = cython.declare(cython.longlong, LINK_ETHERTYPE)
NONE = cython.declare(cython.longlong, NO_VLAN)


def check_program(instructions: Iterable[Instruction]) -> list[Instruction]:
    """Return the instructions, ancillary loads with our opcodes; raise HepcatError for a program not valid.

    Valid: 1 to 4,096 known instructions, jumps within it, registers below 16, no division by a constant 0, a
    return at the end (so that every way ends in one).
    """
    program = [(int(code), int(jt), int(jf), int(k)) for code, jt, jf, k in instructions]
    if not 1 <= len(program) <= MAX_INSTRUCTIONS:
        raise _invalid(f"it has {len(program)} instructions, 1 to {MAX_INSTRUCTIONS} are allowed")
    for at, (code, jt, jf, k) in enumerate(program):
        left = len(program) - 1 - at
        where = f"instruction {at} (code {code:#04x}, k {k:#x})"
        if not 0 <= k <= 0xFFFFFFFF or jt < 0 or jf < 0:
            raise _invalid(f"{where}: a number is out of range")
        if code in LOADS and k >= ANCILLARY:
            if k not in ANCILLARY_CODES:
                raise _invalid(f"{where} reads what only the kernel knows of a packet (direction, interface)")
            program[at] = (ANCILLARY_CODES[k], 0, 0, 0)
        elif code == JUMP:
            if k >= left:
                raise _invalid(f"{where} jumps past the end")
        elif code in BRANCHES:
            if max(jt, jf) >= left:
                raise _invalid(f"{where} jumps past the end")
        elif code in MEMORY:
            if k >= REGISTERS:
                raise _invalid(f"{where}: there are {REGISTERS} registers")
        elif code in DIVISIONS:
            if k == 0:
                raise _invalid(f"{where} divides by 0")
        elif code not in RETURNS and code not in OTHERS and code not in LOADS:
            raise _invalid(f"{where} is not known")
    if program[len(program) - 1][0] not in RETURNS:  # no -1: compiled, indices do not wrap around
        raise _invalid("it does not end in a return")
    return program


def _invalid(why: str) -> HepcatError:
    return HepcatError(f"packet filter cannot be run: {why}", "write the filter without it, or report this")


class BpfProgram:
    """A program, checked, ready to run on any number of windows; threads may share it.

    instructions: (code, jt, jf, k) each. Raises HepcatError where they are no valid program.
    """

    def __init__(self, instructions: Iterable[Instruction]) -> None:
        view: Any = memoryview
        program = check_program(instructions)
        n = len(program)
        at = np.arange(n) + 1
        code, jt, jf, k = np.array(program, dtype=np.int64).T
        far = np.where(code == JUMP, k, 0)
        self.code = view(code.astype(np.int32))
        self.k = view(k.astype(np.uint32))
        self.when = view((at + np.where(code == JUMP, far, jt)).astype(np.int32))
        self.otherwise = view((at + jf).astype(np.int32))
        self.has_memory = bool(np.isin(code, sorted(MEMORY)).any())
        self.length = n

    def mask(self, data: Any, packets: Packets, out: Array) -> int:
        """Write 1 to out[i] where the program accepts packets row i, else 0; return how many it accepts.

        data: uint8 buffer of the window. out: uint8, packets.n of it written. The program sees the captured
        octets, and `original` as the length. Raises ValueError where `out` is too short.
        """
        if len(out) < packets.n:
            raise ValueError(f"room for {len(out)} rows, {packets.n} packets")
        return int(Machine(self, data, packets, out).run(packets.n))


class Machine:
    """One run of a program over a window."""

    def __init__(self, program: BpfProgram, data: Any, packets: Packets, out: Array) -> None:
        view: Any = memoryview
        self.code = program.code
        self.k = program.k
        self.when = program.when
        self.otherwise = program.otherwise
        self.has_memory = program.has_memory
        self.memory = view(np.zeros(REGISTERS, dtype=np.uint32))
        self.data = view(data)
        self.offset = view(packets.offset)
        self.captured = view(packets.captured)
        self.original = view(packets.original)
        self.link = view(packets.link)
        self.vlan = view(packets.vlan)
        self.out = view(out)

    def run(self, count: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """Judge the first `count` packets."""
        i: cython.Py_ssize_t
        n: cython.Py_ssize_t
        accepted: cython.Py_ssize_t = 0
        with cython.nogil:
            for i in range(count):
                if self.has_memory:
                    for n in range(16):
                        self.memory[n] = 0
                self.out[i] = 0
                if self.offset[i] < 0 or not 0 <= self.captured[i] <= len(self.data) - self.offset[i]:
                    continue
                if self.accepts(i):
                    self.out[i] = 1
                    accepted += 1
        return accepted

    def octets(self, at: cython.longlong, size: cython.int) -> cython.ulonglong:
        """Read one, two or four octets in network order; the caller has checked that they are there."""
        value: cython.ulonglong = self.data[at]
        if size > 1:
            value = (value << 8) | self.data[at + 1]
        if size == 4:
            value = (value << 8) | self.data[at + 2]
            value = (value << 8) | self.data[at + 3]
        return value

    def protocol(self, i: cython.Py_ssize_t) -> cython.int:
        """Return the EtherType that Linux would have noted for a packet, 0 where it is not there."""
        link: cython.longlong = self.link[i]
        at: cython.longlong = self.offset[i]
        size: cython.longlong = self.captured[i]
        place: cython.longlong = 12 if link == 1 else 14 if link == 113 else 0
        if link & ETHERTYPE_BIT:
            return link & 0xFFFF
        if link == 1 or link == 113 or link == 276:
            if size < place + 2:
                return 0
            kind: cython.int = cython.cast(cython.int, self.octets(at + place, 2))
            return kind if kind > 1500 else 4  # ETH_P_802_2
        if size < 1:
            return 0
        version: cython.int = self.data[at] >> 4
        return 0x0800 if version == 4 else 0x86DD if version == 6 else 0

    def accepts(self, i: cython.Py_ssize_t) -> cython.bint:
        """Run the program on one packet."""
        a: cython.ulonglong = 0
        x: cython.ulonglong = 0
        k: cython.ulonglong
        size: cython.ulonglong = self.captured[i]
        start: cython.longlong = self.offset[i]
        pc: cython.int = 0
        op: cython.int
        while True:
            op = self.code[pc]
            k = self.k[pc]
            pc += 1
            # ---- loads; the number is the opcode of the BPF paper (and of <linux/filter.h>)
            if op == 0x28:  # ldh [k]
                if k + 2 > size:
                    return False
                a = self.octets(start + k, 2)
            elif op == 0x30:  # ldb [k]
                if k + 1 > size:
                    return False
                a = self.data[start + k]
            elif op == 0x20:  # ld [k]
                if k + 4 > size:
                    return False
                a = self.octets(start + k, 4)
            elif op == 0x48:  # ldh [x + k]
                k = (x + k) & M32
                if k + 2 > size:
                    return False
                a = self.octets(start + k, 2)
            elif op == 0x50:  # ldb [x + k]
                k = (x + k) & M32
                if k + 1 > size:
                    return False
                a = self.data[start + k]
            elif op == 0x40:  # ld [x + k]
                k = (x + k) & M32
                if k + 4 > size:
                    return False
                a = self.octets(start + k, 4)
            elif op == 0xB1:  # ldx 4 * ([k] & 0xf): the length of an IPv4 header
                if k + 1 > size:
                    return False
                x = (self.data[start + k] & 0x0F) * 4
            elif op == 0x00:  # ld #k
                a = k
            elif op == 0x01:  # ldx #k
                x = k
            elif op == 0x60:  # ld M[k]
                a = self.memory[k]
            elif op == 0x61:  # ldx M[k]
                x = self.memory[k]
            elif op == 0x80:  # ld #len
                a = self.original[i] & M32
            elif op == 0x81:  # ldx #len
                x = self.original[i] & M32
            elif op == 0x02:  # st M[k]
                self.memory[k] = cython.cast(cython.uint, a)
            elif op == 0x03:  # stx M[k]
                self.memory[k] = cython.cast(cython.uint, x)
            # ---- jumps: `when` is the target if it holds, `otherwise` if not
            elif op == 0x15:  # jeq #k
                pc = self.when[pc - 1] if a == k else self.otherwise[pc - 1]
            elif op == 0x05:  # ja
                pc = self.when[pc - 1]
            elif op == 0x25:  # jgt #k
                pc = self.when[pc - 1] if a > k else self.otherwise[pc - 1]
            elif op == 0x35:  # jge #k
                pc = self.when[pc - 1] if a >= k else self.otherwise[pc - 1]
            elif op == 0x45:  # jset #k
                pc = self.when[pc - 1] if a & k else self.otherwise[pc - 1]
            elif op == 0x1D:  # jeq x
                pc = self.when[pc - 1] if a == x else self.otherwise[pc - 1]
            elif op == 0x2D:  # jgt x
                pc = self.when[pc - 1] if a > x else self.otherwise[pc - 1]
            elif op == 0x3D:  # jge x
                pc = self.when[pc - 1] if a >= x else self.otherwise[pc - 1]
            elif op == 0x4D:  # jset x
                pc = self.when[pc - 1] if a & x else self.otherwise[pc - 1]
            # ---- returns and moves
            elif op == 0x06:  # ret #k
                return k != 0
            elif op == 0x16:  # ret a
                return a != 0
            elif op == 0x07:  # tax
                x = a
            elif op == 0x87:  # txa
                a = x
            # ---- arithmetic
            elif op == 0x54:  # and #k
                a &= k
            elif op == 0x5C:  # and x
                a &= x
            elif op == 0x04:  # add #k
                a = (a + k) & M32
            elif op == 0x0C:  # add x
                a = (a + x) & M32
            elif op == 0x14:  # sub #k
                a = (a - k) & M32
            elif op == 0x1C:  # sub x
                a = (a - x) & M32
            elif op == 0x24:  # mul #k
                a = (a * k) & M32
            elif op == 0x2C:  # mul x
                a = (a * x) & M32
            elif op == 0x34:  # div #k
                a //= k
            elif op == 0x94:  # mod #k
                a %= k
            elif op == 0x3C:  # div x
                if x == 0:
                    return False
                a //= x
            elif op == 0x9C:  # mod x
                if x == 0:
                    return False
                a %= x
            elif op == 0x44:  # or #k
                a |= k
            elif op == 0x4C:  # or x
                a |= x
            elif op == 0xA4:  # xor #k
                a ^= k
            elif op == 0xAC:  # xor x
                a ^= x
            elif op == 0x64:  # lsh #k
                a = (a << k) & M32 if k < 32 else 0
            elif op == 0x6C:  # lsh x
                a = (a << x) & M32 if x < 32 else 0
            elif op == 0x74:  # rsh #k
                a = a >> k if k < 32 else 0
            elif op == 0x7C:  # rsh x
                a = a >> x if x < 32 else 0
            elif op == 0x84:  # neg
                a = (M32 + 1 - a) & M32
            # ---- ancillary data, ANCILLARY_CODES
            elif op == 0x100:  # protocol
                a = self.protocol(i)
            elif op == 0x101:  # vlan_tag
                a = self.vlan[i] if self.vlan[i] != NONE else 0
            elif op == 0x102:  # vlan_tag_present
                a = self.vlan[i] != NONE
            elif op == 0x103:  # vlan_tpid
                a = 0x8100 if self.vlan[i] != NONE else 0
            else:
                return False
