# C types of the SIP index; sip.py holds the code and runs without this file.
cimport cython
from libc.string cimport memchr, memcpy, memset

# The numbers of sip_codes.py (tests/wire/test_sip_codes.py holds them alike).
cdef enum:
    NUL = 0
    TAB = 9
    LF = 10
    CR = 13
    SPACE = 32
    QUOTE = 34
    STAR = 42
    COMMA = 44
    DOT = 46
    SLASH = 47
    COLON = 58
    SEMICOLON = 59
    LESS = 60
    EQUALS = 61
    GREATER = 62
    QUESTION = 63
    AT = 64
    OPEN_BRACKET = 91
    BACKSLASH = 92
    CLOSE_BRACKET = 93
    NEITHER = 0
    REQUEST = 1
    RESPONSE = 2
    FOLDED = 4
    KEEPALIVE = 8
    STUN = 16
    NOT_SIP = 32
    START_LINE = 1
    HEADER_LINE = 2
    NO_HEADER_END = 3
    TOO_MANY_HEADERS = 4
    CALL_ID_MISSING = 5
    CSEQ_MISSING = 6
    CSEQ_WRONG = 7
    FROM_MISSING = 8
    TO_MISSING = 9
    VIA_MISSING = 10
    CONTENT_LENGTH_WRONG = 11
    BODY_SHORT = 12
    URI_WRONG = 13
    TRUNCATED = 14
    OVERSIZE = 15
    VIA = 0
    FROM = 1
    TO = 2
    CONTACT = 3
    ASSERTED = 4
    PREFERRED = 5
    REMOTE_PARTY = 6
    PROXY_AUTHORIZATION = 7
    AUTHORIZATION = 8
    EXPIRES = 9
    CONTENT_LENGTH = 10
    DIVERSION = 11
    CSEQ = 12
    CALL_ID = 13
    F_METHOD = 3
    F_PHRASE = 4
    F_RURI = 5
    F_FROM = 8
    F_TO = 11
    F_VIA = 17
    F_PID = 19
    F_CONTACT = 20
    F_AUTH = 22
    F_DIVERSION = 25
    F_BODY = 29
    F_TAGS = 30
    SIP = 1
    LONGEST = 65535
    SLOT_MASK = 511
    MAX_HEADERS = 256
    JUNK_LINES = 8
    LONGEST_METHOD = 64
    NO_NUMBER = -2
    SCHEME_WRONG = 0
    SCHEME_SIP = 1
    SCHEME_TEL = 2
    SCHEME_OTHER = 3
    TAG_AT = 0
    BRANCH_AT = 3
    USERNAME_AT = 9

