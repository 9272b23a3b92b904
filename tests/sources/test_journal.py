"""Journals: the same records as audit.log has, whatever the form, and nothing that a program wrote."""

import json
import lzma
import shutil
import struct
import subprocess
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aalearn.model.errors import BadInput
from aalearn.sources import Origin, plan
from aalearn.sources.base import CHUNK
from aalearn.sources.entries import export_lines, json_lines
from tests.conftest import require
from tests.sources.conftest import Read, Reader

BOTH = ["redis", "nginx", "names", "caps", "dbus", "files"]
REMOTE = "/lib/systemd/systemd-journal-remote"


def bodies(read: Read) -> set[bytes]:
    """The AppArmor records, less auditd's enrichment and line ends."""
    return {
        line.split(b"\x1d")[0].rstrip() for line in read.lines if line.startswith(b"type=AVC") and b"apparmor=" in line
    }


def entry(**fields: str | bytes) -> bytes:
    """An entry of the export format; bytes are spelled as a binary field."""
    out = b""
    for name, value in fields.items():
        if isinstance(value, bytes):
            out += name.encode() + b"\n" + struct.pack("<Q", len(value)) + value + b"\n"
        else:
            out += f"{name}={value}\n".encode()
    return out + b"\n"


EVENT = 'apparmor="ALLOWED" operation="open" profile="p" name="/x" pid=1 comm="c" requested_mask="r" denied_mask="r"'
HEAD = {"__CURSOR": "s=1", "__REALTIME_TIMESTAMP": "1700000001000000"}
AUDIT = {
    "_TRANSPORT": "audit",
    "_AUDIT_TYPE": "1400",
    "_AUDIT_ID": "5",
    "_SOURCE_REALTIME_TIMESTAMP": "1700000000123000",
    "MESSAGE": "AVC " + EVENT,
}
GOOD = entry(**HEAD, **AUDIT)
LINE = b"type=AVC msg=audit(1700000000.123:5): " + EVENT.encode()


@pytest.mark.parametrize("case", BOTH)
def test_export_gives_audit_logs_records(root: Path, read: Reader, case: str) -> None:
    folder = root / "tests/data/logs/kernel-6.12" / case
    logged = bodies(read(folder / "audit.log.xz"))
    assert logged
    assert bodies(read(folder / "journal.export.xz")) == logged


@pytest.mark.real
@pytest.mark.parametrize("case", ["names", "redis"])
def test_journal_file_and_json_give_the_same(root: Path, tmp_path: Path, read: Reader, case: str) -> None:
    require("systemd-journal-remote", Path(REMOTE).exists())
    require("journalctl", shutil.which("journalctl"))
    export = tmp_path / "export"
    export.write_bytes(lzma.decompress((root / f"tests/data/logs/kernel-6.12/{case}/journal.export.xz").read_bytes()))
    folder = tmp_path / "journal" / "machine"
    folder.mkdir(parents=True)
    subprocess.run([REMOTE, "-o", folder / "a.journal", export], check=True, capture_output=True)
    told = read(export)
    assert read(folder / "a.journal").lines == told.lines
    assert read(folder.parent).lines == told.lines
    command = ["journalctl", f"--file={folder}/a.journal", "-o", "json", "--all"]
    (tmp_path / "json").write_bytes(subprocess.run(command, check=True, capture_output=True).stdout)
    assert read(tmp_path / "json").lines == told.lines
    with (folder / "a.journal").open("rb") as file:
        made = plan([Path("-")], Origin("n"), file)
        assert sum(chunk.data.count(b"apparmor=") for source in made.sources for chunk in source.chunks()) > 300
        made.close()


@pytest.mark.real
def test_damaged_journal_file(tmp_path: Path) -> None:
    require("journalctl", shutil.which("journalctl"))
    (tmp_path / "a.journal").write_bytes(b"LPKSHHRH" + b"\xff" * 5000)
    with pytest.raises(BadInput, match=r"a\.journal") as caught:
        plan([tmp_path / "a.journal"], Origin("n"))
    assert "\n" not in str(caught.value)


def test_kernel_transport_is_the_same_record() -> None:
    message = "audit: type=1400 audit(1700000000.123:5): " + EVENT
    kernel = entry(**HEAD, _TRANSPORT="kernel", SYSLOG_FACILITY="0", MESSAGE=message)
    assert lines(GOOD) == lines(kernel) == [LINE]


def lines(*pieces: bytes) -> list[bytes]:
    return [line for cut in export_lines(pieces) for line in cut.data.split(b"\n") if line]


FORGED = [
    entry(**HEAD, _TRANSPORT="stdout", MESSAGE="audit: type=1400 audit(1700000000.123:5): " + EVENT),
    entry(**HEAD, **{**AUDIT, "_TRANSPORT": "journal"}),
    entry(**HEAD, **{**AUDIT, "_TRANSPORT": "syslog"}),
    entry(**HEAD, _TRANSPORT="kernel", SYSLOG_FACILITY="1", MESSAGE="audit: type=1400 audit(1.1:5): " + EVENT),
    entry(**HEAD, _TRANSPORT="kernel", MESSAGE="audit: type=1400 audit(1.1:5): " + EVENT),
    entry(**HEAD, _TRANSPORT="kernel", SYSLOG_FACILITY="0", MESSAGE=" audit: type=1400 audit(1.1:5): " + EVENT),
    entry(**HEAD, _TRANSPORT="kernel", SYSLOG_FACILITY="0", MESSAGE="type=AVC msg=audit(1.1:5): " + EVENT),
    entry(**HEAD, _TRANSPORT="driver", MESSAGE="type=AVC msg=audit(1.1:5): " + EVENT),
    entry(**HEAD, **{**AUDIT, "_AUDIT_TYPE": "1100"}),
    entry(**HEAD, _TRANSPORT="journal", MESSAGE=b"x\n\n" + GOOD),
    entry(**HEAD, _TRANSPORT="journal", MESSAGE=b"apparmor=", X=b"\n\n" + GOOD * 3),
    entry(**HEAD, _TRANSPORT="journal", MESSAGE="apparmor=", X=b"\n" * 10 + GOOD),
]


