# C types of the SIP values; sip_values.py holds the code and runs without this file.
cimport cython

from hepcat.wire.sip_codes cimport *
from hepcat.wire.sip_headers cimport SipHeaders

cdef class SipValues(SipHeaders):
    # what the parse functions found last
    cdef Py_ssize_t params_lo
    cdef Py_ssize_t user_lo, user_hi
    cdef Py_ssize_t host_lo, host_hi
    cdef int port
    cdef Py_ssize_t value_lo, value_hi

    cdef bint _parse_address(self, Py_ssize_t lo, Py_ssize_t hi) except -1 nogil
    cdef inline int _scheme(self, Py_ssize_t lo, Py_ssize_t colon) except -1 nogil
    cdef bint _parse_uri(self, Py_ssize_t lo, Py_ssize_t hi) except -1 nogil
    cdef inline bint _parse_host(self, Py_ssize_t pos, Py_ssize_t hi) except -1 nogil
    cdef Py_ssize_t _parse_params(
        self, Py_ssize_t pos, Py_ssize_t hi, Py_ssize_t name, Py_ssize_t size
    ) except -1 nogil
    # not inline: measured, it slows the loop that calls it
    cdef Py_ssize_t _parse_param(
        self, Py_ssize_t pos, Py_ssize_t hi, Py_ssize_t name, Py_ssize_t size
    ) except -1 nogil
    cdef Py_ssize_t _quoted(self, Py_ssize_t pos, Py_ssize_t hi) except -1 nogil
