# C types of the cell kernel; cells.py holds the code and runs without this file.
cimport cython

from hepcat.batch.gather cimport _dotted, _ipv6, _unfold
from hepcat.stores.classic.values cimport OCTETS, QUOTE, Values

# The numbers of schema.py and cells.py (tests/stores/test_rows_kernel.py holds them alike).
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
    IS_REQUEST = 1
    IS_RESPONSE = 2
    IS_FOLDED = 4
    FIRST_SIP = 3
    BODY = 29
    TAGS = 30
    CELL = 64
    COLON = 58

@cython.final
cdef class Cells:
    cdef Values values
    # the plan
    cdef Py_ssize_t columns
    cdef int growth
    cdef const int[::1] source
    cdef const int[::1] field
    cdef const int[::1] other
    cdef const unsigned char[::1] missing
    cdef const unsigned char[::1] node
    cdef const unsigned char[::1] proto_of
    cdef const unsigned char[::1] type_of
    # the batch
    cdef const unsigned char[::1] buffer
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
    cdef unsigned char[::1] scratch
    cdef public long long sequence
    # the node's name that stands in `out` already and may come again
    cdef long long node_number
    cdef long long node_at
    cdef long long node_size
    cdef int node_cut
    cdef int node_replaced
    # what _originator found
    cdef long long found_at
    cdef long long found_size
    cdef long long found_port

    cdef Py_ssize_t bound(self, Py_ssize_t row) except -1 nogil
    cdef bint _is_folded(self, Py_ssize_t row, Py_ssize_t field) except -1 nogil
    cdef int _scratched(self, long long size, Py_ssize_t column) except -1 nogil
    cdef int _unfolded(self, long long at, long long size, Py_ssize_t column) except -1 nogil
    cdef int _slice(self, Py_ssize_t row, Py_ssize_t field, Py_ssize_t column) except -1 nogil
    cdef int _line(self, Py_ssize_t row, Py_ssize_t field, Py_ssize_t column) except -1 nogil
    cdef int _status(self, Py_ssize_t row, Py_ssize_t column) except -1 nogil
    cdef int _node(self, Py_ssize_t row, Py_ssize_t column) except -1 nogil
    cdef int _address(self, Py_ssize_t row, bint source) except -1 nogil
    cdef bint _is_server(self, Py_ssize_t row, Py_ssize_t field) except -1 nogil
    cdef int _originator(self, Py_ssize_t row, Py_ssize_t field) except -1 nogil
    cdef int _octets(self, Py_ssize_t i, Py_ssize_t row, Py_ssize_t column, int source) except -1 nogil
    cdef int write_cell(self, Py_ssize_t i, Py_ssize_t row, Py_ssize_t column) except -1 nogil
