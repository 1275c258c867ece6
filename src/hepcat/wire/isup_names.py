"""ISUP's names: messages, parameters and the values of their fields, as ITU-T Q.763 and Q.850 have them.

In: nothing. Out: tables for wire/isup.py. No code.
"""

from dataclasses import dataclass
from typing import Final

# Parameter codes (ITU-T Q.763 table 5) that have a form of their own in the JSON.
SUBSEQUENT_NUMBER: Final = 5
NATURE_OF_CONNECTION: Final = 6
FORWARD_CALL: Final = 7
CALLING_CATEGORY: Final = 9
BACKWARD_CALL: Final = 17
CAUSE: Final = 18
USER_SERVICE: Final = 29
EVENT: Final = 36
TRANSMISSION_MEDIUM: Final = 2
HOP_COUNTER: Final = 61
GENERIC_NUMBER: Final = 192


@dataclass(frozen=True, slots=True)
class Message:
    """A message type: fixed parameters (code, octets), variable ones, and whether optional ones follow."""

    name: str
    fixed: tuple[tuple[int, int], ...] = ()
    variable: tuple[int, ...] = ()
    optional: bool = False


_SUPERVISION: Final = ((21, 1),)

#: Message types (ITU-T Q.763 table 4; parts: tables 21 to 50).
MESSAGES: Final[dict[int, Message]] = {
    1: Message("IAM", ((6, 1), (7, 2), (9, 1), (2, 1)), (4,), True),
    2: Message("SAM", (), (5,), True),
    3: Message("INR", ((14, 2),), (), True),
    4: Message("INF", ((15, 2),), (), True),
    5: Message("COT", ((16, 1),)),
    6: Message("ACM", ((17, 2),), (), True),
    7: Message("CON", ((17, 2),), (), True),
    8: Message("FOT", (), (), True),
    9: Message("ANM", (), (), True),
    12: Message("REL", (), (18,), True),
    13: Message("SUS", ((34, 1),), (), True),
    14: Message("RES", ((34, 1),), (), True),
    16: Message("RLC", (), (), True),
    17: Message("CCR"),
    18: Message("RSC"),
    19: Message("BLO"),
    20: Message("UBL"),
    21: Message("BLA"),
    22: Message("UBA"),
    23: Message("GRS", (), (22,)),
    24: Message("CGB", _SUPERVISION, (22,)),
    25: Message("CGU", _SUPERVISION, (22,)),
    26: Message("CGBA", _SUPERVISION, (22,)),
    27: Message("CGUA", _SUPERVISION, (22,)),
    31: Message("FAR", ((24, 1),), (), True),
    32: Message("FAA", ((24, 1),), (), True),
    33: Message("FRJ", ((24, 1),), (18,), True),
    36: Message("LPA"),
    40: Message("PAM"),
    41: Message("GRA", (), (22,)),
    42: Message("CQM", (), (22,)),
    43: Message("CQR", (), (22, 38)),
    44: Message("CPG", ((36, 1),), (), True),
    45: Message("USR", (), (32,), True),
    46: Message("UCIC"),
    47: Message("CFN", (), (18,), True),
    48: Message("OLM"),
    50: Message("NRM", (), (), True),
    51: Message("FAC", (), (), True),
    52: Message("UPT", (), (), True),
    53: Message("UPA", (), (), True),
    54: Message("IDR", (), (), True),
    55: Message("IDS", (), (), True),
    56: Message("SEG", (), (), True),
    64: Message("LPR", (), (), True),
    65: Message("APT", (), (), True),
    66: Message("PRI", (), (), True),
    67: Message("SAN", (), (), True),
}

#: Parameters that are numbers: code -> key in the JSON.
NUMBERS: Final[dict[int, str]] = {
    4: "called_number",
    10: "calling_number",
    11: "redirecting_number",
    12: "redirection_number",
    33: "connected_number",
    40: "original_called_number",
    63: "location_number",
    111: "called_in_number",
    125: "called_directory_number",
    132: "network_routing_number",
    GENERIC_NUMBER: "generic_number",
}
#: What the second octet of a number says, by parameter: routing to an internal network number allowed (INN),
#: number incomplete (NI), presentation restricted, screening (Q.763 sections 3.9 to 3.46).
WITH_INN: Final = frozenset((4, 12, 63, 125))
WITH_INCOMPLETE: Final = frozenset((10, 192))
WITH_RESTRICTION: Final = frozenset((10, 11, 33, 40, 63, 111, 192))
WITH_SCREENING: Final = frozenset((10, 33, 63, 192))

