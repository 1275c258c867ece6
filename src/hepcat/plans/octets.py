"""Kinds of octets, for kernels that run uncompiled; compiled, pseudonyms.pxd has the same inline.

In: an octet as a number. Out: what it is in ASCII.
"""


def is_digit(octet: int) -> bool:
    """Tell a decimal digit."""
    return 48 <= octet <= 57


def is_alnum(octet: int) -> bool:
    """Tell a letter or a digit of ASCII."""
    return 48 <= octet <= 57 or 65 <= octet <= 90 or 97 <= octet <= 122


def hex_value(octet: int) -> int:
    """Return the value of a hexadecimal digit, -1 where it is none."""
    if 48 <= octet <= 57:
        return octet - 48
    octet |= 0x20
    return octet - 87 if 97 <= octet <= 102 else -1
