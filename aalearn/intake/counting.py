"""Counting once: lines of one node in, a batch for the store out."""

import re
from collections import Counter
from hashlib import blake2b

from aalearn.grammar.lines import COMPANION, OTHER, Aside, Entry, Lines
from aalearn.intake.runs import Run, Runs
from aalearn.model.data import words
from aalearn.model.event import Event, Verdict
from aalearn.model.text import shown
from aalearn.rules import kind_of
from aalearn.sources import Chunk
from aalearn.store.batch import RUN_GAP_MS, Batch, LossRow, RunRow, StatusRow, Tally
from aalearn.store.codec import group
from aalearn.store.ledger import Ledger, mark_of

_AUDIT_TIME = re.compile(rb"audit\((\d{1,11})\.(\d{3})")
_UNNUMBERED = 1 << 48  # where the ledger keeps records without an audit id, far from the kernel's 32-bit serials
_MOST_BASES = 10_000
_FRESH_OPERATIONS = frozenset({"profile_load", "profile_remove"})


class Seen:
    """What one entry was seen to do since the last commit."""

    __slots__ = ("base", "count", "digest", "entry", "first", "last", "run", "runs", "sample", "status")

    def __init__(self, entry: Entry, base: bytes, status: bool) -> None:
        self.entry = entry
        self.digest = entry.digest
        self.base = base
        self.status = status
        self.count = 0
        self.first = self.last = 0
        self.sample = b""
        self.run: Run | None = None
        self.runs: set[Run] = set()

    def earlier(self, time: int, line: bytes) -> None:
        """Keep the least record of the least time as the sample, so that the order of reading doesn't matter."""
        if time < self.first or whole(line) < whole(self.sample):
            self.first = time
            self.sample = line


def whole(line: bytes) -> bytes:
    """Return the record as the kernel wrote it, without what auditd appends after 0x1d: all transports agree on it."""
    return line.partition(b"\x1d")[0].rstrip()