#: Names of parameters that are told in hexadecimal digits.
PARAMETERS: Final[dict[int, str]] = {
    1: "call_reference",
    3: "access_transport",
    8: "optional_forward_call_indicators",
    13: "connection_request",
    14: "information_request_indicators",
    15: "information_indicators",
    16: "continuity_indicators",
    17: "backward_call_indicators",
    19: "redirection_information",
    21: "circuit_group_supervision_message_type",
    22: "range_and_status",
    24: "facility_indicator",
    26: "closed_user_group_interlock_code",
    30: "signalling_point_code",
    32: "user_to_user_information",
    34: "suspend_resume_indicators",
    35: "transit_network_selection",
    37: "circuit_assignment_map",
    38: "circuit_state_indicator",
    39: "automatic_congestion_level",
    41: "optional_backward_call_indicators",
    42: "user_to_user_indicators",
    43: "origination_isc_point_code",
    44: "generic_notification_indicator",
    45: "call_history_information",
    46: "access_delivery_information",
    47: "network_specific_facility",
    48: "user_service_information_prime",
    49: "propagation_delay_counter",
    50: "remote_operations",
    51: "service_activation",
    52: "user_teleservice_information",
    53: "transmission_medium_used",
    54: "call_diversion_information",
    55: "echo_control_information",
    56: "message_compatibility_information",
    57: "parameter_compatibility_information",
    58: "mlpp_precedence",
    59: "mcid_request_indicators",
    60: "mcid_response_indicators",
    62: "transmission_medium_requirement_prime",
    64: "redirection_number_restriction",
    67: "call_transfer_reference",
    68: "loop_prevention_indicators",
    69: "call_transfer_number",
    75: "ccss",
    101: "correlation_id",
    102: "scf_id",
    119: "redirect_counter",
    120: "application_transport",
    130: "generic_reference",
    141: "number_portability_forward_information",
    193: "generic_digits",
}

