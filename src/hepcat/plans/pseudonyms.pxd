# C types of the pseudonym kernel; pseudonyms.py holds the code and runs without this file.
cimport cython

# As in octets.py.
cdef inline bint is_digit(int octet) noexcept nogil:
    return 48 <= octet <= 57

cdef inline bint is_alnum(int octet) noexcept nogil:
    return 48 <= octet <= 57 or 65 <= octet <= 90 or 97 <= octet <= 122

cdef inline int hex_value(int octet) noexcept nogil:
    if 48 <= octet <= 57:
        return octet - 48
    octet |= 0x20
    return octet - 87 if 97 <= octet <= 102 else -1

cdef class Pseudonyms:
    cdef unsigned char[::1] data
    cdef const unsigned char[::1] kept
    cdef unsigned long long key0, key1, v0, v1, v2, v3, state
    cdef long long[::1] group_at, group_digits, group_value
    cdef unsigned char[::1] octets
    cdef Py_ssize_t after
    cpdef int run_text(
        self, const long long[::1] at, const long long[::1] size, const unsigned char[::1] mask
    ) except -1
    cpdef int run_columns(self, unsigned char[:, ::1] address, const unsigned char[::1] mask) except -1
    cdef int hash_round(self) noexcept nogil
    cdef int hash_begin(self) noexcept nogil
    cdef int hash_word(self, unsigned long long word) noexcept nogil
    cdef int hash_end(self, unsigned long long word) noexcept nogil
    cdef int hash_token(self, Py_ssize_t lo, Py_ssize_t hi) except -1 nogil
    cdef int hash_octets(self, Py_ssize_t count) except -1 nogil
    cdef unsigned long long draw(self, unsigned long long bound) noexcept nogil
    cdef bint is_kept(self, Py_ssize_t lo, Py_ssize_t hi) except -1 nogil
    cdef int scramble(self, Py_ssize_t lo, Py_ssize_t hi) except -1 nogil
    cdef int digit_runs(self, Py_ssize_t lo, Py_ssize_t hi) except -1 nogil
    cdef int addresses(self, Py_ssize_t lo, Py_ssize_t hi) except -1 nogil
    cdef Py_ssize_t last_octet(self, Py_ssize_t lo, Py_ssize_t hi) except -1 nogil
    cdef bint ipv4(self, Py_ssize_t lo, Py_ssize_t hi) except -1 nogil
    cdef int put_ipv4(self) except -1 nogil
    cdef bint ipv6(self, Py_ssize_t lo, Py_ssize_t hi) except -1 nogil
    cdef int put_ipv6(self, Py_ssize_t count, Py_ssize_t gap) except -1 nogil
    cdef bint mapped_address(self, Py_ssize_t lo, Py_ssize_t hi, Py_ssize_t count, Py_ssize_t gap) except -1 nogil
    cdef int new_ipv4(self) except -1 nogil
    cdef int new_ipv6(self) except -1 nogil
