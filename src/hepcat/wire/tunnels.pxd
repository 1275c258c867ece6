# C types of the tunnel headers; tunnels.py holds the code and runs without this file.
cimport cython

from hepcat.wire.links cimport LinkHeaders

cdef class TunnelHeaders(LinkHeaders):
    # tunnels that are opened, TUNNEL_ bits
    cdef int opened

    cdef int read_gre(self, long long at, long long ip_end) except -1 nogil
    @cython.final
    cdef int read_erspan2(self, long long at, bint sequence) except -1 nogil
    @cython.final
    cdef int read_erspan3(self, long long at) except -1 nogil
    cdef int read_udp_tunnel(self, int port, long long at, long long payload_end) except -1 nogil
    @cython.final
    cdef int read_vxlan(self, long long at, long long left) except -1 nogil
    @cython.final
    cdef int read_geneve(self, long long at, long long left) except -1 nogil
    @cython.final
    cdef int read_gtpu(self, long long at, long long payload_end) except -1 nogil
    @cython.final
    cdef int read_hperm(self, long long at, long long left) except -1 nogil
    cdef int read_tzsp(self, long long at, long long end) except -1 nogil
