"""Diameter's names: applications, commands, and the AVPs that VoIP networks use, with their types.

In: nothing. Out: tables for wire/diameter.py. Facts of RFC 6733 (base), RFC 8506 (credit control), RFC 7155
(NASREQ), RFC 4740 (SIP), 3GPP TS 29.229 and 29.329 (Cx, Sh), 29.214 (Rx), 29.272 (S6a), 32.299 (charging).
"""

from typing import Final

VENDOR_3GPP: Final = 10415

#: Application ids: the class that captagent gives, and the name.
APPLICATIONS: Final[dict[int, tuple[str, str]]] = {
    0: ("Diameter", "Diameter Common Messages"),
    1: ("Diameter", "NASREQ"),
    2: ("Diameter", "Mobile IPv4"),
    3: ("Diameter", "Base Accounting"),
    4: ("Credit Control", "Credit Control"),
    5: ("Diameter", "EAP"),
    6: ("SIP", "SIP"),
    9: ("Diameter", "QoS"),
    10: ("Diameter", "Capabilities Update"),
    12: ("Diameter", "NAT Control"),
    13: ("Diameter", "ERP"),
    16777216: ("3GPP", "Cx/Dx"),
    16777217: ("3GPP", "Sh"),
    16777218: ("3GPP", "Re/Rf"),
    16777219: ("3GPP", "Wx"),
    16777220: ("3GPP", "Zn"),
    16777221: ("3GPP", "Zh"),
    16777222: ("3GPP", "Gq"),
    16777223: ("3GPP", "Gmb"),
    16777224: ("3GPP", "Gx (Release 5)"),
    16777225: ("3GPP", "Gx over Gy"),
    16777226: ("3GPP", "MM10"),
    16777229: ("3GPP", "Rx (Release 6)"),
    16777230: ("3GPP", "Pr"),
    16777236: ("3GPP", "Rx"),
    16777238: ("3GPP", "Gx"),
    16777250: ("3GPP", "STa"),
    16777251: ("3GPP", "S6a/S6d"),
    16777252: ("3GPP", "S13/S13'"),
    16777255: ("3GPP", "SLg"),
    16777264: ("3GPP", "SWm"),
    16777265: ("3GPP", "SWx"),
    16777266: ("3GPP", "Gxx"),
    16777267: ("3GPP", "S9"),
    16777272: ("3GPP", "S6b"),
    16777291: ("3GPP", "SLh"),
    16777302: ("3GPP", "Sy"),
    16777303: ("3GPP", "Sd"),
    16777312: ("3GPP", "S6c"),
    16777313: ("3GPP", "SGd"),
    16777345: ("3GPP", "S6t"),
    0xFFFFFFFF: ("Diameter", "Relay"),
}

#: Command codes: class, the short name without R or A, the long one.
COMMANDS: Final[dict[int, tuple[str, str, str]]] = {
    257: ("Diameter", "CE", "Capabilities-Exchange"),
    258: ("Diameter", "RA", "Re-Auth"),
    265: ("Diameter", "AA", "AA"),
    268: ("Diameter", "DE", "Diameter-EAP"),
    271: ("Diameter", "AC", "Accounting"),
    272: ("Credit Control", "CC", "Credit-Control"),
    274: ("Diameter", "AS", "Abort-Session"),
    275: ("Diameter", "ST", "Session-Termination"),
    280: ("Diameter", "DW", "Device-Watchdog"),
    282: ("Diameter", "DP", "Disconnect-Peer"),
    283: ("SIP", "UA", "User-Authorization"),
    284: ("SIP", "SA", "Server-Assignment"),
    285: ("SIP", "LI", "Location-Info"),
    286: ("SIP", "MA", "Multimedia-Auth"),
    287: ("SIP", "RT", "Registration-Termination"),
    288: ("SIP", "PP", "Push-Profile"),
    300: ("3GPP", "UA", "User-Authorization"),
    301: ("3GPP", "SA", "Server-Assignment"),
    302: ("3GPP", "LI", "Location-Info"),
    303: ("3GPP", "MA", "Multimedia-Auth"),
    304: ("3GPP", "RT", "Registration-Termination"),
    305: ("3GPP", "PP", "Push-Profile"),
    306: ("3GPP", "UD", "User-Data"),
    307: ("3GPP", "PU", "Profile-Update"),
    308: ("3GPP", "SN", "Subscribe-Notifications"),
    309: ("3GPP", "PN", "Push-Notification"),
    310: ("3GPP", "BI", "Boostrapping-Info"),
    311: ("3GPP", "MP", "Message-Process"),
    316: ("3GPP", "UL", "Update-Location"),
    317: ("3GPP", "CL", "Cancel-Location"),
    318: ("3GPP", "AI", "Authentication-Information"),
    319: ("3GPP", "ID", "Insert-Subscriber-Data"),
    320: ("3GPP", "DS", "Delete-Subscriber-Data"),
    321: ("3GPP", "PE", "Purge-UE"),
    322: ("3GPP", "RS", "Reset"),
    323: ("3GPP", "NO", "Notify"),
    324: ("3GPP", "EC", "ME-Identity-Check"),
    8388620: ("3GPP", "PL", "Provide-Location"),
    8388621: ("3GPP", "LR", "Location-Report"),
    8388622: ("3GPP", "RI", "LCS-Routing-Info"),
    8388635: ("3GPP", "SL", "Spending-Limit"),
    8388636: ("3GPP", "SN", "Spending-Status-Notification"),
    8388637: ("3GPP", "TS", "TDF-Session"),
    8388645: ("3GPP", "OF", "MO-Forward-Short-Message"),
    8388646: ("3GPP", "TF", "MT-Forward-Short-Message"),
    8388647: ("3GPP", "SR", "Send-Routing-Info-for-SM"),
    8388648: ("3GPP", "AL", "Alert-Service-Centre"),
    8388649: ("3GPP", "RD", "Report-SM-Delivery-Status"),
}

