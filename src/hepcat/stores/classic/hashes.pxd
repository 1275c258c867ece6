# C types of the hash kernel; hashes.py holds the code and runs without this file.
cimport cython

cdef int _hash_all(
    const unsigned char[::1] buffer, const long long[::1] start, const unsigned short[:, :, ::1] fields,
    Py_ssize_t field, const long long[::1] rows, const unsigned int[::1] table, unsigned int[::1] out
) except -1