@cython.final
cdef class Indexer:
    # in
    cdef const unsigned char[::1] buf
    cdef Py_ssize_t size
    cdef const long long[::1] start
    cdef const unsigned char[::1] hep_type
    cdef const unsigned char[::1] token
    cdef const int[::1] slots
    cdef const unsigned char[::1] pool
    cdef const int[::1] entry_at
    cdef const int[::1] entry_size
    cdef const int[::1] entry_id
    cdef const unsigned long long[::1] entry_first
    cdef const unsigned long long[::1] entry_last
    cdef const unsigned long long[::1] masks
    cdef const int[::1] entry_next
    cdef const int[::1] copies
    # out
    cdef unsigned short[::1] fields
    cdef unsigned short[::1] status
    cdef unsigned short[::1] contact_port
    cdef unsigned int[::1] expires
    cdef unsigned char[::1] malformed
    cdef unsigned char[::1] flags
    cdef Py_ssize_t width
    cdef public bint brief
    cdef Py_ssize_t header_count
    # the record being indexed
    cdef Py_ssize_t base
    cdef Py_ssize_t out
    cdef int fault
    cdef int flag
    cdef int eol
    cdef bint folded
    cdef Py_ssize_t next_line
    cdef Py_ssize_t body_at
    cdef Py_ssize_t said
    cdef Py_ssize_t[::1] lo
    cdef Py_ssize_t[::1] hi
    # what the parse functions found last
    cdef bint line_fault
    cdef int code
    cdef Py_ssize_t method_lo, method_hi
    cdef Py_ssize_t uri_lo, uri_hi
    cdef Py_ssize_t params_lo
    cdef Py_ssize_t phrase_lo, phrase_hi
    cdef Py_ssize_t user_lo, user_hi
    cdef Py_ssize_t host_lo, host_hi
    cdef int port
    cdef Py_ssize_t value_lo, value_hi

    cdef inline int _at(self, size_t pos) except -1 nogil
    cdef inline int _range(self, Py_ssize_t lo, Py_ssize_t hi) except -1 nogil
    cdef inline unsigned long long _word(self, Py_ssize_t pos) except? 7 nogil
    cdef inline int _clear(self, Py_ssize_t lo, Py_ssize_t hi) except -1 nogil
    cdef inline Py_ssize_t _find(self, int octet, Py_ssize_t lo, Py_ssize_t hi) except -1 nogil
    cdef inline Py_ssize_t _skip_space(self, Py_ssize_t lo, Py_ssize_t hi) except -1 nogil
    cdef inline Py_ssize_t _trim(self, Py_ssize_t lo, Py_ssize_t hi) except -1 nogil
    cdef inline bint _same(self, Py_ssize_t pos, Py_ssize_t name, Py_ssize_t size) except -1 nogil
    cdef bint _is_token(self, Py_ssize_t lo, Py_ssize_t hi) except -1 nogil
    cdef Py_ssize_t _number(self, Py_ssize_t lo, Py_ssize_t hi) except -1 nogil
    cdef Py_ssize_t _quoted(self, Py_ssize_t pos, Py_ssize_t hi) except -1 nogil
    cdef inline Py_ssize_t _blank(self, Py_ssize_t lo, Py_ssize_t hi) except -1 nogil
    cdef inline int _put(self, Py_ssize_t field, Py_ssize_t lo, Py_ssize_t hi) except -1 nogil
    cdef inline int _blame(self, int fault) except -1 nogil
    cdef bint _version(self, Py_ssize_t pos, Py_ssize_t hi) except -1 nogil
    cdef inline Py_ssize_t _line(self, Py_ssize_t lo, Py_ssize_t hi) except -1 nogil
    cdef Py_ssize_t _first_line(self, Py_ssize_t lo, Py_ssize_t hi) except -1 nogil
    cdef int _parse_start_line(self, Py_ssize_t lo, Py_ssize_t hi) except -1 nogil
    cdef int _parse_status_line(self, Py_ssize_t lo, Py_ssize_t end) except -1 nogil
    cdef int _parse_request_line(self, Py_ssize_t lo, Py_ssize_t end) except -1 nogil
    cdef int _find_start_line(self, Py_ssize_t lo, Py_ssize_t hi) except -1 nogil
    cdef inline bint _is_name(self, int entry, Py_ssize_t lo, Py_ssize_t size) except -1 nogil
    cdef inline int _header_of(self, Py_ssize_t lo, Py_ssize_t hi) except -2 nogil
    cdef inline int _forget_headers(self) except -1 nogil
    cdef int _read_headers(self, Py_ssize_t pos, Py_ssize_t hi) except -1 nogil
    cdef Py_ssize_t _read_line(self, Py_ssize_t pos, Py_ssize_t hi) except -1 nogil
    cdef int _content_length(self, Py_ssize_t lo, Py_ssize_t hi) except -1 nogil
    cdef bint _parse_address(self, Py_ssize_t lo, Py_ssize_t hi) except -1 nogil
    cdef int _scheme(self, Py_ssize_t lo, Py_ssize_t colon) except -1 nogil
    cdef bint _parse_uri(self, Py_ssize_t lo, Py_ssize_t hi) except -1 nogil
    cdef bint _parse_host(self, Py_ssize_t pos, Py_ssize_t hi) except -1 nogil
    cdef Py_ssize_t _parse_params(
        self, Py_ssize_t pos, Py_ssize_t hi, Py_ssize_t name, Py_ssize_t size
    ) except -1 nogil
    cdef Py_ssize_t _parse_param(
        self, Py_ssize_t pos, Py_ssize_t hi, Py_ssize_t name, Py_ssize_t size
    ) except -1 nogil
    cdef int _index_party(self, int header, Py_ssize_t field, int missing) except -1 nogil
    cdef int _index_via(self) except -1 nogil
    cdef int _index_contact(self) except -1 nogil
    cdef int _index_pid(self) except -1 nogil
    cdef int _index_auth(self) except -1 nogil
    cdef int _index_cseq(self) except -1 nogil
    cdef int _index_copies(self) except -1 nogil
    cdef int _index_body(self, Py_ssize_t hi) except -1 nogil
    cdef int _index_start(self, int kind) except -1 nogil
    cdef int _mark_folded(self) except -1 nogil
    cdef bint _not_sip(self, Py_ssize_t lo, Py_ssize_t hi) except -1 nogil
    cdef int _reset(self, Py_ssize_t row) except -1 nogil
    cdef int _index(self, Py_ssize_t row) except -1 nogil
    cdef int _index_message(self, Py_ssize_t row, Py_ssize_t lo, Py_ssize_t hi) except -1 nogil
    cdef int _index_headers(self, Py_ssize_t row) except -1 nogil
    cpdef int run(self, Py_ssize_t first, Py_ssize_t n) except -1
    cpdef int mask(
        self, const long long[::1] offsets, const long long[::1] lengths, unsigned char[::1] out
    ) except -1