@pytest.mark.parametrize("forged", FORGED)
@pytest.mark.parametrize("step", [1, 7, 100, 10_000])
def test_forged_entries_are_counted_and_nothing_else(forged: bytes, step: int) -> None:
    data = GOOD + forged + GOOD
    cuts = list(export_lines(data[at : at + step] for at in range(0, len(data), step)))
    assert b"\n".join(cut.data for cut in cuts if cut.data).split(b"\n") == [LINE, LINE]
    assert sum(cut.counts.get("forged", 0) for cut in cuts) == 1
    assert sum(cut.read for cut in cuts) == len(data)


def test_a_message_with_line_ends_stays_one_line() -> None:
    fields: dict[str, str | bytes] = {
        **HEAD,
        **AUDIT,
        "_AUDIT_TYPE": "1107",
        "MESSAGE": b"USER_AVC msg='\n" + LINE + b"\n'",
    }
    user = entry(**fields)
    assert lines(user) == [b"type=USER_AVC msg=audit(1700000000.123:5): msg=' " + LINE + b" '"]


def test_a_huge_binary_field_is_passed_over_and_cannot_forge() -> None:
    field = b"\n\n" + GOOD + b"x" * (9 << 20) + b"\n\n" + GOOD
    data = GOOD + entry(**HEAD, _TRANSPORT="journal", MESSAGE=field) + GOOD
    tracemalloc.start()
    cuts = list(export_lines(data[at : at + CHUNK] for at in range(0, len(data), CHUNK)))
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()
    assert [cut.data for cut in cuts if cut.data] == [LINE, LINE]
    assert sum(len(cut.truncated) for cut in cuts) == 1


def test_a_huge_text_field_is_passed_over() -> None:
    data = GOOD + entry(**HEAD, _TRANSPORT="journal", MESSAGE="y" * (3 << 20)) + GOOD
    cuts = list(export_lines(data[at : at + CHUNK] for at in range(0, len(data), CHUNK)))
    assert [cut.data for cut in cuts if cut.data] == [LINE, LINE]
    assert sum(len(cut.truncated) for cut in cuts) == 1


@pytest.mark.parametrize("left", range(1, len(GOOD) - 1, 13))
def test_a_cut_last_entry_is_truncated(left: int) -> None:
    cuts = list(export_lines([GOOD + GOOD[:left]]))
    if GOOD[left - 1 : left] != b"\n":
        assert [cut.data for cut in cuts if cut.data] == [LINE]
        assert sum(len(cut.truncated) for cut in cuts) == 1


def test_last_entry_may_lack_its_blank_line() -> None:
    assert lines(GOOD + GOOD[:-1]) == [LINE, LINE]


def test_kernel_ring_texts_at_the_limit_are_truncated() -> None:
    message = ("audit: type=1400 audit(1700000000.123:5): " + EVENT.replace("/x", "/" + "x" * 1000))[:1021]
    (cut, *_) = export_lines([entry(**HEAD, _TRANSPORT="kernel", SYSLOG_FACILITY="0", MESSAGE=message)])
    assert not cut.data
    assert cut.truncated[0].startswith(b"type=AVC msg=audit(1700000000.123:5): apparmor=")


def test_json_null_arrays_and_rubbish() -> None:
    base = {**HEAD, **AUDIT}
    entries = [
        json.dumps({**base, "MESSAGE": None}),
        json.dumps({**base, "MESSAGE": list(b"AVC " + EVENT.encode() + b"\xff")}),
        "\x1e" + json.dumps({**base, "MESSAGE": ["AVC " + EVENT, "second"]}),
        json.dumps({**base, "_TRANSPORT": "stdout"}),
        '{"a": ',
        "[" * 20_000,
        "[1, 2]",
        json.dumps({**base, "MESSAGE": 7, "_AUDIT_ID": 5}),
    ]
    cuts = list(json_lines(["\n".join(entries).encode()]))
    assert [line for cut in cuts for line in cut.data.split(b"\n") if line] == [LINE + b"\xff", LINE]
    assert [head[:44] for cut in cuts for head in cut.truncated] == [b"type=AVC msg=audit(1700000000.123:5): "] * 2
    assert sum(cut.counts.get("forged", 0) for cut in cuts) == 1
    assert sum(cut.counts.get("malformed", 0) for cut in cuts) == 3


@given(
    st.lists(st.tuples(st.sampled_from(["MESSAGE", "X", "_TRANSPORT"]), st.binary(max_size=40)), max_size=6), st.data()
)
def test_export_any_binary_fields_any_pieces(fields: list[tuple[str, bytes]], draw: st.DataObject) -> None:
    hostile = b"".join(
        name.encode() + b"\n" + struct.pack("<Q", len(value)) + value + b"\n"
        for name, value in fields
        if name != "_TRANSPORT"
    )
    data = GOOD + b"__CURSOR=x\n_TRANSPORT=journal\n" + hostile + b"\n" + GOOD
    step = draw.draw(st.integers(1, len(data)))
    assert lines(*(data[at : at + step] for at in range(0, len(data), step))) == [LINE, LINE]