# code name type. Types (RFC 6733 sections 4.2 and 4.3): O octets, U text (UTF8String, DiameterIdentity,
# DiameterURI, IPFilterRule), A address, T time, G grouped, F float, u and q unsigned of 32 and 64 bits, i
# and l signed (Enumerated is a signed 32 bits).
_BASE: Final = """
1 User-Name U
2 User-Password O
4 NAS-IP-Address O
5 NAS-Port u
6 Service-Type i
7 Framed-Protocol i
8 Framed-IP-Address O
11 Filter-Id U
18 Reply-Message U
24 State O
25 Class O
27 Session-Timeout u
28 Idle-Timeout u
30 Called-Station-Id U
31 Calling-Station-Id U
32 NAS-Identifier U
33 Proxy-State O
44 Acct-Session-Id O
50 Acct-Multi-Session-Id U
55 Event-Timestamp T
61 NAS-Port-Type i
85 Acct-Interim-Interval u
87 NAS-Port-Id U
97 Framed-IPv6-Prefix O
257 Host-IP-Address A
258 Auth-Application-Id u
259 Acct-Application-Id u
260 Vendor-Specific-Application-Id G
261 Redirect-Host-Usage i
262 Redirect-Max-Cache-Time u
263 Session-Id U
264 Origin-Host U
265 Supported-Vendor-Id u
266 Vendor-Id u
267 Firmware-Revision u
268 Result-Code u
269 Product-Name U
270 Session-Binding u
271 Session-Server-Failover i
272 Multi-Round-Time-Out u
273 Disconnect-Cause i
274 Auth-Request-Type i
276 Auth-Grace-Period u
277 Auth-Session-State i
278 Origin-State-Id u
279 Failed-AVP G
280 Proxy-Host U
281 Error-Message U
282 Route-Record U
283 Destination-Realm U
284 Proxy-Info G
285 Re-Auth-Request-Type i
287 Accounting-Sub-Session-Id q
291 Authorization-Lifetime u
292 Redirect-Host U
293 Destination-Host U
294 Error-Reporting-Host U
295 Termination-Cause i
296 Origin-Realm U
297 Experimental-Result G
298 Experimental-Result-Code u
299 Inband-Security-Id u
301 DRMP i
368 SIP-Accounting-Information G
369 SIP-Accounting-Server-URI U
370 SIP-Credit-Control-Server-URI U
371 SIP-Server-URI U
372 SIP-Server-Capabilities G
373 SIP-Mandatory-Capability u
374 SIP-Optional-Capability u
375 SIP-Server-Assignment-Type i
376 SIP-Auth-Data-Item G
377 SIP-Authentication-Scheme i
378 SIP-Item-Number u
379 SIP-Authenticate G
380 SIP-Authorization G
381 SIP-Authentication-Info G
382 SIP-Number-Auth-Items u
383 SIP-Deregistration-Reason G
384 SIP-Reason-Code i
385 SIP-Reason-Info U
386 SIP-Visited-Network-Id U
387 SIP-User-Authorization-Type i
388 SIP-Supported-User-Data-Type U
389 SIP-User-Data G
390 SIP-User-Data-Type U
391 SIP-User-Data-Contents O
392 SIP-User-Data-Already-Available i
393 SIP-Method U
411 CC-Correlation-Id O
412 CC-Input-Octets q
413 CC-Money G
414 CC-Output-Octets q
415 CC-Request-Number u
416 CC-Request-Type i
417 CC-Service-Specific-Units q
418 CC-Session-Failover i
419 CC-Sub-Session-Id q
420 CC-Time u
421 CC-Total-Octets q
422 Check-Balance-Result i
423 Cost-Information G
424 Cost-Unit U
425 Currency-Code u
426 Credit-Control i
427 Credit-Control-Failure-Handling i
428 Direct-Debiting-Failure-Handling i
429 Exponent i
430 Final-Unit-Indication G
431 Granted-Service-Unit G
432 Rating-Group u
433 Redirect-Address-Type i
434 Redirect-Server G
435 Redirect-Server-Address U
436 Requested-Action i
437 Requested-Service-Unit G
438 Restriction-Filter-Rule U
439 Service-Identifier u
440 Service-Parameter-Info G
441 Service-Parameter-Type u
442 Service-Parameter-Value O
443 Subscription-Id G
444 Subscription-Id-Data U
445 Unit-Value G
446 Used-Service-Unit G
447 Value-Digits l
448 Validity-Time u
449 Final-Unit-Action i
450 Subscription-Id-Type i
451 Tariff-Time-Change T
452 Tariff-Change-Usage i
453 G-S-U-Pool-Identifier u
454 CC-Unit-Type i
455 Multiple-Services-Indicator i
456 Multiple-Services-Credit-Control G
457 G-S-U-Pool-Reference G
458 User-Equipment-Info G
459 User-Equipment-Info-Type i
460 User-Equipment-Info-Value O
461 Service-Context-Id U
480 Accounting-Record-Type i
483 Accounting-Realtime-Required i
485 Accounting-Record-Number u
628 Supported-Features G
629 Feature-List-ID u
630 Feature-List u
"""

