"""An event counts once, whatever brings it, however often and in whatever order."""

import gzip
import lzma
import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aalearn.grammar.lines import Aside, Lines
from aalearn.intake import Options, Progress, ingest
from aalearn.intake.seen import kind_word
from aalearn.model.errors import BadInput
from aalearn.model.event import Event
from aalearn.rules import kind_of
from aalearn.store import Store
from tests.intake.conftest import Ingest, fresh, record, state, without_runs

LOGS = "tests/data/logs"
BOTH = ["redis", "nginx", "names", "caps", "dbus", "files"]


def unpacked(root: Path, case: str) -> bytes:
    return lzma.decompress((root / LOGS / case).read_bytes())


def events_by_hand(content: bytes) -> int:
    """How many different events a log has, found without intake: by the whole line, less its enrichment."""
    return len({line.split(b"\x1d")[0].rstrip() for line in content.split(b"\n") if b" apparmor=" in line})


@pytest.mark.parametrize("case", BOTH)
def test_twice_changes_nothing(root: Path, store: Store, into: Ingest, case: str) -> None:
    log = root / LOGS / "kernel-6.12" / case / "audit.log.xz"
    first = into(log)
    before = state(store)
    again = into(log)
    assert state(store) == before
    assert again.events == 0
    assert again.duplicates == first.events + first.duplicates
    assert first.events == events_by_hand(lzma.decompress(log.read_bytes()))


@pytest.mark.parametrize("case", BOTH)
def test_journal_and_audit_log_are_the_same_events(root: Path, tmp_path: Path, case: str) -> None:
    folder = root / LOGS / "kernel-6.12" / case
    audit, journal = folder / "audit.log.xz", folder / "journal.export.xz"
    one = fresh(tmp_path, "one", (audit,))
    assert fresh(tmp_path, "two", (audit,), (journal,)) == one
    assert fresh(tmp_path, "three", (journal,), (audit,)) == one
    assert fresh(tmp_path, "four", (journal, audit)) == one


def test_dmesg_and_journal_are_the_same_events(root: Path, store: Store, into: Ingest) -> None:
    """The kernel ring's text, as dmesg shows it and as journald keeps it."""
    folder = root / LOGS / "kernel-6.12-printk-unlimited" / "files"
    journal = into(folder / "journal.export.xz")
    ring = into(folder / "dmesg.txt.xz")
    assert journal.events > 400
    assert ring.events == 0
    assert ring.duplicates == 3


def test_every_real_log_adds_up(root: Path, store: Store, into: Ingest) -> None:
    """Every line is in exactly one class, nothing is unknown, and no forged event is found where there is none."""
    summary = into(root / LOGS)
    parts = ("events", "duplicates", "companions", "other", "malformed", "truncated", "forged", "losses")
    assert sum(getattr(summary, part) for part in parts) == summary.lines
    assert sum(summary.kinds.values()) == sum(summary.verdicts.values()) == summary.events
    assert summary.unknown == {}
    assert summary.malformed == summary.forged == 0
    assert summary.events > 20_000
    assert any(name.endswith("learning-profile.aa") for name in summary.skipped)
    assert into(root / LOGS).events == 0


def test_losses_are_kept_once(root: Path, store: Store, into: Ingest) -> None:
    folder = root / LOGS / "kernel-6.12-printk-unlimited"
    into(folder)
    before = store.losses()
    assert {loss.kind for loss in before} >= {"truncated"}
    assert any(loss.amount > 1 for loss in before)
    assert all(loss.time > 1_700_000_000_000 for loss in before)
    into(folder)
    assert store.losses() == before


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("case", ["bash_exec", "nginx", "sigpt"])
def test_parts_in_any_order(root: Path, tmp_path: Path, case: str, seed: int) -> None:
    lines = unpacked(root, f"kernel-6.12/{case}/audit.log.xz").splitlines(keepends=True)
    draw = random.Random(seed)
    cuts = sorted(draw.sample(range(1, len(lines)), 6))
    parts = []
    for number, (start, end) in enumerate(zip([0, *cuts], [*cuts, len(lines)], strict=True)):
        part = tmp_path / f"{seed}-{number}"
        part.write_bytes(b"".join(lines[start:end]))
        parts.append(part)
    draw.shuffle(parts)
    whole = tmp_path / "whole"
    whole.write_bytes(b"".join(lines))
    expected = fresh(tmp_path, "a", (whole,))
    assert fresh(tmp_path, f"b{seed}", tuple(parts)) == expected  # in one go they are read in the order of time
    assert without_runs(fresh(tmp_path, f"c{seed}", *((part,) for part in parts))) == without_runs(expected)


