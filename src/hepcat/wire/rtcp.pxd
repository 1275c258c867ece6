# C types of the RTCP writer; rtcp.py holds the code and runs without this file.
cimport cython

from hepcat.wire.hep cimport copy_octets
from hepcat.wire.rtcp_packets cimport APP, BYE, Packets, RR, SDES, SR, XR

# The codes of PIECES, in its order (tests/wire/test_rtcp.py holds them alike).
cdef enum:
    P_SENDER = 0
    P_NTP_LOW = 1
    P_OCTETS = 2
    P_RTP = 3
    P_PACKETS = 4
    P_SENDER_END = 5
    P_SSRC = 6
    P_TYPE = 7
    P_BLOCKS = 8
    P_COUNT = 9
    P_SOURCE = 10
    P_HIGHEST = 11
    P_FRACTION = 12
    P_JITTER = 13
    P_LOST = 14
    P_LSR = 15
    P_DLSR = 16
    P_END = 17
    P_COMMA = 18
    P_LIST_END = 19
    P_BEGIN = 20
    P_XR = 21
    P_XR_MORE = 22
    P_ITEM_TYPE = 23
    P_ID = 24
    P_DISCARD = 25
    P_BURST = 26
    P_GAP = 27
    P_BURST_TIME = 28
    P_GAP_TIME = 29
    P_ROUND_TRIP = 30
    P_END_SYSTEM = 31
    P_SIGNAL = 32
    P_NOISE = 33
    P_RERL = 34
    P_GMIN = 35
    P_R = 36
    P_R_EXT = 37
    P_MOS_LQ = 38
    P_MOS_CQ = 39
    P_RX = 40
    P_JB_NOMINAL = 41
    P_JB_MAX = 42
    P_JB_ABS = 43
    P_SDES_SSRC = 44
    P_SDES_COUNT = 45
    P_SDES_ITEMS = 46
    P_TEXT = 47
    P_TEXT_END = 48
    P_ITEM_SSRC = 49
    P_BYE = 50
    P_BYE_REASON = 51
    P_QUOTE = 52
    P_APP = 53
    P_APP_NAME = 54
    P_APP_SUBTYPE = 55
    P_ENCRYPTED = 56
    P_ESCAPE = 57

@cython.final
cdef class Writer(Packets):
    cdef unsigned char[::1] out
    cdef const unsigned char[::1] text
    cdef const long long[::1] ends
    cdef Py_ssize_t at
    cdef Py_ssize_t limit
    cdef int first

    cpdef Py_ssize_t run_json(
        self, const long long[::1] offset, const long long[::1] length, const long long[::1] room,
        long long[::1] begin, long long[::1] size
    ) except -1
    cdef inline Py_ssize_t be32(self, Py_ssize_t at) except -1 nogil
    cdef inline int put(self, int piece) except -1 nogil
    cdef inline int octet(self, int value) except -1 nogil
    cdef int number(self, Py_ssize_t value) except -1 nogil
    cdef inline int pair(self, int piece, Py_ssize_t value) except -1 nogil
    cdef inline bint has_room(self) except -1 nogil
    cdef int string(self, Py_ssize_t at, Py_ssize_t size) except -1 nogil
    cdef int hex_digit(self, int value) except -1 nogil
    cdef Py_ssize_t utf8(self, Py_ssize_t at, Py_ssize_t end) except -1 nogil
    cdef bint write_datagram(self, Py_ssize_t at, Py_ssize_t size) except -1 nogil
    cdef int write_head(self, Py_ssize_t at) except -1 nogil
    cdef int write_sender(self) except -1 nogil
    cdef int write_blocks(self) except -1 nogil
    cdef int write_block(self, Py_ssize_t at) except -1 nogil
    cdef int write_metrics(self) except -1 nogil
    cdef int write_voip(self, Py_ssize_t at) except -1 nogil
    cdef int write_descriptions(self) except -1 nogil
    cdef Py_ssize_t write_chunk(self, Py_ssize_t at, Py_ssize_t end, bint named) except -1 nogil
    cdef int write_bye(self) except -1 nogil
    cdef int write_app(self) except -1 nogil