class Node:
    """The counting of one node's records. `totals` are the parts of a summary."""

    def __init__(self, name: str, lines: Lines, ledger: Ledger, batch: Batch, totals: "Counter[str]") -> None:
        self.name = name
        self.totals = totals
        self._lines = lines
        self._ledger = ledger
        self._batch = batch
        self._runs = Runs(name)
        self._seen: dict[Entry, Seen] = {}
        self._bases: dict[bytes, bytes] = {}
        self._time = 0
        self._refs = 0
        self._trusted = False

    def weight(self) -> int:
        """Return about how many rows `hand_over` will write."""
        return len(self._seen) + self._refs // 4

    def take(self, chunk: Chunk) -> None:
        """Count the records of a chunk."""
        if chunk.trusted is not self._trusted:
            self.hand_over()
            self._trusted = chunk.trusted
        for head in chunk.truncated:
            self._truncated(chunk, head)
        self.totals.update(chunk.counts)
        self.totals["lines"] += sum(chunk.counts.values()) + len(chunk.truncated)
        if not chunk.data:
            return
        data = chunk.data.replace(b"\r\n", b"\n") if b"\r\n" in chunk.data else chunk.data
        lines = data.removesuffix(b"\n").split(b"\n")
        self.totals["lines"] += len(lines)
        self._count(lines, chunk)

    def _count(self, lines: list[bytes], chunk: Chunk) -> None:
        """Run every line through; what is rare is called out of this loop, for each call costs as much as the rest."""
        read, add, seen_of = self._lines.read, self._ledger.add, self._seen.get
        runs, current, awaiting = self._runs, self._runs.current, self._runs.awaiting
        companions = duplicates = 0
        for line in lines:
            got = read(line)
            if isinstance(got, Aside):
                if got is not COMPANION:
                    self._aside(got, chunk)
                    continue
                companions += 1
                if awaiting and (told := self._lines.companion(line)):
                    runs.told(told)
                continue
            time, serial, pid, entry = got
            seen = seen_of(entry) or self._meet(entry)
            if not (add(serial, mark_of(seen.digest, pid, time)) if serial else self._unnumbered(line, time)):
                duplicates += 1
                continue
            if serial > runs.high:
                runs.high, runs.high_time = serial, time
            elif serial and serial * 2 < runs.high:
                runs.restarted(serial, time)
            if not seen.count:
                seen.first = seen.last = time
                seen.sample = line
            elif time > seen.last:
                seen.last = time
            elif time <= seen.first:
                seen.earlier(time, line)
            seen.count += 1
            run = current.get(pid)
            if run is None or run.base is not seen.base or not run.start <= time < run.end + RUN_GAP_MS:
                run = self._run(seen, pid, time)
            elif time > run.end:
                run.end = time
            if run is not seen.run and run is not None:
                seen.run = run
                seen.runs.add(run)
                self._refs += 1
        self.totals["companions"] += companions
        self.totals["duplicates"] += duplicates

    def _meet(self, entry: Entry) -> Seen:
        """Begin with an entry that was not seen since the last commit."""
        need = entry.need
        base = self._bases.get(need.profile)
        if base is None:
            if len(self._bases) >= _MOST_BASES:
                self._bases.clear()
            base = group(need.profile)
            base = self._bases.setdefault(need.profile, self._bases.setdefault(base, base))
        seen = self._seen[entry] = Seen(entry, base, need.verdict is Verdict.STATUS)
        return seen

    def _run(self, seen: Seen, pid: int, time: int) -> Run | None:
        """Find the run of a record the careful way. A STATUS record is not a run's; it is put on the timeline here."""
        self._time = time
        if seen.status:
            event = seen.entry.event
            profile = event.get("name") or b""
            self._batch.timeline.append(StatusRow(self.name, time, event.operation, profile))
            if event.operation in _FRESH_OPERATIONS:
                self._runs.loaded(group(profile), time)
            return None
        return self._runs.of(seen.base, pid, time, seen.entry.program) if pid else None

    def _unnumbered(self, line: bytes, time: int) -> bool:
        """Return True if a record without an audit id is new. Its identity is the whole line, kept beside its time."""
        digest = int.from_bytes(blake2b(line, digest_size=8).digest())
        place = time >> 4 if time else digest >> 40
        return self._ledger.add(_UNNUMBERED + place, digest & 0xFFFFFFFF)

    def _aside(self, aside: Aside, chunk: Chunk) -> None:
        """Count a line that is no event."""
        if aside is OTHER:
            self.totals["other"] += 1
        elif aside.kind == "truncated":
            self._truncated(chunk, aside.text)
        elif aside.kind == "loss":
            self.totals["losses"] += 1
            self.totals["lost"] += aside.amount
            moment = aside.time or self._time
            self._batch.losses.append(LossRow(self.name, chunk.source, moment, aside.sign, aside.amount))
        else:
            self.totals[aside.kind] += 1

    def _truncated(self, chunk: Chunk, head: bytes) -> None:
        """Count a cut record: it is lost, and its window incomplete."""
        self.totals["truncated"] += 1
        found = _AUDIT_TIME.search(head)
        moment = int(found[1] + found[2]) if found else self._time
        self._batch.losses.append(LossRow(self.name, chunk.source, moment, "truncated", 1))

    def hand_over(self) -> None:
        """Move what was counted into the batch, as accesses and runs."""
        batch, totals = self._batch, self.totals
        for seen in self._seen.values():
            if not seen.count:
                continue
            need = seen.entry.need
            totals["events"] += seen.count
            batch.count("events", seen.count)
            kind = self._kind(need, seen.status)
            for name in (f"kind {kind}", f"verdict {need.verdict}"):
                totals[name] += seen.count
                batch.count(name, seen.count)
            if kind == "unknown":
                totals[f"unknown {shown(need.operation)}"] += seen.count
            if not seen.status:
                self._tally(seen, need)
        self._seen.clear()
        self._refs = 0

    def _kind(self, need: Event, status: bool) -> str:
        kind = "status" if status else kind_of(need)
        if kind is None:
            kind = "silent" if need.operation in words("operations")["silent"] else "unknown"
        return kind

    def _tally(self, seen: Seen, need: Event) -> None:
        entry = seen.entry
        key = (need.profile, need, entry.owner)
        tally = self._batch.tallies.get(key)
        sample = whole(seen.sample)
        if tally is None:
            tally = self._batch.tallies[key] = Tally(0, seen.first, seen.last, sample)
        else:
            if seen.first < tally.first or (seen.first == tally.first and sample < tally.sample):
                tally.first, tally.sample = seen.first, sample
            tally.last = max(tally.last, seen.last)
        tally.count += seen.count
        tally.programs[entry.program] = tally.programs.get(entry.program, 0) + seen.count
        tally.nodes.add(self.name)
        tally.trusted &= self._trusted and not entry.forgeable
        rows = self._batch.runs
        for run in seen.runs:
            first = run.first()
            tally.runs.add(first.key)
            row = rows.get(first.key)
            if row is None:
                rows[first.key] = RunRow(
                    min(run.start, first.start), max(run.end, first.end), first.program, first.fresh
                )
            else:
                row.start, row.end = min(row.start, run.start), max(row.end, run.end)
