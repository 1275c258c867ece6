# C types of the SIP headers; sip_headers.py holds the code and runs without this file.
cimport cython
from libc.string cimport memchr, memcpy, memset

from hepcat.wire.sip_codes cimport *

cdef class SipHeaders:
    # in
    cdef const unsigned char[::1] buf
    cdef Py_ssize_t size
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
    cdef Py_ssize_t header_count
    # the message being read
    cdef int fault
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
    cdef Py_ssize_t phrase_lo, phrase_hi

    # Called for each octet, or written otherwise in Python: the body stands here, and is inlined into the
    # loops of those who inherit, too. All other calls from one kernel to another go through a table, and
    # within a kernel those of methods that are not inline.

    cdef inline int _at(self, size_t pos) except -1 nogil:
        """One octet. Unsigned, because then one comparison checks both bounds."""
        return self.buf[pos]

    cdef inline int _range(self, Py_ssize_t lo, Py_ssize_t hi) except -1 nogil:
        """Check lo..hi against the buffer, before libc gets a pointer into it."""
        if lo < 0 or lo >= hi or hi > self.buf.shape[0]:
            with gil:
                raise IndexError("a slice leaves the buffer")
        return 0

    cdef inline unsigned long long _word(self, Py_ssize_t pos) except? 7 nogil:
        """Eight octets as a number, in the byte order of the machine."""
        cdef unsigned long long word = 0
        self._range(pos, pos + 8)
        memcpy(&word, &self.buf[pos], 8)
        return word

    cdef inline Py_ssize_t _find(self, int octet, Py_ssize_t lo, Py_ssize_t hi) except -1 nogil:
        """Where the octet stands in lo..hi, hi where it does not."""
        cdef const unsigned char *begin
        cdef const void *found
        if lo >= hi:
            return hi
        self._range(lo, hi)
        begin = &self.buf[lo]
        found = memchr(begin, octet, hi - lo)
        if found == NULL:
            return hi
        return lo + (<const unsigned char *>found - begin)

    cdef inline Py_ssize_t _skip_space(self, Py_ssize_t lo, Py_ssize_t hi) except -1 nogil
    cdef inline Py_ssize_t _trim(self, Py_ssize_t lo, Py_ssize_t hi) except -1 nogil
    cdef inline bint _same(self, Py_ssize_t pos, Py_ssize_t name, Py_ssize_t size) except -1 nogil
    cdef bint _is_token(self, Py_ssize_t lo, Py_ssize_t hi) except -1 nogil
    cdef inline Py_ssize_t _number(self, Py_ssize_t lo, Py_ssize_t hi) except -1 nogil
    cdef inline Py_ssize_t _blank(self, Py_ssize_t lo, Py_ssize_t hi) except -1 nogil
    cdef inline int _blame(self, int fault) except -1 nogil
    cdef inline bint _version(self, Py_ssize_t pos, Py_ssize_t hi) except -1 nogil
    cdef inline Py_ssize_t _line(self, Py_ssize_t lo, Py_ssize_t hi) except -1 nogil
    cdef inline Py_ssize_t _first_line(self, Py_ssize_t lo, Py_ssize_t hi) except -1 nogil
    cdef inline int _parse_start_line(self, Py_ssize_t lo, Py_ssize_t hi) except -1 nogil
    cdef inline int _parse_status_line(self, Py_ssize_t lo, Py_ssize_t end) except -1 nogil
    cdef inline int _parse_request_line(self, Py_ssize_t lo, Py_ssize_t end) except -1 nogil
    cdef int _find_start_line(self, Py_ssize_t lo, Py_ssize_t hi) except -1 nogil
    cdef inline int _header_of(self, Py_ssize_t lo, Py_ssize_t hi) except -2 nogil
    cdef inline bint _is_name(self, int entry, Py_ssize_t lo, Py_ssize_t size) except -1 nogil
    cdef int _read_headers(self, Py_ssize_t pos, Py_ssize_t hi) except -1 nogil
    cdef inline int _forget_headers(self) except -1 nogil
    cdef inline Py_ssize_t _read_line(self, Py_ssize_t pos, Py_ssize_t hi) except -1 nogil
    cdef inline int _content_length(self, Py_ssize_t lo, Py_ssize_t hi) except -1 nogil
    cpdef int mask(
        self, const long long[::1] offsets, const long long[::1] lengths, unsigned char[::1] out
    ) except -1
