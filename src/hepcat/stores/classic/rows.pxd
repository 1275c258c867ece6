# C types of the row kernel; rows.py holds the code and runs without this file.
cimport cython
from libc.string cimport memcpy

from hepcat.batch.gather cimport _dotted, _ipv6, _sequence, _unfold

# The numbers of schema.py and rows.py (tests/stores/test_rows_kernel.py holds them alike).
cdef enum:
    EMPTY = 0
    SLICE = 1
    DATE = 2
    MICRO_TS = 3
    METHOD = 4
    CORRELATION = 5
    USER_AGENT = 6
    SOURCE_IP = 7
    DESTINATION_IP = 8
    ORIGINATOR_IP = 9
    ORIGINATOR_PORT = 10
    NODE = 11
    SOURCE_PORT = 12
    DESTINATION_PORT = 13
    CONTACT_PORT = 14
    PROTO = 15
    FAMILY = 16
    TYPE = 17
    HEADER = 18
    SECONDS = 19
    SEQUENCE = 20
    LINE = 21
    OCTETS = 0
    LATIN1 = 1
    UTF8MB3 = 2
    UTF8MB4 = 3
    NO_NUL = 4
    BYTEA = 5
    IS_REQUEST = 1
    IS_RESPONSE = 2
    IS_FOLDED = 4
    FIRST_SIP = 3
    BODY = 29
    TAGS = 30
    CELL = 64
    QUOTE = 39
    BACKSLASH = 92
    MARK = 63
    COLON = 58

@cython.final
cdef class RowKernel:
    # the plan
    cdef const int[::1] source
    cdef const int[::1] field
    cdef const int[::1] other
    cdef const long long[::1] width
    cdef const int[::1] charset
    cdef const unsigned char[::1] escape
    cdef const unsigned char[::1] opening
    cdef const unsigned char[::1] separator
    cdef const unsigned char[::1] closing
    cdef const unsigned char[::1] missing
    cdef const unsigned char[::1] binary
    cdef const unsigned char[::1] node
    cdef const unsigned char[::1] proto_of
    cdef const unsigned char[::1] type_of
    cdef Py_ssize_t columns
    cdef bint quoted
    cdef bint measured
    cdef int also
    cdef int growth
    # the batch
    cdef const unsigned char[::1] buffer
    cdef const unsigned char[::1] text
    cdef const long long[::1] start
    cdef const long long[::1] ts
    cdef const long long[::1] local
    cdef const unsigned char[::1] family
    cdef const unsigned char[::1] ip_proto
    cdef const unsigned char[:, ::1] src_ip
    cdef const unsigned char[:, ::1] dst_ip
    cdef const unsigned short[::1] src_port
    cdef const unsigned short[::1] dst_port
    cdef const unsigned char[::1] hep_type
    cdef const unsigned int[::1] node_id
    cdef const unsigned short[::1] status
    cdef const unsigned short[::1] contact_port
    cdef const unsigned char[::1] flags
    cdef const unsigned short[:, :, ::1] fields
    cdef const long long[::1] rows
    cdef unsigned char[::1] scratch
    # out
    cdef unsigned char[::1] out
    cdef long long[::1] ends
    cdef bint wants_ends
    cdef public long long to
    cdef public long long sequence
    cdef public long long cut
    cdef public long long replaced
    # what stands in `out` already and may come again
    cdef long long date_second
    cdef long long date_at
    cdef long long node_number
    cdef long long node_at
    cdef long long node_size
    cdef int node_cut
    cdef int node_replaced
    cdef bint hurt
    # what _originator found
    cdef long long found_at
    cdef long long found_size
    cdef long long found_port

    cdef int _put(self, int octet) except -1 nogil
    cdef int _copy(self, const unsigned char[::1] octets) except -1 nogil
    cdef int _again(self, long long at, long long size) except -1 nogil
    cdef Py_ssize_t _clean(self, long long at, long long end) except -1 nogil
    cdef Py_ssize_t _fitting(self, long long at, long long end, Py_ssize_t column) except -1 nogil
    cdef int _characters(self, long long at, long long end, int charset) except -1 nogil
    cdef Py_ssize_t _special(self, long long at, long long end, int charset) except -1 nogil
    cdef int _escaped(self, int octet, int charset) except -1 nogil
    cdef int _octal(self, int octet) except -1 nogil
    cdef int _text(self, long long at, long long size, Py_ssize_t column) except -1 nogil
    cdef int _slice(self, Py_ssize_t row, Py_ssize_t field, Py_ssize_t column) except -1 nogil
    cdef int _number(self, long long value) except -1 nogil
    cdef int _padded(self, long long value, int digits) except -1 nogil
    cdef int _date(self, Py_ssize_t i) except -1 nogil
    cdef int _status(self, Py_ssize_t row, Py_ssize_t column) except -1 nogil
    cdef int _node(self, Py_ssize_t row, Py_ssize_t column) except -1 nogil
    cdef int _address(self, Py_ssize_t row, bint source) except -1 nogil
    cdef int _line(self, Py_ssize_t row, Py_ssize_t field, Py_ssize_t column) except -1 nogil
    cdef bint _is_folded(self, Py_ssize_t row, Py_ssize_t field) except -1 nogil
    cdef bint _is_server(self, Py_ssize_t row, Py_ssize_t field) except -1 nogil
    cdef int _originator(self, Py_ssize_t row, Py_ssize_t field) except -1 nogil
    cdef int _cell(self, Py_ssize_t i, Py_ssize_t row, Py_ssize_t column) except -1 nogil
    cdef int _octets(self, Py_ssize_t i, Py_ssize_t row, Py_ssize_t column, int source) except -1 nogil
    cdef int _measured(self, Py_ssize_t i, Py_ssize_t row, Py_ssize_t column) except -1 nogil
    cdef Py_ssize_t _bound(self, Py_ssize_t row) except -1 nogil
    cdef int _row(self, Py_ssize_t i, Py_ssize_t row) except -1 nogil
    cpdef Py_ssize_t run(self, Py_ssize_t first) except -1

cdef int _hash_all(
    const unsigned char[::1] buffer, const long long[::1] start, const unsigned short[:, :, ::1] fields,
    Py_ssize_t field, const long long[::1] rows, const unsigned int[::1] table, unsigned int[::1] out
) except -1
