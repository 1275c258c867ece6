# C types of the media table; media.py holds the code and runs without this file.
cimport cython

from hepcat.wire.hep cimport copy_octets
from hepcat.wire.media_sdp cimport SdpReader

@cython.final
cdef class MediaTable:
    # the table: one row an address
    cdef unsigned long long[::1] hi
    cdef unsigned long long[::1] lo
    cdef unsigned short[::1] port
    cdef unsigned char[::1] kind
    cdef long long[::1] used
    cdef long long[::1] where
    cdef unsigned short[::1] size
    cdef Py_ssize_t mask
    cdef unsigned long long seed
    cdef long long timeout
    cdef bint nat
    # Call-IDs
    cdef unsigned char[::1] ring
    cdef Py_ssize_t span
    cdef Py_ssize_t head
    # the batch and the message at hand
    cdef const unsigned char[::1] data
    cdef long long now
    cdef Py_ssize_t call_at
    cdef Py_ssize_t call_size
    cdef Py_ssize_t copy_at
    cdef unsigned long long word_hi
    cdef unsigned long long word_lo
    cdef SdpReader sdp

    cdef inline Py_ssize_t slot_of(self, int port) except -1 nogil
    cdef inline bint is_live(self, Py_ssize_t slot) except -1 nogil
    cdef inline bint is_key(self, Py_ssize_t slot, int port) except -1 nogil
    cdef Py_ssize_t look_up(self, int port) except? -2 nogil
    cdef Py_ssize_t place_for(self, int port) except -1 nogil
    cdef inline bint is_usable(self, int port) except -1 nogil
    cdef bint is_same_call(self, Py_ssize_t slot) except -1 nogil
    cdef int add(self, int port, int kind) except -1 nogil
    cdef int write(self, Py_ssize_t slot, int port, int kind, Py_ssize_t where, Py_ssize_t size) except -1 nogil
    cdef Py_ssize_t append(self, const unsigned char[::1] data, Py_ssize_t at, Py_ssize_t size) except -1 nogil
    cdef int use(self, Py_ssize_t slot) except -1 nogil
    cdef inline int read_words(self, const unsigned char[::1] address, Py_ssize_t at) except -1 nogil
    cdef Py_ssize_t find_rows(
        self, Py_ssize_t now, const unsigned char[::1] src, const unsigned char[::1] dst,
        const unsigned short[::1] src_port, const unsigned short[::1] dst_port,
        unsigned char[::1] out, long long[::1] offset, long long[::1] length
    ) except -1
    cdef Py_ssize_t find_row(
        self, const unsigned char[::1] src, const unsigned char[::1] dst,
        int src_port, int dst_port, Py_ssize_t at
    ) except? -2 nogil
    cdef int learn_rows(
        self, const unsigned char[::1] data, Py_ssize_t now, const unsigned char[::1] sip, const unsigned char[::1] response,
        const unsigned char[::1] src,
        const long long[::1] call_at, const long long[::1] call_size,
        const long long[::1] body_at, const long long[::1] body_size,
        const long long[::1] type_at, const long long[::1] type_size,
        unsigned char[::1] out
    ) except -1
    cdef int learn_places(self, const unsigned char[::1] src, Py_ssize_t at) except -1 nogil