#: Nature of address indicator (Q.763 section 3.9 b).
NATURES: Final[dict[int, str]] = {
    0: "spare",
    1: "subscriber number (national use)",
    2: "unknown (national use)",
    3: "national (significant) number",
    4: "international number",
    5: "network-specific number (national use)",
    6: "network routing number in national (significant) number format (national use)",
    7: "network routing number in network-specific number format (national use)",
    8: "network routing number concatenated with Called Directory Number (national use)",
}
#: Numbering plan indicator (Q.763 section 3.9 d).
PLANS: Final[dict[int, str]] = {
    0: "spare",
    1: "ISDN (Telephony) numbering plan (ITU-T Recommendation E.164)",
    2: "spare",
    3: "Data numbering plan (ITU-T Recommendation X.121) (national use)",
    4: "Telex numbering plan (ITU-T Recommendation F.69) (national use)",
    5: "reserved for national use",
    6: "reserved for national use",
}
INN: Final[dict[int, str]] = {
    0: "routing to internal network number allowed",
    1: "routing to internal network number not allowed",
}
INCOMPLETE: Final[dict[int, str]] = {0: "complete", 1: "incomplete"}
#: Address presentation restricted indicator (Q.763 section 3.10 e).
RESTRICTIONS: Final[dict[int, str]] = {
    0: "presentation allowed",
    1: "presentation restricted",
    2: "address not available (Note 1) (national use)",
    3: "reserved for restriction by the network",
}
#: Screening indicator (Q.763 section 3.10 f).
SCREENINGS: Final[dict[int, str]] = {
    0: "reserved (Note 2)",
    1: "user provided, verified and passed",
    2: "reserved (Note 2)",
    3: "network provided",
}
#: Calling party's category (Q.763 section 3.11).
CATEGORIES: Final[dict[int, str]] = {
    0: "calling party's category unknown at this time (national use)",
    1: "operator, language French",
    2: "operator, language English",
    3: "operator, language German",
    4: "operator, language Russian",
    5: "operator, language Spanish",
    9: "reserved (see ITU-T Recommendation Q.104) (Note) (national use)",
    10: "ordinary calling subscriber",
    11: "calling subscriber with priority",
    12: "data call (voice band data)",
    13: "test call",
    14: "spare",
    15: "payphone",
}
#: Nature of connection indicators (Q.763 section 3.35).
SATELLITES: Final[dict[int, str]] = {
    0: "no satellite circuit in the connection",
    1: "one satellite circuit in the connection",
    2: "two satellite circuits in the connection",
    3: "spare",
}
CONTINUITY: Final[dict[int, str]] = {
    0: "continuity check not required",
    1: "continuity check required on this circuit",
    2: "continuity check performed on a previous circuit",
    3: "spare",
}
ECHO: Final[dict[int, str]] = {
    0: "outgoing echo control device not included",
    1: "outgoing echo control device included",
}
#: Forward call indicators (Q.763 section 3.23): key, bits, names by value, from bit A on.
FORWARD: Final[tuple[tuple[str, int, dict[int, str]], ...]] = (
    (
        "national_international_call",
        1,
        {0: "call to be treated as a national call", 1: "call to be treated as an international call"},
    ),
    (
        "end_to_end_method",
        2,
        {
            0: "no end-to-end method available (only link-by-link method available)",
            1: "pass-along method available (national use)",
            2: "SCCP method available",
            3: "pass-along and SCCP methods available (national use)",
        },
    ),
    (
        "interworking",
        1,
        {
            0: "no interworking encountered (No. 7 signalling all the way)",
            1: "interworking encountered",
        },
    ),
    (
        "end_to_end_information",
        1,
        {0: "no end-to-end information available", 1: "end-to-end information available"},
    ),
    (
        "isup",
        1,
        {0: "ISDN user part not used all the way", 1: "ISDN user part used all the way"},
    ),
    (
        "isup_preference",
        2,
        {
            0: "ISDN user part preferred all the way",
            1: "ISDN user part not required all the way",
            2: "ISDN user part required all the way",
            3: "spare",
        },
    ),
    ("isdn_access", 1, {0: "originating access non-ISDN", 1: "originating access ISDN"}),
    (
        "sccp_method",
        2,
        {
            0: "no indication",
            1: "connectionless method available (national use)",
            2: "connection oriented method available",
            3: "connectionless and connection oriented methods available (national use)",
        },
    ),
)
#: Backward call indicators (Q.763 section 3.5), the part that says what happens to the call.
BACKWARD: Final[tuple[tuple[str, int, dict[int, str]], ...]] = (
    ("charge", 2, {0: "no indication", 1: "no charge", 2: "charge", 3: "spare"}),
    (
        "called_party_status",
        2,
        {0: "no indication", 1: "subscriber free", 2: "connect when free (national use)", 3: "spare"},
    ),
    (
        "called_party_category",
        2,
        {0: "no indication", 1: "ordinary subscriber", 2: "payphone", 3: "spare"},
    ),
    ("end_to_end_method", 2, FORWARD[1][2]),
    ("interworking", 1, FORWARD[2][2]),
    ("end_to_end_information", 1, FORWARD[3][2]),
    ("isup", 1, FORWARD[4][2]),
    ("holding", 1, {0: "holding not requested", 1: "holding requested (national use)"}),
    ("isdn_access", 1, {0: "terminating access non-ISDN", 1: "terminating access ISDN"}),
    (
        "echo_device",
        1,
        {0: "incoming echo control device not included", 1: "incoming echo control device included"},
    ),
    ("sccp_method", 2, FORWARD[7][2]),
)
#: Transmission medium requirement (Q.763 section 3.54).
MEDIA: Final[dict[int, str]] = {
    0: "speech",
    1: "spare",
    2: "64 kbit/s unrestricted",
    3: "3.1 kHz audio",
    4: "reserved for alternate speech (service 2)/64 kbit/s unrestricted (service 1)",
    5: "reserved for alternate 64 kbit/s unrestricted (service 1)/speech (service 2)",
    6: "64 kbit/s preferred",
    7: "2 × 64 kbit/s unrestricted",
    8: "384 kbit/s unrestricted",
    9: "1536 kbit/s unrestricted",
    10: "1920 kbit/s unrestricted",
    **{code: f"{code - 13} × 64 kbit/s unrestricted" for code in range(16, 43) if code not in (19, 37)},
    19: "spare",
    37: "spare",
}
#: Event indicator (Q.763 section 3.21).
EVENTS: Final[dict[int, str]] = {
    1: "ALERTING",
    2: "PROGRESS",
    3: "in-band",
    4: "call forwarded on busy",
    5: "call forwarded on no reply",
    6: "call forwarded unconditional",
}
#: Coding standard of a cause (Q.850 section 2.2.2).
STANDARDS: Final[dict[int, str]] = {0: "ITU-T", 1: "ISO/IEC", 2: "National", 3: "Specific"}
#: Location (Q.850 section 2.2.3).
LOCATIONS: Final[dict[int, str]] = {
    0: "user (U)",
    1: "private network serving the local user (LPN)",
    2: "public network serving the local user (LN)",
    3: "transit network (TN)",
    4: "public network serving the remote user (RLN)",
    5: "private network serving the remote user (RPN)",
    7: "international network (INTL)",
    10: "network beyond interworking point (BI)",
}
#: Class, the upper three bits of a cause value (Q.850 section 2.2.5).
CAUSE_CLASSES: Final[dict[int, str]] = {
    0: "normal event",
    1: "normal event",
    2: "resource unavailable",
    3: "service or option not available",
    4: "service or option not implemented",
    5: "invalid message",
    6: "protocol error",
    7: "interworking",
}
#: Cause value (Q.850 table 1).
CAUSES: Final[dict[int, str]] = {
    1: "Unallocated (unassigned) number",
    2: "No route to specified transit network",
    3: "No route to destination",
    4: "Send special information tone",
    5: "Misdialled trunk prefix",
    6: "Channel unacceptable",
    7: "Call awarded and being delivered in an established channel",
    8: "Preemption",
    9: "Preemption - circuit reserved for reuse",
    14: "QoR: ported number",
    16: "Normal call clearing",
    17: "User busy",
    18: "No user responding",
    19: "No answer from user (user alerted)",
    20: "Subscriber absent",
    21: "Call rejected",
    22: "Number changed",
    23: "Redirection to new destination",
    24: "Call rejected due to failure at the destination",
    25: "Exchange routing error",
    26: "Non-selected user clearing",
    27: "Destination out of order",
    28: "Invalid number format (address incomplete)",
    29: "Facility rejected",
    30: "Response to STATUS ENQUIRY",
    31: "Normal, unspecified",
    34: "No circuit/channel available",
    38: "Network out of order",
    39: "Permanent frame mode connection out of service",
    40: "Permanent frame mode connection operational",
    41: "Temporary failure",
    42: "Switching equipment congestion",
    43: "Access information discarded",
    44: "Requested circuit/channel not available",
    46: "Precedence call blocked",
    47: "Resource unavailable, unspecified",
    49: "Quality of service not available",
    50: "Requested facility not subscribed",
    53: "Outgoing calls barred within CUG",
    55: "Incoming calls barred within CUG",
    57: "Bearer capability not authorized",
    58: "Bearer capability not presently available",
    62: "Inconsistency in designated outgoing access information and subscriber class",
    63: "Service or option not available, unspecified",
    65: "Bearer capability not implemented",
    66: "Channel type not implemented",
    69: "Requested facility not implemented",
    70: "Only restricted digital information bearer capability is available",
    79: "Service or option not implemented, unspecified",
    81: "Invalid call reference value",
    82: "Identified channel does not exist",
    83: "A suspended call exists, but this call identity does not",
    84: "Call identity in use",
    85: "No call suspended",
    86: "Call having the requested call identity has been cleared",
    87: "User not member of CUG",
    88: "Incompatible destination",
    90: "Non-existent CUG",
    91: "Invalid transit network selection",
    95: "Invalid message, unspecified",
    96: "Mandatory information element is missing",
    97: "Message type non-existent or not implemented",
    98: "Message not compatible with call state or message type non-existent or not implemented",
    99: "Information element/parameter non-existent or not implemented",
    100: "Invalid information element contents",
    101: "Message not compatible with call state",
    102: "Recovery on timer expiry",
    103: "Parameter non-existent or not implemented, passed on",
    110: "Message with unrecognized parameter, discarded",
    111: "Protocol error, unspecified",
    127: "Interworking, unspecified",
}
#: Bearer capability (ITU-T Q.931 section 4.5.5).
CODING_STANDARDS: Final[dict[int, str]] = {
    0: "ITU-T standardized coding",
    1: "ISO/IEC Standard",
    2: "National standard",
    3: "Standard defined for the network",
}
TRANSFER_CAPABILITIES: Final[dict[int, str]] = {
    0: "Speech",
    8: "Unrestricted digital information",
    9: "Restricted digital information",
    16: "3.1 kHz audio",
    17: "Unrestricted digital information with tones/announcements",
    24: "Video",
}
TRANSFER_MODES: Final[dict[int, str]] = {0: "Circuit mode", 2: "Packet mode"}
TRANSFER_RATES: Final[dict[int, str]] = {
    0: "packet-mode calls",
    16: "64 kbit/s",
    17: "2 × 64 kbit/s",
    19: "384 kbit/s",
    21: "1536 kbit/s",
    23: "1920 kbit/s",
    24: "Multirate (64 kbit/s base rate)",
}
LAYER1_PROTOCOLS: Final[dict[int, str]] = {
    1: "V.110, I.460 and X.30",
    2: "G.711 u-law",
    3: "G.711 a-law",
    4: "G.721 ADPCM",
    5: "H.221 and H.242",
    6: "H.223 and H.245",
    7: "Non-ITU-T standardized rate adaption",
    8: "V.120",
    9: "X.31",
}
