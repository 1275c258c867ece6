# C types of the SIP index; sip.py holds the code and runs without this file.
cimport cython
from libc.string cimport memset

from hepcat.wire.sip_codes cimport *
from hepcat.wire.sip_values cimport SipValues

@cython.final
cdef class Indexer(SipValues):
    # in
    cdef const long long[::1] start
    cdef const unsigned char[::1] hep_type
    cdef const int[::1] copies
    cdef bint brief
    # out
    cdef unsigned short[::1] fields
    cdef unsigned short[::1] status
    cdef unsigned short[::1] contact_port
    cdef unsigned int[::1] expires
    cdef unsigned char[::1] malformed
    cdef unsigned char[::1] flags
    cdef Py_ssize_t width
    # the record being indexed
    cdef Py_ssize_t base
    cdef Py_ssize_t out
    cdef int flag

    cdef inline int _put(self, Py_ssize_t field, Py_ssize_t lo, Py_ssize_t hi) except -1 nogil
    cdef inline int _clear(self, Py_ssize_t lo, Py_ssize_t hi) except -1 nogil
    cdef int _index_start(self, int kind) except -1 nogil
    cdef int _index_party(self, int header, Py_ssize_t field, int missing) except -1 nogil
    cdef int _index_via(self) except -1 nogil
    cdef int _index_contact(self) except -1 nogil
    cdef int _index_pid(self) except -1 nogil
    cdef int _index_auth(self) except -1 nogil
    cdef int _index_cseq(self) except -1 nogil
    cdef int _index_copies(self) except -1 nogil
    cdef int _index_body(self, Py_ssize_t hi) except -1 nogil
    cdef int _mark_folded(self) except -1 nogil
    cdef int _reset(self, Py_ssize_t row) except -1 nogil
    cdef bint _not_sip(self, Py_ssize_t lo, Py_ssize_t hi) except -1 nogil
    cdef int _index(self, Py_ssize_t row) except -1 nogil
    cdef int _index_message(self, Py_ssize_t row, Py_ssize_t lo, Py_ssize_t hi) except -1 nogil
    cdef int _index_headers(self, Py_ssize_t row) except -1 nogil
    cpdef int run(self, Py_ssize_t first, Py_ssize_t n) except -1
