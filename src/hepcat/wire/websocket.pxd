# C types of the WebSocket kernel; websocket.py holds the code and runs without this file.
cimport cython

from hepcat.wire.messages cimport Messages, PREFIX

cdef extern from *:
    """
    #include <string.h>
    /* The caller checked all ranges but the key's, whose room is given. */
    static inline void xor_octets(
        unsigned char *out, const unsigned char *in, Py_ssize_t n, const unsigned char *key, int phase,
        Py_ssize_t key_room)
    {
        unsigned char turned[8];
        unsigned long long mask, word;
        Py_ssize_t i;
        if (key_room < 4) return;
        for (i = 0; i < 8; i++) turned[i] = key[(phase + i) & 3];
        memcpy(&mask, turned, 8);
        for (i = 0; i + 8 <= n; i += 8) {
            memcpy(&word, in + i, 8);
            word ^= mask;
            memcpy(out + i, &word, 8);
        }
        for (; i < n; i++) out[i] = in[i] ^ turned[i & 7];
    }
    """
    void xor_octets(
        unsigned char *out, const unsigned char *octets, Py_ssize_t n, const unsigned char *key, int phase,
        Py_ssize_t key_room
    ) noexcept nogil

# The numbers of websocket.py.
cdef enum:
    NO = 0
    YES = 1
    MORE = 2
    FRAME_HEAD = 0
    FRAME_DATA = 1
    FRAME_CONTROL = 2
    FRAME_SKIP = 3
    FRAME_LOST = 4

cdef class WebSocketFrames(Messages):
    cdef unsigned char[::1] frame
    cdef long long[::1] frame_left
    cdef unsigned char[::1] frame_fin
    cdef signed char[::1] mask_phase
    cdef unsigned char[::1] message
    cdef unsigned char[::1] takeover
    cdef const long long[::1] beginnings

    cdef int begin_frames(self, int flow, int marks) except -1 nogil
    cdef int lose_frames(self, int flow) except -1 nogil
    cdef int looks_like_frame(self, long long lo, long long hi, bint known) except -1 nogil
    cdef int looks_like_sip(
        self, long long lo, long long hi, long long size, long long key, bint whole
    ) except -1 nogil
    cdef inline Py_ssize_t header_size(self, int second) noexcept nogil
    cdef Py_ssize_t payload_size(self, int second, long long at) except -2 nogil
    cdef Py_ssize_t prefix_payload_size(self, Py_ssize_t at) except -2 nogil
    cdef Py_ssize_t read_frames(self, long long pos, long long end) except -2 nogil
    cdef bint is_full(self) except -1 nogil
    cdef Py_ssize_t read_header(self, long long pos, long long end) except -2 nogil
    cdef int act_on_header(self, Py_ssize_t at, Py_ssize_t n) except -1 nogil
    cdef int break_off(self, int reason) except -1 nogil
    cdef int begin_data(self, int kind, int first) except -1 nogil
    cdef int take_payload(self, long long pos, long long size) except -1 nogil
    cdef int unmask(self, long long pos, long long size, int phase) except -1 nogil
    cdef int end_frame(self) except -1 nogil
    cdef int end_message(self, int area, long long offset, long long length) except -1 nogil
