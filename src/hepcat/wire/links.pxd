# C types of the link headers; links.py holds the code and runs without this file.
cimport cython

from hepcat.wire.rows cimport RowWriter

cdef class LinkHeaders(RowWriter):
    # the frame ends here on the wire
    cdef long long wire_end
    # what the header that was read last is followed by
    cdef long long inner_at
    cdef int inner_kind
    cdef int inner_vlan

    @cython.final
    cdef int u16(self, long long at) except -1 nogil
    cdef int found(self, int kind, long long at, int vlan) except -1 nogil
    cdef bint is_carried(self, long long at) except -1 nogil
    cdef int read_link(self, long long link, long long at) except -1 nogil
    cdef int read_carrier(self, int kind, long long at) except -1 nogil
    cdef int read_shim(self, int kind, long long at) except -1 nogil
    cdef int read_ppp(self, long long at) except -1 nogil
    @cython.final
    cdef int read_pppoe(self, long long at) except -1 nogil
    @cython.final
    cdef int read_mpls(self, long long at) except -1 nogil
    @cython.final
    cdef int read_loopback(self, long long at) except -1 nogil
    @cython.final
    cdef int read_pseudowire(self, long long at) except -1 nogil
