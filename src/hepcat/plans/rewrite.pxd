# C types of the rewriting kernel; rewrite.py holds the code and runs without this file.
cimport cython
from hepcat.plans.match cimport _find, _named
from hepcat.plans.pseudonyms cimport Pseudonyms, is_alnum, is_digit

cdef bint _named_before(const unsigned char[::1] data, Py_ssize_t end, const unsigned char[::1] name) except -1 nogil

@cython.final
cdef class Scrambler(Pseudonyms):
    cdef const unsigned char[::1] names
    cdef const long long[::1] name_at
    cdef const unsigned char[::1] username
    cdef bint loose
    cpdef int run(
        self, const long long[::1] at, const long long[::1] size, const unsigned char[::1] mask, int what
    ) except -1
    cdef int message(self, Py_ssize_t lo, Py_ssize_t hi, int what) except -1 nogil
    cdef Py_ssize_t body_of(self, Py_ssize_t lo, Py_ssize_t hi) except -1 nogil
    cdef int numbers(self, Py_ssize_t lo, Py_ssize_t body, Py_ssize_t hi) except -1 nogil
    cdef int header(self, Py_ssize_t lo, Py_ssize_t hi) except -1 nogil
    cdef int display(self, Py_ssize_t lo, Py_ssize_t hi) except -1 nogil
    cdef int values(self, Py_ssize_t lo, Py_ssize_t hi) except -1 nogil
    cdef Py_ssize_t quoted(self, Py_ssize_t at, Py_ssize_t hi) except -1 nogil
    cdef int credentials(self, Py_ssize_t lo, Py_ssize_t hi) except -1 nogil
    cdef int uris(self, Py_ssize_t lo, Py_ssize_t hi, bint whole) except -1 nogil
    cdef int scheme(self, Py_ssize_t lo, Py_ssize_t colon) except -1 nogil
    cdef Py_ssize_t sip_uri(self, Py_ssize_t at, Py_ssize_t hi, bint bracketed) except -1 nogil
    cdef Py_ssize_t tel_uri(self, Py_ssize_t at, Py_ssize_t hi) except -1 nogil
    cdef bint begins(self, Py_ssize_t lo, Py_ssize_t hi, Py_ssize_t name) except -1 nogil
    cdef int sdp(self, Py_ssize_t lo, Py_ssize_t hi) except -1 nogil
    cdef int sdp_line(self, Py_ssize_t lo, Py_ssize_t hi) except -1 nogil
