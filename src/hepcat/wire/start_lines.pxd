# C types of the reader of start lines; start_lines.py holds the code and runs without this file.
cimport cython

from hepcat.wire.held cimport octet_at
from hepcat.wire.websocket cimport WebSocketFrames

# The numbers of start_lines.py.
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
    TAB = 9
    LF = 10
    CR = 13
    SPACE = 32

cdef class StartLines(WebSocketFrames):
    # flows
    cdef unsigned char[::1] carries
    cdef unsigned char[::1] joined
    cdef unsigned char[::1] skipping_of
    # words
    cdef const unsigned char[::1] token
    cdef const long long[::1] methods
    # the flow being read
    cdef int state
    cdef int kind
    cdef int match
    cdef long long recent
    cdef long long number
    # what is asked for
    cdef public bint opens

    cdef int set_carries(self, int flow, int what) except -1 nogil
    cdef int skip(self, int flow) except -1 nogil
    cdef inline Py_ssize_t find_lf(self, long long lo, long long hi) except -1 nogil
    cdef Py_ssize_t read_first_line(self, long long pos, long long end) except -1 nogil
    cdef int begin_sip(self) except -1 nogil
    cdef bint ends_with_version(self) except -1 nogil
    cdef Py_ssize_t read_method(self, long long pos, long long end) except -1 nogil
    cdef bint is_method(self) except -1 nogil
    cdef bint is_unknown(self) except -1 nogil
    cdef Py_ssize_t read_version(self, long long pos, long long end) except -1 nogil
    cdef Py_ssize_t read_no_message(self, long long pos, long long end) except -1 nogil
