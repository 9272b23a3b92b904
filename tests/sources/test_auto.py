"""Which sources are used, on machines of every kind, and what is said of it."""

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from aalearn.model.errors import UsageError
from aalearn.sources.auto import Look, choose, decide, look_around

ALL = Look(
    log=Path("/var/log/audit/audit.log"),
    log_error="",
    auditd=True,
    journal_error="",
    journal_audit=True,
    audit_read=True,
    kmsg_error="",
)
NO_LOG = "/var/log/audit/audit.log: can't be read: Permission denied"


@pytest.mark.parametrize(
    ("changes", "names", "said"),
    [
        ({}, ("audit.log", "kmsg+"), "journal: not used: it holds the same records"),
        ({"journal_audit": False}, ("audit.log", "kmsg+"), "auditd writes every record there"),
        ({"kmsg_error": "no"}, ("audit.log", "journal:kernel+"), "journal:kernel: used for what the kernel says"),
        ({"kmsg_error": "no", "journal_error": "no"}, ("audit.log",), "goes unheard"),
        ({"auditd": False}, ("journal", "journal:hearsay"), "audit socket takes every record"),
        ({"auditd": False, "grep": False}, ("journal",), "auditd does not run"),
        ({"log_error": NO_LOG}, ("journal", "journal:hearsay"), "though auditd writes it: /var/log"),
        ({"log_error": NO_LOG, "journal_audit": False}, ("netlink", "kmsg+"), "only while this service runs"),
        ({"auditd": False, "journal_error": "no"}, ("netlink", "kmsg+"), "journal: not used: no"),
        ({"auditd": False, "journal_audit": False, "audit_read": False}, ("kmsg",), "only a part of the records"),
        (
            {"auditd": False, "journal_audit": False, "audit_read": False, "kmsg_error": "no"},
            ("journal:kernel",),
            "only a part of the records",
        ),
    ],
)
def test_auto(changes: dict[str, object], names: tuple[str, ...], said: str) -> None:
    found, told = decide(replace(ALL, **changes))  # type: ignore[arg-type]
    assert found == names
    assert any(said in line for line in told)
    assert len(choose(["auto"], "n", replace(ALL, **changes)).sources) == len(names)  # type: ignore[arg-type]


def test_nothing_to_read() -> None:
    look = replace(ALL, auditd=False, journal_error="no j", journal_audit=False, audit_read=False, kmsg_error="no k")
    with pytest.raises(UsageError, match=r"no j.*CAP_AUDIT_READ.*no k.*run auditd") as caught:
        choose([], "n", look)
    assert "\n" not in str(caught.value)


def test_named_sources_once_each() -> None:
    words = ["audit.log", "audit.log:/x/audit.log", "file:/var/log/kern.log", "journal", "journal:/j", "journal:kernel"]
    words += ["journal:hearsay", "netlink", "kmsg", "auto", "kmsg"]
    choice = choose(words, "n", ALL)
    assert [source.name for source in choice.sources] == [
        "audit.log:/var/log/audit/audit.log",
        "audit.log:/x/audit.log",
        "file:/var/log/kern.log",
        "journal",
        "journal:/j",
        "journal:kernel",
        "journal:hearsay",
        "netlink",
        "kmsg",
    ]
    assert any(line.startswith("netlink: used, because it was asked for") for line in choice.told)


def test_bare_paths(tmp_path: Path) -> None:
    words = [str(tmp_path), str(tmp_path / "audit.log"), str(tmp_path / "kern.log")]
    names = [source.name.partition(":")[0] for source in choose(words, "n", ALL).sources]
    assert names == ["journal", "audit.log", "file"]


@pytest.mark.parametrize("word", ["jornal", "", "audit.log:relative", "file:", "netlink:x", "x\x1b[31m", "kmsg:/y"])
def test_no_such_source(word: str) -> None:
    with pytest.raises(UsageError) as caught:
        choose([word], "n", ALL)
    assert "\x1b" not in str(caught.value)
    if word == "jornal":
        assert "did you mean journal?" in str(caught.value)


def test_a_look_at_a_machine(tmp_path: Path) -> None:
    def put(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    bare = look_around(tmp_path)
    assert not (bare.auditd or bare.journal_audit or bare.audit_read)
    assert "audit.log: can't be read: No such file" in bare.log_error
    assert bare.journal_error
    assert bare.kmsg_error

    put("etc/audit/auditd.conf", "#log_file = /no\nlog_file = /srv/audit/a.log\n")
    log = put("srv/audit/a.log", "x")
    put("run/auditd.pid", "4711\n")
    put("proc/4711/comm", "auditd\n")
    put("proc/net/netlink", "sk Eth Pid Groups Rmem\n0 9 4711 00000000 0\n0 9 1 00000001 0\n")
    put("proc/self/status", "Name:\tx\nCapEff:\t0000002000000000\n")
    put("etc/machine-id", "ab12\n")
    (tmp_path / "var/log/journal/ab12").mkdir(parents=True)
    full = look_around(tmp_path)
    assert (full.auditd, full.journal_audit, full.audit_read) == (True, True, True)
    assert (full.log, full.log_error, full.journal_error) == (log, "", "")

    put("proc/4711/comm", "other\n")
    put("proc/net/netlink", "sk Eth Pid Groups Rmem\n0 9 4711 00000001 0\nrubbish\n0 9 x zz\n")  # some other listener
    put("proc/self/status", "CapEff:\t0000001fffffffff\n")
    os.utime(log, (time.time() - 7200, time.time() - 7200))
    changed = look_around(tmp_path)
    assert (changed.auditd, changed.journal_audit, changed.audit_read) == (False, False, False)
    os.utime(log)
    assert look_around(tmp_path).auditd  # it is out of sight of a container, but it writes
    put("proc/1/comm", "systemd\n")
    assert not look_around(tmp_path).auditd  # it has just ended
    put("proc/4711/comm", "systemd-journal\n")
    assert look_around(tmp_path).journal_audit


def test_this_machine_can_be_looked_at() -> None:
    look = look_around()
    assert isinstance(look.auditd, bool)
