# C types of the BPF machine; bpf.py holds the code and runs without this file.
cimport cython

cdef class BpfProgram:
    cdef const int[::1] code
    cdef const unsigned int[::1] k
    cdef const int[::1] when
    cdef const int[::1] otherwise
    cdef bint has_memory
    cdef readonly int length

cdef class Machine:
    cdef const int[::1] code
    cdef const unsigned int[::1] k
    cdef const int[::1] when
    cdef const int[::1] otherwise
    cdef bint has_memory
    cdef unsigned int[::1] memory
    cdef const unsigned char[::1] data
    cdef const long long[::1] offset
    cdef const long long[::1] captured
    cdef const long long[::1] original
    cdef const long long[::1] link
    cdef const long long[::1] vlan
    cdef unsigned char[::1] out

    cpdef Py_ssize_t run(self, Py_ssize_t count) except -1
    cdef inline unsigned long long octets(self, long long at, int size) except? 7 nogil
    cdef int protocol(self, Py_ssize_t i) except -1 nogil
    cdef bint accepts(self, Py_ssize_t i) except -1 nogil