def test_overlapping_parts(root: Path, tmp_path: Path) -> None:
    """A rotated file that was read while it was still growing, and a serial whose records are in two files."""
    content = unpacked(root, "kernel-6.12/redis/audit.log.xz")
    lines = content.splitlines(keepends=True)
    (tmp_path / "whole").write_bytes(content)
    (tmp_path / "head").write_bytes(b"".join(lines[:700]))
    (tmp_path / "tail").write_bytes(b"".join(lines[500:]))
    expected = without_runs(fresh(tmp_path, "a", (tmp_path / "whole",)))
    for name, order in (("b", ("head", "tail")), ("c", ("tail", "head")), ("d", ("tail", "whole", "head"))):
        assert without_runs(fresh(tmp_path, name, *((tmp_path / part,) for part in order))) == expected


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.integers(1, 9000), st.sampled_from(["/a", "/b", "/c pid=3 comm="]), st.integers(1, 4), st.integers(0, 9)
        ),
        max_size=40,
    ),
    st.randoms(use_true_random=False),
)
def test_any_events_in_any_order_and_cut(
    tmp_path_factory: pytest.TempPathFactory, events: list[tuple[int, str, int, int]], draw: random.Random
) -> None:
    folder = tmp_path_factory.mktemp("any")
    lines = [record(serial, name, pid, 1_700_000_000_000 + time) for serial, name, pid, time in events]
    (folder / "whole").write_bytes(b"".join(lines) or b"\n")
    mixed = [*lines, *(line for line in lines if draw.random() < 0.3)]
    draw.shuffle(mixed)
    cut = draw.randrange(len(mixed) + 1)
    (folder / "one").write_bytes(b"".join(mixed[:cut]) or b"\n")
    (folder / "two").write_bytes(b"".join(mixed[cut:]) or b"\n")
    one = without_runs(fresh(folder, "a", (folder / "whole",)))
    assert without_runs(fresh(folder, "b", (folder / "two",), (folder / "one",))) == one
    total = sum(access.count for found in one["accesses"].values() for access in found)
    assert total == len(set(lines))


def test_the_quick_way_is_the_grammars(root: Path, tmp_path: Path, store: Store, into: Ingest) -> None:
    """Counts of accesses, found line by line by the grammar's reader, against what intake stored."""
    content = unpacked(root, "kernel-6.12/names/audit.log.xz") + unpacked(root, "kernel-6.12/net/audit.log.xz")
    (tmp_path / "log").write_bytes(content)
    into(tmp_path / "log")
    seen: set[tuple[int, ...]] = set()
    counts: dict[tuple[Event, bool | None], int] = {}
    for line in content.split(b"\n"):
        got = Lines().read(line) if len(seen) % 50 == 0 else _reader.read(line)
        if isinstance(got, Aside) or got.entry.need.verdict == "STATUS":
            continue
        identity = (got.time, got.serial, got.pid, got.entry.digest)
        if identity not in seen:
            seen.add(identity)
            key = (got.entry.need, got.entry.owner)
            counts[key] = counts.get(key, 0) + 1
    stored = {
        (access.event, access.owner): access.count
        for profile in store.profiles()
        for access in store.accesses(profile.name)
    }
    assert stored == counts


_reader = Lines()


def test_kinds_are_those_of_the_rules(root: Path) -> None:
    for log in sorted((root / LOGS).rglob("audit.log.xz")):
        for line in lzma.decompress(log.read_bytes()).split(b"\n"):
            got = _reader.read(line)
            if not isinstance(got, Aside) and got.entry.need.verdict != "STATUS":
                need = got.entry.need
                assert kind_word(need) == (kind_of(need) or kind_word(need))
                assert (kind_word(need) in ("silent", "unknown")) == (kind_of(need) is None)


