# C types of the reader of RTCP packets; rtcp_packets.py holds the code and runs without this file.
cimport cython

# The numbers of rtcp_packets.py.
cdef enum:
    SR = 200
    RR = 201
    SDES = 202
    BYE = 203
    APP = 204
    XR = 207

cdef class Packets:
    cdef const unsigned char[::1] data
    cdef Py_ssize_t begin
    cdef Py_ssize_t end

    cpdef int run_mask(
        self, const long long[::1] offset, const long long[::1] length, const unsigned char[::1] malformed,
        unsigned char[::1] out, int low, int high, bint rtp
    ) except -1
    cpdef int run_xr(
        self, const long long[::1] offset, const long long[::1] length, unsigned char[::1] out
    ) except -1
    cdef inline int is_rtcp(
        self, Py_ssize_t at, Py_ssize_t size, bint cut, int low, int high, bint rtp
    ) except -1 nogil
    cdef inline int is_rtp(self, Py_ssize_t at, Py_ssize_t size) except -1 nogil
    cdef inline Py_ssize_t least(self, int kind, int count) except -1 nogil
    cdef inline int be16(self, Py_ssize_t at) except -1 nogil
    cdef inline Py_ssize_t packet_end(self, Py_ssize_t at) except? -2 nogil
    cdef Py_ssize_t find(self, Py_ssize_t at, int low, int high) except? -2 nogil
    cdef Py_ssize_t find_next(self, Py_ssize_t at, int low, int high) except? -2 nogil
    cdef bint is_encrypted(self) except -1 nogil
