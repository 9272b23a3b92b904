"""Reads lines (hex, one a line) by LibAppArmor's binding; prints what it says as JSON on stderr.

Run by the system's Python. Standard output is not ours: LibAppArmor's scanner echoes there what it doesn't know.
"""

import json
import sys

import LibAppArmor

FIELDS = [
    "audit_id", "audit_sub_id", "epoch", "operation", "profile", "name", "comm", "pid", "denied_mask",
    "requested_mask", "fsuid", "ouid", "info", "error_code", "name2", "net_family", "net_sock_type",
    "net_protocol", "net_local_addr", "net_local_port", "net_foreign_addr", "net_foreign_port", "namespace",
    "fs_type", "flags", "src_name", "peer", "peer_profile", "peer_pid", "dbus_bus", "dbus_path", "dbus_interface",
    "dbus_member", "signal", "peer_info", "rlimit",
]  # fmt: skip


def text(value: object) -> object:
    """Return a value for JSON: strings as the hex of their bytes."""
    return value.encode("utf-8", "surrogateescape").hex() if isinstance(value, str) else value


for line in sys.stdin:
    record = LibAppArmor.parse_record(bytes.fromhex(line.strip()).decode("utf-8", "surrogateescape"))
    said = {name: text(getattr(record, name)) for name in FIELDS if hasattr(record, name)}
    said["event"] = record.event
    LibAppArmor.free_record(record)
    print(json.dumps(said), file=sys.stderr)
