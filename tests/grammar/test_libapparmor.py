"""Against LibAppArmor: the same fields on every line that it accepts; what it rejects and we read, with the reason.

The reason is found by trial: the least set of mends after which LibAppArmor accepts the line. The list is a golden
file; `python -m tests.grammar.test_libapparmor` writes it anew.
"""

import json
import re
import subprocess
from collections import Counter
from collections.abc import Callable
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from aalearn.grammar.lines import Lines, Sighting
from tests.conftest import require
from tests.grammar.making import WRAPS

PYTHON = Path("/usr/bin/python3")
READER = Path(__file__).with_name("libapparmor_reader.py")
RECORDS = Path(__file__).resolve().parent.parent / "data" / "records"
REAL, GOLDEN = RECORDS / "real.log", RECORDS / "libapparmor-rejects.txt"
INVALID = 0
VERDICTS = {1: "ERROR", 2: "AUDIT", 3: "ALLOWED", 4: "DENIED", 5: "HINT", 6: "STATUS"}
AVC = b"type=AVC msg=audit(1795452373.207:644): "
MENDS: dict[str, Callable[[bytes], bytes]] = {
    "the envelope": lambda line: AVC + line[line.find(b'apparmor="') :].partition(b"\x1d")[0].partition(b" exe=")[0],
    "class= is unknown to it": lambda line: re.sub(rb' class="[a-z_]+"', b"", line),
    "execpath= is unknown to it": lambda line: re.sub(rb' execpath="[^"]*"', b"", line),
    "the verdict KILLED": lambda line: line.replace(b'="KILLED"', b'="DENIED"'),
    "requested= and denied= are unknown to it": lambda line: re.sub(rb' (requested|denied)="', rb' \1_mask="', line),
    "target= in hex": lambda line: re.sub(rb" target=[0-9A-F]+", b"", line),
    "a backslash before a closing quote": lambda line: line.replace(b'\\"', b'"'),
    "a signal number above 31": lambda line: re.sub(rb"signal=rtmin\+[0-9]+", b"signal=term", line),
    "peer_addr=none": lambda line: line.replace(b" peer_addr=none", b""),
    "addr=none": lambda line: line.replace(b" addr=none", b""),
    "an abstract address": lambda line: re.sub(rb' (peer_)?addr="@[^"]*"', b"", line),
    "trans= is unknown to it": lambda line: re.sub(rb' trans="[^"]*"', b"", line),
    "ns= is unknown to it": lambda line: re.sub(rb' ns="[^"]*"', b"", line),
}
FIELDS = {
    "name": "name", "comm": "comm", "info": "info", "requested_mask": "requested_mask", "denied_mask": "denied_mask",
    "name2": "target", "net_family": "family", "net_sock_type": "sock_type", "net_local_addr": "laddr",
    "net_foreign_addr": "faddr", "namespace": "namespace", "fs_type": "fstype", "flags": "flags", "src_name": "srcname",
    "peer": "peer", "dbus_bus": "bus", "dbus_path": "path", "dbus_interface": "interface", "dbus_member": "member",
    "signal": "signal", "peer_profile": "peer_label",
}  # fmt: skip
NUMBERS = {"fsuid": "fsuid", "ouid": "ouid", "net_local_port": "lport", "net_foreign_port": "fport"}


def asked(lines: list[bytes]) -> list[dict[str, Any]]:
    """Ask LibAppArmor about many lines in one process."""
    require("the system's Python", PYTHON.exists())
    text = "\n".join(line.hex() for line in lines)
    done = subprocess.run([PYTHON, "-I", READER], input=text.encode(), capture_output=True, check=False)
    require("python3-libapparmor", b"No module named" not in done.stderr)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stderr.splitlines()]


@cache
def corpus() -> list[bytes]:
    """Return every real record, each also as the oldest kernel's auditd would have written it, and all envelopes."""
    real = [line for line in REAL.read_bytes().splitlines() if b'apparmor="' in line]
    plain = [MENDS["class= is unknown to it"](MENDS["the envelope"](line)) for line in real if len(line) < 1021]
    file = b'apparmor="ALLOWED" operation="open" profile="p" name="/a" pid=7 comm="c" requested_mask="r" fsuid=0 ouid=0'
    dbus = b'apparmor="DENIED" operation="dbus_signal"  bus="system" path="/a" mask="send" pid=7 label="p" peer_pid=9'
    return [*real, *plain, *(wrap.line(dbus if wrap.user or "dbus" in wrap.name else file) for wrap in WRAPS)]


