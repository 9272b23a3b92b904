"""Counting once: lines of one node in, a batch for the store out."""

import re
from collections import Counter
from datetime import UTC, datetime
from hashlib import blake2b
from time import time as clock

from aalearn.grammar.lines import COMPANION, OTHER, Aside, Entry, Lines
from aalearn.intake.moments import audit_time, bsd_time
from aalearn.intake.runs import MOST_RUNS, Origins, Run, Runs
from aalearn.intake.seen import Seen, hand_over
from aalearn.sources import Chunk
from aalearn.store.batch import RUN_GAP_MS, Batch, LossRow, StatusRow
from aalearn.store.codec import group
from aalearn.store.ledger import BLOCK_BITS, MARK_MASK, OFFSET_MASK, PID_FACTOR, TIME_FACTOR, Ledger, mark_of

_UNNUMBERED = 1 << 48  # where the ledger keeps records without an audit id, far from the kernel's 32-bit serials
_MOST_BASES = 10_000
_LONGEST = 512  # labels that are longer (bytes) are looked up each time
_STAMP = 34  # the length of `type=AVC msg=audit(1700000000.123:`
_FORM = re.compile(rb"type=AVC msg=audit\(\d{10}\.\d{3}:")
_MOST_CLOCKS = 4_096
_DAY_MS = 86_400_000
_FRESH_OPERATIONS = frozenset({"profile_load", "profile_remove"})


