# C types of the capture file reader; pcap.py holds the code and runs without this file.
cimport cython
from libc.stdint cimport int64_t

@cython.final
cdef class PcapReader:
    cdef readonly int status
    cdef readonly int reason
    cdef readonly long long position
    cdef int kind
    cdef bint swapped
    cdef bint nano
    cdef long long header
    cdef long long link
    cdef long long interfaces
    cdef long long[::1] table
    # what the current call works on
    cdef const unsigned char[::1] data
    cdef long long size
    cdef long long room
    cdef long long count
    cdef long long[::1] offset
    cdef long long[::1] captured
    cdef long long[::1] original
    cdef long long[::1] ts
    cdef long long[::1] links

    cdef int parse_records(self) except -1 nogil
    cdef int damaged(self, int reason) except -1 nogil
    cdef inline int64_t u32(self, long long at) except -1 nogil
    cdef inline int64_t u16(self, long long at) except -1 nogil
    cdef int parse_magic(self) except -1 nogil
    cdef int parse_pcap(self) except -1 nogil
    cdef inline int add(
        self, long long offset, long long captured, long long original, long long ts, long long link
    ) except -1 nogil
    cdef int parse_pcapng(self) except -1 nogil
    cdef int section_order(self, long long at) except -1 nogil
    cdef int parse_block(self, long long kind, long long at, long long length) except -1 nogil
    cdef int parse_packet(self, long long at, long long length, long long row) except -1 nogil
    cdef int parse_simple(self, long long at, long long length) except -1 nogil
    cdef int parse_interface(self, long long at, long long length) except -1 nogil
    cdef int parse_options(self, long long at, long long end, long long row) except -1 nogil
    cdef int64_t time_of(self, long long high, long long low, long long row) except -1 nogil
    cdef unsigned long long time_of_binary(self, unsigned long long ticks, long long exponent) noexcept nogil