def fields_differ(line: bytes, said: dict[str, Any], seen: Sighting) -> list[str]:
    """Return the fields in which LibAppArmor and we differ.

    Its own ways are taken into account: it puts a capability's name, a bus record's mask and exe into other fields,
    takes the verdict of a numbered type from the number, and (a defect) swallows a backslash inside quotes.
    """
    event, text = seen.entry.event, {key: bytes.fromhex(v) for key, v in said.items() if isinstance(v, str)}
    ours = {**dict(event.fields), "operation": event.operation.encode(), "profile": event.profile}
    if "capname" in ours:
        ours["name"] = ours["capname"]
    if event.operation.startswith("dbus"):
        ours["denied_mask"], ours["comm"] = ours["mask"], ours.get("exe", b"")
    if b"\\" in ours.get("name", b""):
        assert text["name"] == ours["name"].replace(b"\\", b"")
        del ours["name"], text["name"]
    differ = [theirs for theirs, key in FIELDS.items() if text.get(theirs, b"") != ours.get(key, b"")]
    differ += [key for key in ("operation", "profile") if text.get(key, b"") != ours[key]]
    differ += [theirs for theirs, key in NUMBERS.items() if key in ours and int(ours[key]) != said[theirs]]
    if event.verdict.value != VERDICTS[said["event"]] and b"1503" not in line[:20]:
        differ.append("verdict")
    if seen.pid != said["pid"]:
        differ.append("pid")
    if seen.serial and (seen.time // 1000, seen.serial) != (said["epoch"], said["audit_sub_id"]):
        differ.append("time")
    return differ


@pytest.mark.real
def test_our_fields_are_libapparmor_s_on_every_line_that_it_accepts() -> None:
    lines, reader, differ = corpus(), Lines(), Counter[str]()
    accepted = 0
    for line, said in zip(lines, asked(lines), strict=True):
        if said["event"] == INVALID:
            continue
        accepted += 1
        seen = reader.read(line)
        assert isinstance(seen, Sighting), (seen, line)
        for field in fields_differ(line, said, seen):
            differ[field] += 1
            print(field, said.get(field), line[:600])
    assert accepted > 1000
    assert not differ


def mended(line: bytes, names: tuple[str, ...]) -> bytes:
    """Return the line after some mends; the line itself if one of them changes nothing."""
    text = line
    for name in names:
        before, text = text, MENDS[name](text)
        if text == before:
            return line
    return text


def reasons(lines: list[bytes]) -> dict[bytes, str]:
    """Return for each line that LibAppArmor rejects the least set of mends after which it accepts it."""
    left = {line for line, said in zip(lines, asked(lines), strict=True) if said["event"] == INVALID}
    found: dict[bytes, str] = {}
    for size in range(1, 5):
        trials = [(line, names, mended(line, names)) for line in sorted(left) for names in combinations(MENDS, size)]
        trials = [trial for trial in trials if trial[0] != trial[2]]
        for (line, names, _), said in zip(trials, asked([text for _, _, text in trials]), strict=True):
            if said["event"] != INVALID and line in left:
                found[line] = " + ".join(names)
                left.discard(line)
    return {**found, **dict.fromkeys(left, "?")}


def listing() -> str:
    """Return the golden file's text: reason, how many lines of the corpus, one of them."""
    lines, reader = list(dict.fromkeys(corpus())), Lines()
    why = {line: reason for line, reason in reasons(lines).items() if isinstance(reader.read(line), Sighting)}
    count = Counter(why.values())
    sample = {
        reason: min((line for line in why if why[line] == reason), key=lambda line: (len(line), line))
        for reason in count
    }
    return "".join(f"{reason}\t{count[reason]}\t{sample[reason].decode('latin-1')!r}\n" for reason in sorted(count))


@pytest.mark.real
def test_what_libapparmor_rejects_is_listed_with_the_reason() -> None:
    """The golden file is of version 3.0 (Debian 12), which knows no class=; of others only the reasons are checked."""
    found = listing()
    assert not [line for line in found.splitlines() if line.startswith("?")]
    if "class= is unknown to it" in found:
        assert GOLDEN.read_text() == found


if __name__ == "__main__":
    GOLDEN.write_text(listing())