_3GPP: Final = """
1 3GPP-IMSI U
2 3GPP-Charging-Id O
8 3GPP-IMSI-MCC-MNC U
18 3GPP-SGSN-MCC-MNC U
21 3GPP-RAT-Type O
22 3GPP-User-Location-Info O
504 AF-Application-Identifier O
505 AF-Charging-Identifier O
507 Flow-Description U
509 Flow-Number u
511 Flow-Status i
512 Flow-Usage i
513 Specific-Action i
515 Max-Requested-Bandwidth-DL u
516 Max-Requested-Bandwidth-UL u
517 Media-Component-Description G
518 Media-Component-Number u
519 Media-Sub-Component G
520 Media-Type i
521 RR-Bandwidth u
522 RS-Bandwidth u
524 Codec-Data O
527 Service-Info-Status i
600 Visited-Network-Identifier O
601 Public-Identity U
602 Server-Name U
603 Server-Capabilities G
604 Mandatory-Capability u
605 Optional-Capability u
606 User-Data O
607 SIP-Number-Auth-Items u
608 SIP-Authentication-Scheme U
609 SIP-Authenticate O
610 SIP-Authorization O
611 SIP-Authentication-Context O
612 SIP-Auth-Data-Item G
613 SIP-Item-Number u
614 Server-Assignment-Type i
615 Deregistration-Reason G
616 Reason-Code i
617 Reason-Info U
618 Charging-Information G
619 Primary-Event-Charging-Function-Name U
620 Secondary-Event-Charging-Function-Name U
621 Primary-Charging-Collection-Function-Name U
622 Secondary-Charging-Collection-Function-Name U
623 User-Authorization-Type i
624 User-Data-Already-Available i
625 Confidentiality-Key O
626 Integrity-Key O
628 Supported-Features G
629 Feature-List-ID u
630 Feature-List u
700 User-Identity G
701 MSISDN O
702 User-Data O
703 Data-Reference i
704 Service-Indication O
823 Event-Type G
824 SIP-Method U
825 Event U
826 Content-Type U
827 Content-Length u
828 Content-Disposition U
829 Role-Of-Node i
830 User-Session-Id U
831 Calling-Party-Address U
832 Called-Party-Address U
833 Time-Stamps G
834 SIP-Request-Timestamp T
835 SIP-Response-Timestamp T
836 Application-Server U
837 Application-Provided-Called-Party-Address U
838 Inter-Operator-Identifier G
839 Originating-IOI U
840 Terminating-IOI U
841 IMS-Charging-Identifier U
842 SDP-Session-Description U
843 SDP-Media-Component G
844 SDP-Media-Name U
845 SDP-Media-Description U
861 Cause-Code i
862 Node-Functionality i
873 Service-Information G
874 PS-Information G
876 IMS-Information G
1000 Bearer-Usage i
1001 Charging-Rule-Install G
1002 Charging-Rule-Remove G
1003 Charging-Rule-Definition G
1005 Charging-Rule-Name O
1006 Event-Trigger i
1016 QoS-Information G
1027 IP-CAN-Type i
1028 QoS-Class-Identifier i
1032 RAT-Type i
1400 Subscription-Data G
1401 Terminal-Information G
1402 IMEI U
1403 Software-Version U
1405 ULR-Flags u
1406 ULA-Flags u
1407 Visited-PLMN-Id O
"""


def _parse(text: str) -> dict[int, tuple[str, str]]:
    rows = (line.split() for line in text.split("\n") if line)
    return {int(code): (name, kind) for code, name, kind in rows}


#: AVPs: (vendor, code) -> name and type.
AVPS: Final[dict[tuple[int, int], tuple[str, str]]] = {
    **{(0, code): avp for code, avp in _parse(_BASE).items()},
    **{(VENDOR_3GPP, code): avp for code, avp in _parse(_3GPP).items()},
}
