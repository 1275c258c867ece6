# C types of the reader of SDP; media_sdp.py holds the code and runs without this file.
cimport cython

@cython.final
cdef class SdpReader:
    cdef const unsigned char[::1] data
    # the places found
    cdef unsigned long long[::1] hi
    cdef unsigned long long[::1] lo
    cdef unsigned char[::1] has_address
    cdef int[::1] port
    cdef unsigned char[::1] said
    cdef Py_ssize_t count
    # the message at hand
    cdef bint answer
    cdef bint in_sdp
    cdef int sections
    cdef bint session_ok
    cdef unsigned long long session_hi
    cdef unsigned long long session_lo
    cdef int media
    cdef int ports
    cdef bint media_ok
    cdef unsigned long long media_hi
    cdef unsigned long long media_lo
    cdef bint mux
    cdef int rtcp_port
    cdef bint rtcp_ok
    cdef unsigned long long rtcp_hi
    cdef unsigned long long rtcp_lo
    # what was read last
    cdef unsigned long long word_hi
    cdef unsigned long long word_lo
    cdef Py_ssize_t number_end

    cdef bint may_hold_sdp(self, Py_ssize_t at, Py_ssize_t size) except -1 nogil
    cdef int read_sdp(self, Py_ssize_t at, Py_ssize_t end, bint answer) except -1 nogil
    cdef int read_line(self, int kind, Py_ssize_t at, Py_ssize_t end) except -1 nogil
    cdef int begin_media(self, Py_ssize_t at, Py_ssize_t end) except -1 nogil
    cdef int read_attribute(self, Py_ssize_t at, Py_ssize_t end) except -1 nogil
    cdef int end_media(self) except -1 nogil
    cdef int add(self, int port, bint said) except -1 nogil
    cdef Py_ssize_t skip_word(self, Py_ssize_t at, Py_ssize_t end) except -1 nogil
    cdef int read_number(self, Py_ssize_t at, Py_ssize_t end) except -1 nogil
    cdef bint read_address(self, Py_ssize_t at, Py_ssize_t end) except -1 nogil
    cdef bint read_ipv4(self, Py_ssize_t at, Py_ssize_t end) except -1 nogil
    cdef bint read_ipv6(self, Py_ssize_t at, Py_ssize_t end) except -1 nogil
    cdef inline int hex_value(self, int octet) except? -2 nogil
