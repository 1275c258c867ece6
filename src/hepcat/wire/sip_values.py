"""Kernel: what stands within the values of SIP headers: addresses, URIs, parameters.

In: octets, and where a value begins and ends (sip_headers.py finds that). Out: attributes of `SipValues`:
where the parts of the value that was read last begin and end. What can go wrong: hostile octets never raise;
a function says whether its value is sound, and what could be read is there all the same.

Choices that RFC 3261 leaves open, or that a capture system makes otherwise than a proxy:
- Hosts keep the brackets of an IPv6 reference.
- User parts end at : or @ (section 19.1.1), those of tel URIs at the first parameter (RFC 3966). Other
  schemes (urn, http) have neither user nor host.
"""

import cython

if not cython.compiled:  # sip_values.pxd cimports them
    # fmt: off
    from hepcat.wire.sip_codes import (  # noqa: I001
        AT, BACKSLASH, CLOSE_BRACKET, COLON, COMMA, EQUALS, GREATER, LESS, OPEN_BRACKET, QUESTION, QUOTE,
        SCHEME_OTHER, SCHEME_SIP, SCHEME_TEL, SCHEME_WRONG, SEMICOLON,
    )
    # fmt: on
    from hepcat.wire.sip_headers import SipHeaders

#: Sets of octets below 64, as bits.
#: What ends a host: controls, space, quote, comma and : ; < = > ?
HOST_ENDS = cython.declare(cython.ulonglong, (1 << 33) - 1 | 1 << 34 | 1 << 44 | 63 << 58)
#: What ends a parameter's value: controls, space, comma and ;
VALUE_ENDS = cython.declare(cython.ulonglong, (1 << 33) - 1 | 1 << 44 | 1 << 59)
#: What a scan over parameters stops at: quote, comma, ; and <
PARAM_STOPS = cython.declare(cython.ulonglong, 1 << 34 | 1 << 44 | 1 << 59 | 1 << 60)
#: What a scan for the URI of an address stops at: also :
ADDRESS_STOPS = cython.declare(cython.ulonglong, 1 << 34 | 1 << 44 | 1 << 58 | 1 << 59 | 1 << 60)


