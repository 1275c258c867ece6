"""Numbers that the SIP index compiles in. sip_codes.pxd repeats them as an enum; a test holds both alike.

In: the schema and the header names. Out: constants; nothing can go wrong.
"""

from hepcat.batch import schema
from hepcat.batch.schema import FIELD_INDEX, MALFORMED
from hepcat.wire.sip_names import BRANCH_AT as BRANCH_AT
from hepcat.wire.sip_names import NUMBERED, SLOTS
from hepcat.wire.sip_names import TAG_AT as TAG_AT
from hepcat.wire.sip_names import USERNAME_AT as USERNAME_AT

# Octets.
NUL = 0
TAB = 9
LF = 10
CR = 13
SPACE = 32
QUOTE = 34
STAR = 42
COMMA = 44
DOT = 46
SLASH = 47
COLON = 58
SEMICOLON = 59
LESS = 60
EQUALS = 61
GREATER = 62
QUESTION = 63
AT = 64
OPEN_BRACKET = 91
BACKSLASH = 92
CLOSE_BRACKET = 93

# What a start line is.
NEITHER = 0
REQUEST = schema.FLAG_REQUEST
RESPONSE = schema.FLAG_RESPONSE

FOLDED = schema.FLAG_FOLDED
KEEPALIVE = schema.FLAG_KEEPALIVE
STUN = schema.FLAG_STUN
NOT_SIP = schema.FLAG_NOT_SIP

# Codes of `malformed`.
START_LINE = MALFORMED.index("start_line")
HEADER_LINE = MALFORMED.index("header_line")
NO_HEADER_END = MALFORMED.index("no_header_end")
TOO_MANY_HEADERS = MALFORMED.index("too_many_headers")
CALL_ID_MISSING = MALFORMED.index("call_id_missing")
CSEQ_MISSING = MALFORMED.index("cseq_missing")
CSEQ_WRONG = MALFORMED.index("cseq")
FROM_MISSING = MALFORMED.index("from_missing")
TO_MISSING = MALFORMED.index("to_missing")
VIA_MISSING = MALFORMED.index("via_missing")
CONTENT_LENGTH_WRONG = MALFORMED.index("content_length")
BODY_SHORT = MALFORMED.index("body_short")
URI_WRONG = MALFORMED.index("uri")
TRUNCATED = MALFORMED.index("truncated")
OVERSIZE = MALFORMED.index("oversize")

# Header numbers.
VIA = NUMBERED.index("via")
FROM = NUMBERED.index("from")
TO = NUMBERED.index("to")
CONTACT = NUMBERED.index("contact")
ASSERTED = NUMBERED.index("p-asserted-identity")
PREFERRED = NUMBERED.index("p-preferred-identity")
REMOTE_PARTY = NUMBERED.index("remote-party-id")
PROXY_AUTHORIZATION = NUMBERED.index("proxy-authorization")
AUTHORIZATION = NUMBERED.index("authorization")
EXPIRES = NUMBERED.index("expires")
CONTENT_LENGTH = NUMBERED.index("content-length")
DIVERSION = NUMBERED.index("diversion")
CSEQ = NUMBERED.index("cseq")
CALL_ID = NUMBERED.index("call-id")

# Fields.
F_METHOD = FIELD_INDEX["method"]
F_PHRASE = FIELD_INDEX["reason_phrase"]
F_RURI = FIELD_INDEX["ruri"]
F_FROM = FIELD_INDEX["from_user"]
F_TO = FIELD_INDEX["to_user"]
F_VIA = FIELD_INDEX["via_1"]
F_PID = FIELD_INDEX["pid_user"]
F_CONTACT = FIELD_INDEX["contact_user"]
F_AUTH = FIELD_INDEX["auth_user"]
F_DIVERSION = FIELD_INDEX["diversion"]
F_BODY = FIELD_INDEX["body"]
F_TAGS = FIELD_INDEX["tags"]  # not SIP: left as it is

SIP = schema.HEP_SIP
LONGEST = schema.MAX_RECORD
SLOT_MASK = SLOTS - 1

#: Bounds on what is read of one message.
MAX_HEADERS = 256  # header lines; a folded header counts as one
JUNK_LINES = 8  # lines before the start line
LONGEST_METHOD = 64
#: What `_number` returns where there is none.
NO_NUMBER = -2

# What `_scheme` says.
SCHEME_WRONG = 0
SCHEME_SIP = 1
SCHEME_TEL = 2
SCHEME_OTHER = 3
