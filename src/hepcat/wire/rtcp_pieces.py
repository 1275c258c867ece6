"""The pieces of text that the JSON of RTCP is made of, and their codes. No code, one table.

In: nothing. Out: PIECES for wire/rtcp.py, and the codes P_* that index it; compiled, the codes are an
enum of rtcp.pxd (tests/wire/test_rtcp.py holds the two alike).
"""

from typing import Final

# fmt: off
#: In the order of the codes below.
PIECES: Final[tuple[bytes, ...]] = (
    b'{"sender_information":{"ntp_timestamp_sec":', b',"ntp_timestamp_usec":', b',"octets":',
    b',"rtp_timestamp":', b',"packets":', b"},",
    b'"ssrc":', b',"type":', b',"report_blocks":[', b'],"report_count":',
    b'{"source_ssrc":', b',"highest_seq_no":', b',"fraction_lost":', b',"ia_jitter":', b',"packets_lost":',
    b',"lsr":', b',"dlsr":', b"}", b",", b"]", b"{",
    b',"report_blocks_xr":', b',"report_blocks_xr_more":[',
    b'{"type":', b',"id":', b',"fraction_discard":', b',"burst_density":', b',"gap_density":',
    b',"burst_duration":', b',"gap_duration":', b',"round_trip_delay":', b',"end_system_delay":',
    b',"signal_level":', b',"noise_level":', b',"rerl":', b',"gmin":', b',"r_factor":', b',"ext_r_factor":',
    b',"mos_lq":', b',"mos_cq":', b',"rx_config":', b',"jb_nominal":', b',"jb_maximum":', b',"jb_abs_max":',
    b',"sdes_ssrc":', b',"sdes_report_count":', b',"sdes_information":[', b',"text":"', b'"}',
    b',"ssrc":', b',"bye_ssrc":[', b',"bye_reason":"', b'"', b',"app_ssrc":', b',"app_name":"',
    b'","app_subtype":', b',"encrypted":true', b"\\u00",
)
(
    P_SENDER, P_NTP_LOW, P_OCTETS, P_RTP, P_PACKETS, P_SENDER_END,
    P_SSRC, P_TYPE, P_BLOCKS, P_COUNT,
    P_SOURCE, P_HIGHEST, P_FRACTION, P_JITTER, P_LOST,
    P_LSR, P_DLSR, P_END, P_COMMA, P_LIST_END, P_BEGIN,
    P_XR, P_XR_MORE,
    P_ITEM_TYPE, P_ID, P_DISCARD, P_BURST, P_GAP,
    P_BURST_TIME, P_GAP_TIME, P_ROUND_TRIP, P_END_SYSTEM,
    P_SIGNAL, P_NOISE, P_RERL, P_GMIN, P_R, P_R_EXT,
    P_MOS_LQ, P_MOS_CQ, P_RX, P_JB_NOMINAL, P_JB_MAX, P_JB_ABS,
    P_SDES_SSRC, P_SDES_COUNT, P_SDES_ITEMS, P_TEXT, P_TEXT_END,
    P_ITEM_SSRC, P_BYE, P_BYE_REASON, P_QUOTE, P_APP, P_APP_NAME,
    P_APP_SUBTYPE, P_ENCRYPTED, P_ESCAPE,
) = range(len(PIECES))
# fmt: on
