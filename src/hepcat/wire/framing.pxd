# C types of the framer; framing.py holds the code and runs without this file.
cimport cython

from hepcat.wire.lines cimport BEHIND_HOLE, FIRST_LINE, LineReader, SKIP, START
from hepcat.wire.messages cimport PREFIX
from hepcat.wire.websocket cimport FRAME_LOST, MORE, NO, YES

# The numbers of framing.py.
cdef enum:
    DIAMETER_HEAD = 0
    DIAMETER_BODY = 1
    DIAMETER_SKIP = 2
    DIAMETER_LOST = 3

@cython.final
cdef class FlowReader(LineReader):
    cdef unsigned char[::1] fresh
    cdef unsigned char[::1] diameter
    cdef public long long resume
    cdef int found

    cpdef int classify_all(self, Py_ssize_t n) except -1
    cdef int classify_one(self, long long row) except -1 nogil
    cpdef Py_ssize_t run(self, Py_ssize_t first, Py_ssize_t n) except -1
    cdef Py_ssize_t read_stretch(self, long long row, long long resume) except -2 nogil
    cdef Py_ssize_t read_octets(self, int flow, long long pos, long long end) except -2 nogil
    cdef bint is_open(self, int flow) except -1 nogil
    cdef Py_ssize_t decide(self, int flow, long long pos, long long end) except -2 nogil
    cdef int look(self, int flow, long long lo, long long hi) except -1 nogil
    cdef Py_ssize_t act_on_look(self, int flow, int verdict, long long pos, long long end) except -2 nogil
    cdef bint looks_like_tls(self, long long lo, long long hi) except -1 nogil
    cdef int looks_like_diameter(self, long long lo, long long hi) except -1 nogil
    cdef Py_ssize_t diameter_size(self, long long at) except -2 nogil
    cdef int find_again(self, int flow) except -1 nogil
    cdef int give_up(self, int flow) except -1 nogil
    cdef int end_flow(self, int flow) except -1 nogil
    cdef Py_ssize_t read_diameter(self, long long pos, long long end) except -2 nogil
    cdef Py_ssize_t read_diameter_head(self, int flow, long long pos, long long end) except -2 nogil
