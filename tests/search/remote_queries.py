"""Queries of every kind of test and column."""

from typing import Final

QUERIES: Final[tuple[str, ...]] = (
    "", "from:alice", "from_user:o'brien", "from_user:O'Brien", "to:bob", "to:Bob", "to_user:bo", "-to:bob",
    "from:+49*", "from:al?ce", 'to:"al%ce"', "to:al*ce", "from_user:a*", "from:~^\\+4989~", "from:~l.c~",
    "to:100%_*", 'to_user:"100%_\\\\x"', 'from_user:"a\\\\b"', 'to_user:"a\\\\\\\\b"', "from:jürgen", "to:JÜRGEN",
    "from:j*n", "from:😀", "user:+4930111", "user:alice@example.org", "from:@example.com", "domain:EXAMPLE.com",
    "from_domain:example.*", "tag:t1", "from_tag:*", "to_tag:null", "pid_user:*", "auth_user:alice",
    "call_id:c0-0@10.1.2.0", "call_id:C0-0@10.1.2.0", "call_id:c1*", "call_id:*@x", "call_id:*9*1*",
    f"call_id:{'L' * 119}", f"call_id:{'L' * 120}", f"call_id:{'L' * 121}", f"call_id:{'L' * 30}*",
    "call_id:*z", 'call_id:"quote\'\\"`;--@x"', 'call_id:"%_!@x"', 'call_id:"back\\\\slash\\\\\'@x"',
    'call_id:"?*[a-z]@x"', 'call_id:"a?c@x"', "call_id:a?c@x", "call_id:umlaut-ä@x", "call_id:nul-?@x",
    "-call_id:*", "call_id:c0-0@10.1.2.0,c1-7919@10.1.2.1,nothing", "xcid:c0-0@10.1.2.0", "corr:leg-7",
    f"from_user:{'l' * 99}", f"from_user:{'l' * 100}", f"to:{'M' * 101}", "from_user:l*l", f"from:{'l' * 300}",
    "method:INVITE", "method:invite", "method:inv*", "method:foo.bar-1", "method:ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "method:REGISTER,OPTIONS", "method:~^re~", "-method:INVITE", "method!=INVITE", "method:*", "method:null",
    "status:200", "status:4xx", "status:180..299", "status>=500", "status<200", "status:*", "-status:2xx",
    "status:200 method:BYE", "method:INVITE status:486", "phrase:busy*", 'phrase:"Busy Here"', "phrase:ok",
    "cseq:\"1 invite\"", "cseq:*BYE", "cseq:4100000000*", "ua:sipp", "ua:test*", "ua:*end", "ua:~o.?reilly~",
    "ua:null", "ua:*", "-ua:sipp", 'ua:"[a] *"', 'ua:"Größe ÄÖÜ ß"', "ua:größe*", "ua:*1.0", f"ua:{'u' * 300}end",
    "expires:3600", "expires>=1", "expires:null", "-expires:*", "session_id:ab12cd", "session_id:AB12CD",
    "session_id:*", "reason:*34", "reason:q.850*", "header.subject:two*", "header.X-Foo:*", "header.x-foo:bar*",
    "header.Server:sipp", "header.Content-Length:0", "header.no:null", "extra.X-Foo:*", "contact_port:5062",
    "contact_port>0", "contact_port:null", "contact:alice", "contact_ip:10.1.2.*", "via:*z9hg4bk*",
    "branch:z9hG4bKc0*", "ruri_user:bob", "ruri:sip:bob@example.org", "ruri:*", "content_type:*",
    "src:10.1.2.3", "src:10.1.0.0/16", "ip:10.0.0.0/8", "src:10.1.2.2/31", "ip:10.1.0.0/22", "ip:0.0.0.0/0",
    "ip:128.0.0.0/1", "src:10.1.*", "src:*.3", "src:~^10~", "ip:2001:db8::1", "ip:[2001:db8::1]:5060",
    "ip:2001:db8::/32", "ip:2001:DB8:0:1:0:0:0:2", "ip:::/0", "ip:::ffff:1.2.3.4", "src:2001*", "port:5061",
    "sport:5060", "dport<5070", "port:65535", "transport:udp", "transport:TCP", "proto:sctp,tcp", "proto:t*",
    "proto:~c~", "proto:*", "-proto:udp", "node:2001", "node:homer01", "node:HOMER*", "node_id:7", "node_id>7",
    "node_id:*", "node_id:4294967294", "node_name:homer0", "node_name:*", "-node:7", "node_name:~r01$~",
    "busy", '"Busy Here"', "needle", "TEST", "test*1.0", "b?sy", "größe", '"100%_x"', '"O\'Reilly"', "~bus[xy]~",
    "~(?i)SIPP|umlaut~", "~^OPTIONS~", "~[[:digit:]]{3} OK~", '"semi;colon"', '"\\\\\'"', '"two\\r\\n words"',
    "-busy", "(from:alice OR to:bob) -method:ACK", "from:alice -(status:2xx OR ua:sipp)", "alice bob status:4xx",
    "NOT (header.X-Foo:* OR method:INVITE)", "-(-from:alice)", "time:2026-11-22", "time<2026-11-22T13:00:00Z",
    "time:2026-11-22T12:00:00Z..2026-11-22T14:30:00Z method:INVITE", "time>2030-01-01", "from:nobody",
)  # fmt: skip
#: Queries that the classic table has no column for.
REFUSED: Final = ("vlan:7", "tags:x", "malformed:*", "-malformed:cseq", "from:alice (to:bob OR vlan:1)")
