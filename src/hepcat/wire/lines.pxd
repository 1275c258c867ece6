# C types of the line reader; lines.py holds the code and runs without this file.
cimport cython

from hepcat.wire.start_lines cimport (
    AFTER, BEHIND_HOLE, BODY, COLON, CR, DIGITS, FIRST_LINE, IS_HTTP, IS_SIP, LF, LINE, LINE_CR, METHOD, NAME, REST,
    SKIP, SKIPPING, SPACE, START, StartLines, TAB, VALUE, VALUE_LINE
)

cdef class LineReader(StartLines):
    # flows
    cdef long long[::1] budget
    cdef unsigned char[::1] state_of
    cdef unsigned char[::1] kind_of
    cdef unsigned char[::1] match_of
    cdef long long[::1] recent_of
    cdef long long[::1] content_of
    cdef long long[::1] number_of
    # words
    cdef const unsigned char[::1] content_length
    cdef const unsigned char[::1] upgrade_name
    cdef const unsigned char[::1] websocket_word
    cdef const unsigned char[::1] extensions_name
    cdef const unsigned char[::1] server_alone
    cdef const unsigned char[::1] client_alone
    # the flow being read
    cdef long long content
    cdef long long mark

    cdef Py_ssize_t read_lines(self, long long pos, long long end) except -1 nogil
    cdef int keep_partial(self, long long end) except -1 nogil
    cdef int give_up_line(self) except -1 nogil
    cdef Py_ssize_t read_start(self, long long pos, long long end) except -1 nogil
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
