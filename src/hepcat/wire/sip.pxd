# C types of the SIP index; sip.py holds the code and runs without this file.
cimport cython
from libc.string cimport memchr

@cython.final
cdef class Indexer:
    # in
    cdef const unsigned char[::1] buf
    cdef const long long[::1] start
    cdef const unsigned char[::1] hep_type
    cdef const unsigned char[::1] token
    cdef const int[::1] slots
    cdef const unsigned char[::1] pool
    cdef const int[::1] entry_at
    cdef const int[::1] entry_size
    cdef const int[::1] entry_id
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
    cdef inline int _header_of(self, Py_ssize_t lo, Py_ssize_t hi) except -2 nogil
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
