# C types of the frame decoder; frames.py holds the code and runs without this file.
cimport cython

from hepcat.wire.tunnels cimport TunnelHeaders

@cython.final
cdef class FrameDecoder(TunnelHeaders):
    # in
    cdef const long long[::1] frame_offset
    cdef const long long[::1] frame_captured
    cdef const long long[::1] frame_original
    cdef const long long[::1] frame_ts
    cdef const long long[::1] frame_link
    cdef const long long[::1] frame_tag
    cdef long long[::1] drops
    cdef long long[::1] chunk_drops
    # what was chosen
    cdef int want
    cdef Py_ssize_t need

    cdef inline int be16(self, long long at) except -1 nogil
    cdef inline Py_ssize_t be32(self, long long at) except -1 nogil
    cdef Py_ssize_t parse_all(self, Py_ssize_t first, Py_ssize_t count) except -1 nogil
    cdef int parse_frame(self, Py_ssize_t i) except -1 nogil
    cdef int parse_ethernet(self, long long at) except -1 nogil
    cdef int parse_ethertype(self, int kind, long long at) except -1 nogil
    cdef int carry(self) except -1 nogil
    cdef int enter(self, long long inner_end) except -1 nogil
    cdef int enter_ip(self, int kind, long long at, long long inner_end) except -1 nogil
    cdef int parse_ip(self, long long at) except -1 nogil
    cdef int parse_ipv4(self, long long at) except -1 nogil
    cdef int parse_ipv6(self, long long at) except -1 nogil
    cdef int parse_extensions(self, int kind, long long at, long long ip_end) except -1 nogil
    cdef int add_fragment(
        self, int protocol, long long identification, int part, long long at, long long ip_end
    ) except -1 nogil
    cdef int parse_transport(self, int protocol, long long at, long long ip_end) except -1 nogil
    cdef int parse_udp(self, long long at, long long ip_end) except -1 nogil
    cdef int parse_tcp(self, long long at, long long ip_end) except -1 nogil
    cdef int parse_sctp(self, long long at, long long ip_end) except -1 nogil
    cdef int parse_chunk(
        self, long long ports, long long at, long long end, Py_ssize_t first
    ) except -1 nogil