def test_records_without_an_audit_id_count_once(tmp_path: Path, store: Store, into: Ingest) -> None:
    body = (
        'apparmor="DENIED" operation="dbus_method_call" bus="system" path="/" interface="x.y" member="M" mask="send" '
        'name="x.y" pid=12 label="p" peer_pid=3 peer_label="q"'
    )
    lines = [f"2026-11-23T15:00:0{number}+00:00 host dbus[1692]: {body}\n" for number in range(3)]
    lines.append(f"Jul 31 17:10:35 host dbus[1692]: {body}\n")
    (tmp_path / "syslog").write_text("".join(lines))
    (tmp_path / "syslog.1").write_text("".join(lines[1:]))
    assert into(tmp_path / "syslog").events == 4
    before = state(store)
    assert into(tmp_path / "syslog").events == into(tmp_path / "syslog.1").events == 0
    assert state(store) == before
    assert not any(access.trusted for access in store.accesses(b"p"))


FORGED = [
    "type=USER msg=audit(1700000000.123:5): pid=9 uid=0 auid=0 ses=1 msg='{}'",
    "type=USER_LOGIN msg=audit(1700000000.123:5): pid=9 uid=0 ses=1 msg='type=AVC msg=audit(1700000000.123:6): {}'",
]


@pytest.mark.parametrize("form", FORGED)
def test_user_records_are_no_events(tmp_path: Path, store: Store, into: Ingest, form: str) -> None:
    body = record(5).decode().split("): ", 1)[1].strip()
    (tmp_path / "log").write_text(form.format(body) + "\n")
    summary = into(tmp_path / "log", trusted=True)
    assert summary.events == 0
    assert summary.lines == summary.forged + summary.other + summary.malformed == 1
    assert store.profiles() == ()


def test_trust_is_what_was_said(tmp_path: Path, store: Store, into: Ingest) -> None:
    (tmp_path / "a").write_bytes(record(1, "/a"))
    (tmp_path / "b").write_bytes(record(2, "/b"))
    into(tmp_path / "a", trusted=True)
    into(tmp_path / "b")
    assert [(access.event.get("name"), access.trusted) for access in store.accesses(b"p")] == [
        (b"/a", True),
        (b"/b", False),
    ]


def test_damage_leaves_the_store_as_it_was(tmp_path: Path, store: Store, into: Ingest) -> None:
    into_before = state(store)
    (tmp_path / "a.log").write_bytes(record(1))
    whole = gzip.compress(b"".join(record(serial) for serial in range(1, 3000)))
    (tmp_path / "b.gz").write_bytes(whole[:-500])
    with pytest.raises(BadInput, match=r"b\.gz.*truncated"):
        into(tmp_path)
    assert state(store) == into_before
    assert store.positions() == {}


def test_the_last_line(tmp_path: Path, store: Store, into: Ingest) -> None:
    """Without its newline it counts; if it is cut it is a loss."""
    (tmp_path / "a").write_bytes(record(1) + record(2)[:-1])
    assert into(tmp_path / "a").events == 2
    (tmp_path / "b").write_bytes(record(3) + record(4)[:-60])
    summary = into(tmp_path / "b")
    assert (summary.events, summary.truncated) == (1, 1)
    assert [(loss.kind, loss.time) for loss in store.losses()] == [("truncated", 1_700_000_000_000)]


def test_empty_files_and_line_ends(tmp_path: Path, store: Store, into: Ingest) -> None:
    (tmp_path / "empty").write_bytes(b"")
    assert into(tmp_path / "empty").lines == 0
    (tmp_path / "dos").write_bytes((record(1) + record(2)).replace(b"\n", b"\r\n"))
    (tmp_path / "unix").write_bytes(record(1) + record(2))
    assert into(tmp_path / "dos").events == 2
    assert into(tmp_path / "unix").events == 0


def test_progress_and_positions(tmp_path: Path, store: Store) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"".join(record(serial) for serial in range(1, 9000)))
    told: list[Progress] = []
    summary = ingest((log,), store, Options("web-1"), told.append)
    assert summary.size == told[-1].total == log.stat().st_size
    assert 0 < told[-1].consumed <= log.stat().st_size
    assert told[-1].left is not None
    assert store.positions() == {f"web-1:{log}": str(log.stat().st_size)}


def test_batches_do_not_show(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = root / LOGS / "kernel-6.12" / "bash_exec" / "audit.log.xz"
    expected = without_runs(fresh(tmp_path, "one", (log,)))
    monkeypatch.setattr("aalearn.intake.engine.BATCH_ROWS", 50)
    assert without_runs(fresh(tmp_path, "two", (log,))) == expected
