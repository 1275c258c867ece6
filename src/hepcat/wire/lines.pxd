# C types of the line reader; lines.py holds the code and runs without this file.
cimport cython

from hepcat.wire.held cimport octet_at
from hepcat.wire.websocket cimport WebSocketFrames

# The numbers of lines.py.
cdef enum:
    START = 0
    SKIP = 1
    METHOD = 2
    STATUS = 3
    FIRST_LINE = 4
    LINE = 5
    LINE_CR = 6
    REST = 7
    NAME = 8
    COLON = 9
    VALUE = 10
    VALUE_LINE = 11
    DIGITS = 12
    AFTER = 13
    BODY = 14
    IS_SIP = 0
    IS_GET = 1
    IS_HTTP = 2
    IN_SYNC = 0
    SKIPPING = 1
    BEHIND_HOLE = 2

cdef class LineReader(WebSocketFrames):
    # flows
    cdef unsigned char[::1] carries
    cdef unsigned char[::1] joined
    cdef unsigned char[::1] skipping_of
    cdef long long[::1] budget
    cdef unsigned char[::1] state_of
    cdef unsigned char[::1] kind_of
    cdef unsigned char[::1] match_of
    cdef long long[::1] recent_of
    cdef long long[::1] content_of
    cdef long long[::1] number_of
    # words
    cdef const unsigned char[::1] token
    cdef const long long[::1] methods
    cdef const unsigned char[::1] content_length
    cdef const unsigned char[::1] upgrade_name
    cdef const unsigned char[::1] websocket_word
    cdef const unsigned char[::1] extensions_name
    cdef const unsigned char[::1] server_alone
    cdef const unsigned char[::1] client_alone
    # the flow being read
    cdef int state
    cdef int kind
    cdef int match
    cdef long long recent
    cdef long long content
    cdef long long number
    cdef long long mark
    # what is asked for
    cdef public bint opens

    cdef int set_carries(self, int flow, int what) except -1 nogil
    cdef int skip(self, int flow) except -1 nogil
    cdef inline Py_ssize_t find_lf(self, long long lo, long long hi) except -1 nogil
    cdef Py_ssize_t read_lines(self, long long pos, long long end) except -1 nogil
    cdef int keep_partial(self, long long end) except -1 nogil
    cdef int give_up_line(self) except -1 nogil
    cdef Py_ssize_t read_start(self, long long pos, long long end) except -1 nogil
    cdef Py_ssize_t read_first_line(self, long long pos, long long end) except -1 nogil
    cdef int begin_sip(self) except -1 nogil
    cdef bint ends_with_version(self) except -1 nogil
    cdef Py_ssize_t read_method(self, long long pos, long long end) except -1 nogil
    cdef bint is_method(self) except -1 nogil
    cdef bint is_unknown(self) except -1 nogil
    cdef Py_ssize_t read_version(self, long long pos, long long end) except -1 nogil
    cdef Py_ssize_t read_no_message(self, long long pos, long long end) except -1 nogil
    cdef Py_ssize_t read_headers(self, long long pos, long long end) except -1 nogil
    cdef Py_ssize_t read_content_length(self, long long pos, long long end) except -1 nogil
    cdef Py_ssize_t end_headers(self, long long pos) except -1 nogil
    cdef Py_ssize_t read_body(self, long long pos, long long end) except -1 nogil
    cdef Py_ssize_t end_sip(self, long long pos) except -1 nogil
    cdef Py_ssize_t end_http(self, long long pos) except -1 nogil
    cdef bint read_upgrade(self, int flow, long long lo, long long hi) except -1 nogil
    cdef bint says_101(self, long long lo, long long hi) except -1 nogil
    cdef bint begins_with(self, long long lo, long long hi, const unsigned char[::1] word) except -1 nogil
    cdef bint has_word(self, long long lo, long long hi, const unsigned char[::1] word) except -1 nogil