class Node:
    """The counting of one node's records. `totals` are the parts of a summary.

    `held` is the length of all different records since the last `hand_over` (bytes): memory is some times that.
    """

    def __init__(
        self,
        name: str,
        lines: Lines,
        ledger: Ledger,
        batch: Batch,
        totals: "Counter[str]",
        origins: Origins | None = None,
        most_runs: int = MOST_RUNS,
    ) -> None:
        self.name = name
        self.totals = totals
        self._lines = lines
        self._ledger = ledger
        self._batch = batch
        self._runs = Runs(name, origins, most_runs)
        self._clocks: dict[bytes, int] = {}
        self._touched: list[tuple[Entry, Seen]] = []  # what was seen since the last commit
        self._bases: dict[bytes, bytes] = {}
        self._source = ""
        self._time = 0  # of the last record of this source: losses that have no time of their own are near it
        self._horizon = 0  # the latest time (ms) that a record can have
        self._refs = self.held = 0
        self._trusted = False

    def retire(self) -> None:
        """Let go of all that is remembered; entries may go on to name this node as the owner of their memo."""
        self._runs = Runs(self.name)
        self._touched.clear()
        self._clocks.clear()
        self._bases.clear()

    def weight(self) -> int:
        """Return about how many rows `hand_over` will write; what runs it holds in memory weighs in."""
        return len(self._touched) + self._refs // 64

    def take(self, chunk: Chunk) -> None:
        """Count the records of a chunk."""
        self._horizon = int(clock() * 1000) + _DAY_MS
        if chunk.trusted is not self._trusted:
            self.hand_over()
            self._trusted = chunk.trusted
        if chunk.source != self._source:
            self._source, self._time = chunk.source, 0
        for head in chunk.truncated:
            self._truncated(chunk, head)
        for loss in chunk.losses:
            self._batch.losses.append(LossRow(self.name, chunk.source, loss.time or self._time, loss.kind, loss.amount))
            self.totals["lost"] += loss.amount
        self.totals.update(chunk.counts)
        self.totals["lines"] += sum(chunk.counts.values()) + len(chunk.truncated)
        if not chunk.data:
            return
        data = chunk.data.replace(b"\r\n", b"\n") if chunk.data.find(b"\r\n") >= 0 else chunk.data
        lines = data.removesuffix(b"\n").split(b"\n")
        self.totals["lines"] += len(lines)
        self._count(lines, chunk)

    def _count(self, lines: list[bytes], chunk: Chunk) -> None:
        """Run each line through: what is rare is called out of this loop, for a call costs as much as a step here.

        A plain kernel line is cut at its stamp and its pid, just as `Lines.read` does; if the rest was met before, all
        is known. Every other line goes to `_other`, and the grammar decides.
        """
        lines_, ledger, clocks = self._lines, self._ledger, self._clocks.get
        runs, current, touched = self._runs, self._runs.current, self._touched
        met = lines_.met()
        duplicates = refs = held = pid = time = salt = 0
        number, marks = -1, set[int]()
        last_stamp = last_digits = b""
        trusted = self._trusted
        for line in lines:
            begin = line[:_STAMP]
            if begin != last_stamp:
                last_stamp = begin
                time = clocks(begin) or self._clock(begin)
                salt = pid * PID_FACTOR + time * TIME_FACTOR
                if time:
                    self._time = time
                if time <= ledger.horizon:
                    time = 0  # it may be counted and forgotten: `_other` tells so
            if not time:
                if self._other(line, chunk):
                    number = -1
                continue
            head, _, rest = line.partition(b" pid=")
            stamp, _, body = head.partition(b'): apparmor="')
            digits, _, tail = rest.partition(b" ")
            if digits != last_digits:
                last_digits = digits
                pid = int(digits) if digits.isdigit() and len(digits) <= 10 else 0
                salt = pid * PID_FACTOR + time * TIME_FACTOR
            counter = stamp[_STAMP:]
            entry = None
            if pid and counter.isdigit() and len(counter) <= 10:
                entry = met((body, tail)) or lines_.fresh(line, len(stamp) + 3, body, tail)
            if entry is None:
                self._other(line, chunk)
                number = -1
                continue
            seen = entry.memo
            if seen.__class__ is not Seen or seen.owner is not self:
                seen = self._meet(entry)
            serial = int(counter)
            if serial >> BLOCK_BITS != number:
                if not serial:
                    self._other(line, chunk)
                    continue
                number = serial >> BLOCK_BITS
                marks = ledger.block(number)
            size = len(marks)
            marks.add((serial & OFFSET_MASK) << 32 | (seen.folded + salt) & MARK_MASK)
            if len(marks) == size:
                duplicates += 1
                if trusted and not seen.retold:
                    self._retell(entry, seen)
                continue
            if serial > runs.high:
                runs.high, runs.high_time = serial, time
            elif serial * 2 < runs.high:
                runs.restarted(serial, time)
            if time > seen.last:
                seen.last = time
            if time <= seen.first:
                if not seen.count:
                    touched.append((entry, seen))
                    held += len(line)
                seen.earlier(time, line)
            seen.count += 1
            run = current.get(pid)
            if run is None or run.base is not seen.base or not run.start <= time < run.end + RUN_GAP_MS:
                run = self._run(entry, seen, pid, time)
            elif time > run.end:
                run.end = time
            if run is not seen.run and run is not None:
                seen.met(run)
                refs += 1
        self._refs += refs
        self.held += held
        self.totals["duplicates"] += duplicates

    def _other(self, line: bytes, chunk: Chunk) -> bool:
        """Let the grammar read a line and count what it says. True if it was a record, so that the ledger was used."""
        got = self._lines.read(line)
        if isinstance(got, Aside):
            if got is COMPANION:
                self.totals["companions"] += 1
                if self._runs.awaiting and (told := self._lines.companion(line)):
                    self._runs.told(told)
            else:
                self._aside(got, chunk)
            return False
        time, serial, pid, entry = got
        self._time = self._moment(time) or self._time
        if 0 < time <= self._ledger.horizon:
            self._batch.count("too old")
            self.totals["duplicates"] += 1
            return False
        seen = entry.memo
        if not isinstance(seen, Seen) or seen.owner is not self:
            seen = self._meet(entry)
        if self._ledger.add(serial, mark_of(seen.folded, pid, time)) if serial else self._unnumbered(line, time):
            self._tell(entry, seen, line, time, serial, pid)
        else:
            self.totals["duplicates"] += 1
            if self._trusted and not seen.retold:
                self._retell(entry, seen)
        return True

    def _retell(self, entry: Entry, seen: Seen) -> None:
        """Note that a record which was counted already, by whomever it was told, is now told by who can be believed."""
        seen.retold = True
        if not (seen.status or entry.forgeable):
            self._batch.retold.add((entry.need.profile, entry.need, entry.owner))

    def _tell(self, entry: Entry, seen: Seen, line: bytes, time: int, serial: int, pid: int) -> None:
        """Tally a new event, as `_count` does. Times that can't be are no event's first or last."""
        runs, moment = self._runs, self._moment(time)
        if time and not moment:
            pass  # nor do they tell of a new boot
        elif serial > runs.high:
            runs.high, runs.high_time = serial, time
        elif serial and serial * 2 < runs.high:
            runs.restarted(serial, time)
        seen.last = max(seen.last, moment)
        if not seen.count:
            self._touched.append((entry, seen))
            self.held += len(line)
        if not moment:
            seen.timeless(line)
        elif time <= seen.first:
            seen.earlier(time, line)
        seen.count += 1
        run = self._run(entry, seen, pid, time)
        if run is not seen.run and run is not None:
            seen.met(run)
            self._refs += 1

    def _moment(self, time: int) -> int:
        """Return a record's time (ms), 0 if that is unknown or can't be: a day and more ahead of the clock."""
        return time if time <= self._horizon else 0

    def _clock(self, stamp: bytes) -> int:
        """Return the time (ms) of a plain line's beginning, 0 if it is none or can't be; kept: many lines share it."""
        if stamp[5:9] != b"AVC " or not _FORM.fullmatch(stamp):
            return 0
        if len(self._clocks) >= _MOST_CLOCKS:
            self._clocks.clear()
        time = int(stamp[-15:-5] + stamp[-4:-1])
        if time > self._horizon:
            return 0
        self._clocks[stamp] = time
        return time

    def _meet(self, entry: Entry) -> Seen:
        """Begin with an entry that this node has not had yet."""
        need = entry.need
        base = self._bases.get(need.profile)
        if base is None:
            if len(self._bases) >= _MOST_BASES:
                self._bases.clear()
            base = group(need.profile)
            base = self._bases.setdefault(base, base)
            if len(need.profile) <= _LONGEST:
                self._bases[need.profile] = base
        seen = entry.memo = Seen(self, entry.digest, base, need)
        return seen

    def _run(self, entry: Entry, seen: Seen, pid: int, time: int) -> Run | None:
        """Find the run of a record the careful way. A STATUS record is not a run's; it is put on the timeline here.

        Who only did something to a process is no run: systemd (pid 1) stops a service with a signal, and would else be
        the run that all later starts are forked from.
        """
        if seen.status:
            event = entry.event
            profile = event.get("name") or b""
            moment = self._moment(time)
            self._batch.timeline.append(StatusRow(self.name, moment, event.operation, profile))
            if event.operation in _FRESH_OPERATIONS:
                self._runs.loaded(group(profile), moment)
            return None
        if time > self._horizon:
            run = self._runs.current.get(pid)
            return run if run is not None and run.base == seen.base else None
        if seen.suffered:
            return self._runs.suffered(seen.base, pid, time)
        return self._runs.of(seen.base, pid, time, entry.program) if pid else None

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
            moment = self._moment(aside.time) or bsd_time(aside.text, datetime.now(UTC)) or self._time
            self._batch.losses.append(LossRow(self.name, chunk.source, moment, aside.sign, aside.amount))
        else:
            self.totals[aside.kind] += 1

    def _truncated(self, chunk: Chunk, head: bytes) -> None:
        """Count a cut record: it is lost, and its window incomplete."""
        self.totals["truncated"] += 1
        moment = self._moment(audit_time(head)) or self._time
        self._batch.losses.append(LossRow(self.name, chunk.source, moment, "truncated", 1))

    def hand_over(self) -> None:
        """Move what was counted into the batch, as accesses and runs."""
        hand_over(self._touched, self._batch, self.totals, self.name, self._trusted)
        self._touched.clear()
        self._refs = self.held = 0