class SipValues(SipHeaders):
    """Reads one value at a time. Positions are those of the buffer."""

    # ---- addresses

    def _parse_address(self, lo: cython.Py_ssize_t, hi: cython.Py_ssize_t) -> cython.bint:
        """Find URI and parameters of the first name-addr or addr-spec (RFC 3261 section 20.10).

        Sets uri_lo, uri_hi and params_lo; says whether brackets and quotes are closed. Without
        brackets the URI ends at the first ; or , behind its scheme: what follows is the header's.
        """
        pos: cython.Py_ssize_t = lo
        octet: cython.int
        sound: cython.bint = True
        scheme: cython.bint = False
        while pos < hi:
            octet = self._at(pos)
            if octet > QUESTION or not (ADDRESS_STOPS >> octet) & 1:
                pos += 1
                continue
            if octet == QUOTE:
                pos = self._quoted(pos, hi)
                if pos > hi:  # not closed: whatever stands in <> is the best guess
                    sound = False
                    pos = self._find(LESS, lo, hi)
                continue
            if octet == LESS:
                self.uri_lo = self._skip_space(pos + 1, hi)
                pos = self._find(GREATER, self.uri_lo, hi)
                self.uri_hi = self._trim(self.uri_lo, pos)
                self.params_lo = pos + 1 if pos < hi else hi
                return sound and pos < hi
            if octet == COLON:
                scheme = True
            elif scheme:  # ; or ,
                break
            pos += 1
        self.uri_lo = lo
        self.uri_hi = self._trim(lo, pos)
        self.params_lo = pos
        return sound

    def _scheme(self, lo: cython.Py_ssize_t, colon: cython.Py_ssize_t) -> cython.int:
        """What kind of URI it is, by its scheme."""
        size: cython.Py_ssize_t = colon - lo
        if size < 1:
            return SCHEME_WRONG
        a: cython.int = self._at(lo) | 0x20
        if size == 3 or size == 4:
            b: cython.int = self._at(lo + 1) | 0x20
            c: cython.int = self._at(lo + 2) | 0x20
            if a == 115 and b == 105 and c == 112:
                if size == 3 or (self._at(lo + 3) | 0x20) == 115:
                    return SCHEME_SIP  # sip, sips
            elif size == 3 and a == 116 and b == 101 and c == 108:
                return SCHEME_TEL  # tel, RFC 3966
            elif size == 4 and a == 112 and b == 114 and c == 101 and (self._at(lo + 3) | 0x20) == 115:
                return SCHEME_SIP  # pres, RFC 3859: user@host as well
        elif size == 2 and a == 105 and (self._at(lo + 1) | 0x20) == 109:
            return SCHEME_SIP  # im, RFC 3860
        return SCHEME_OTHER if 97 <= a <= 122 and self._is_token(lo, colon) else SCHEME_WRONG

    def _parse_uri(self, lo: cython.Py_ssize_t, hi: cython.Py_ssize_t) -> cython.bint:
        """Find user, host and port of a URI (RFC 3261 section 19.1.1); says whether it is one."""
        self.user_lo = self.user_hi = self.host_lo = self.host_hi = lo
        self.port = 0
        colon: cython.Py_ssize_t = self._find(COLON, lo, hi)
        if colon == hi:
            return False
        scheme: cython.int = self._scheme(lo, colon)
        pos: cython.Py_ssize_t = colon + 1
        at: cython.Py_ssize_t
        if scheme == SCHEME_SIP:
            at = self._find(AT, pos, hi)
            if at == hi:
                return self._parse_host(pos, hi)
            self.user_lo = pos
            self.user_hi = self._find(COLON, pos, at)  # a password may follow
            return self._parse_host(at + 1, hi) and self.user_hi > pos
        if scheme == SCHEME_TEL:
            self.user_lo = pos
            while pos < hi and self._at(pos) != SEMICOLON and self._at(pos) != QUESTION:
                pos += 1
            self.user_hi = pos
            return self.user_hi > self.user_lo
        return scheme == SCHEME_OTHER and pos < hi

    def _parse_host(self, pos: cython.Py_ssize_t, hi: cython.Py_ssize_t) -> cython.bint:
        """Find host and port (RFC 3261 section 25.1, hostport)."""
        octet: cython.int = 0
        self.host_lo = self.host_hi = pos
        if pos < hi and self._at(pos) == OPEN_BRACKET:
            pos = self._find(CLOSE_BRACKET, pos, hi)
            if pos == hi:
                return False
            pos += 1
            if pos < hi:
                octet = self._at(pos)
        else:
            while pos < hi:
                octet = self._at(pos)
                if octet <= AT and (octet == AT or (HOST_ENDS >> octet) & 1):
                    break
                pos += 1
        self.host_hi = pos
        if pos == self.host_lo:
            return False
        if pos == hi or octet == SEMICOLON or octet == QUESTION:  # noqa: SIM109
            return True
        if octet != COLON:
            return False
        lo: cython.Py_ssize_t = pos + 1
        pos = lo
        while pos < hi and self._at(pos) != SEMICOLON and self._at(pos) != QUESTION:
            pos += 1
        port: cython.Py_ssize_t = self._number(lo, pos)
        if port < 1 or port > 65535:
            return False
        self.port = cython.cast(cython.int, port)
        return True

    # ---- parameters

    def _parse_params(
        self,
        pos: cython.Py_ssize_t,
        hi: cython.Py_ssize_t,
        name: cython.Py_ssize_t,
        size: cython.Py_ssize_t,
    ) -> cython.Py_ssize_t:
        """Go to the end of the value at pos (its comma, or hi), noting the first parameter of that name.

        Sets value_lo and value_hi, both 0 where it is not there. Size 0: no parameter is looked for.
        """
        octet: cython.int
        self.value_lo = self.value_hi = 0
        while pos < hi:
            octet = self._at(pos)
            if octet > QUESTION or not (PARAM_STOPS >> octet) & 1:
                pos += 1
                continue
            if octet == SEMICOLON and size > 0 and self.value_hi == 0:
                pos = self._parse_param(self._skip_space(pos + 1, hi), hi, name, size)
                continue
            if octet == QUOTE:
                pos = self._quoted(pos, hi)
                continue
            if octet == LESS:
                pos = self._find(GREATER, pos, hi)
            elif octet == COMMA:
                return pos
            pos += 1
        return hi

    def _parse_param(
        self,
        pos: cython.Py_ssize_t,
        hi: cython.Py_ssize_t,
        name: cython.Py_ssize_t,
        size: cython.Py_ssize_t,
    ) -> cython.Py_ssize_t:
        """Take the value if the parameter at pos has that name; where to go on."""
        if hi - pos <= size or not self._same(pos, name, size):
            return pos
        after: cython.Py_ssize_t = self._skip_space(pos + size, hi)
        if after >= hi or self._at(after) != EQUALS:
            return pos
        pos = self._skip_space(after + 1, hi)
        if pos >= hi:
            return hi
        self.value_lo = pos
        if self._at(pos) == QUOTE:
            after = self._quoted(pos, hi)
            self.value_lo = pos + 1
            self.value_hi = after - 1
            return after
        while pos < hi:
            octet: cython.int = self._at(pos)
            if octet <= SEMICOLON and (VALUE_ENDS >> octet) & 1:
                break
            pos += 1
        self.value_hi = pos
        return pos

    def _quoted(self, pos: cython.Py_ssize_t, hi: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """The octet after the quoted string that begins at pos; hi + 1 where it does not end."""
        pos += 1
        while pos < hi:
            if self._at(pos) == QUOTE:
                return pos + 1
            pos += 2 if self._at(pos) == BACKSLASH else 1
        return hi + 1
