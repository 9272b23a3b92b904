"""Counting once: lines of one node in, a batch for the store out."""

import re
from collections import Counter
from hashlib import blake2b
from itertools import compress
from typing import NamedTuple, cast

from aalearn.grammar.lines import COMPANION, OTHER, Aside, Entry, Lines
from aalearn.intake.columns import MARK, Columns, Cutter, own_pid
from aalearn.intake.runs import Run, Runs
from aalearn.intake.seen import Seen, hand_over
from aalearn.model.event import Verdict
from aalearn.sources import Chunk
from aalearn.store.batch import RUN_GAP_MS, Batch, LossRow, StatusRow
from aalearn.store.codec import group
from aalearn.store.ledger import MARK_MASK, PID_FACTOR, TIME_FACTOR, Ledger, mark_of

_AUDIT_TIME = re.compile(rb"audit\((\d{1,11})\.(\d{3})")
_UNNUMBERED = 1 << 48  # where the ledger keeps records without an audit id, far from the kernel's 32-bit serials
_MOST_BASES = 10_000
_BLOCK = 512  # lines cut into columns at once: few enough that a line of another form slows down few others
_SHORT = 4_096  # longer lines are not kept as keys (bytes)
_FRESH_OPERATIONS = frozenset({"profile_load", "profile_remove"})


class Block(NamedTuple):
    """Some records as columns."""

    lines: list[bytes]
    times: list[int]
    serials: list[int]
    pids: list[int]
    seens: list[Seen]

    def only(self, chosen: list[bool]) -> "Block":
        """Return the records that are chosen."""
        lines, times, serials, pids, seens = self
        return Block(
            list(compress(lines, chosen)),
            list(compress(times, chosen)),
            list(compress(serials, chosen)),
            list(compress(pids, chosen)),
            list(compress(seens, chosen)),
        )


class Node:
    """The counting of one node's records. `totals` are the parts of a summary."""

    def __init__(self, name: str, lines: Lines, ledger: Ledger, batch: Batch, totals: "Counter[str]") -> None:
        self.name = name
        self.totals = totals
        self._lines = lines
        self._ledger = ledger
        self._batch = batch
        self._runs = Runs(name)
        self._cutter = Cutter()
        self._seen: dict[Entry, Seen] = {}
        self._known: dict[tuple[bytes, bytes], Seen] = {}
        self._bases: dict[bytes, bytes] = {}
        self._time = 0
        self._refs = 0
        self._trusted = False

    def weight(self) -> int:
        """Return about how many rows `hand_over` will write; what runs it holds in memory weighs in."""
        return len(self._seen) + self._refs // 64

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
        for start in range(0, len(lines), _BLOCK):
            self._block(lines[start : start + _BLOCK], chunk)

    def _block(self, lines: list[bytes], chunk: Chunk) -> None:
        """Count some lines: those with records first, then the companions, which tell of the processes just met."""
        marked = [line for line in lines if MARK in line]
        columns = self._cutter.cut(marked) if marked else None
        if columns is None:
            for line in marked:
                self._one(line, chunk)
        else:
            self._many(marked, columns, chunk)
        if len(marked) < len(lines):
            self._others(lines, chunk)

    def _others(self, lines: list[bytes], chunk: Chunk) -> None:
        read, awaiting, companions = self._lines.read, self._runs.awaiting, 0
        for line in lines:
            if MARK in line:
                continue
            got = read(line)
            if got is COMPANION:
                companions += 1
            elif isinstance(got, Aside):
                self._aside(got, chunk)
            if awaiting and got is COMPANION and (told := self._lines.companion(line)):
                self._runs.told(told)
        self.totals["companions"] += companions

    def _one(self, line: bytes, chunk: Chunk) -> None:
        """Count one line with a record, of whatever form."""
        got = self._lines.read(line)
        if isinstance(got, Aside):
            self._aside(got, chunk)
            return
        time, serial, pid, entry = got
        seen = self._seen.get(entry) or self._meet(entry)
        if self._ledger.add(serial, mark_of(seen.folded, pid, time)) if serial else self._unnumbered(line, time):
            self._tell(Block([line], [time], [serial], [pid], [seen]))
        else:
            self.totals["duplicates"] += 1

    def _many(self, lines: list[bytes], columns: Columns, chunk: Chunk) -> None:
        """Count lines that were cut into columns."""
        found = list(map(self._known.get, columns.keys))
        seens = self._learn(lines, columns, found, chunk) if None in found else found
        block = Block(lines, columns.times, columns.serials, columns.pids, cast("list[Seen]", seens))
        if None in seens:
            block = block.only([seen is not None for seen in seens])
            if not block.lines:
                return
        marks = [
            (seen.folded + pid * PID_FACTOR + time * TIME_FACTOR) & MARK_MASK
            for seen, pid, time in zip(block.seens, block.pids, block.times, strict=True)
        ]
        new = self._ledger.add_all(block.serials, marks)
        if new is not None:
            self.totals["duplicates"] += new.count(False)
            block = block.only(new)
        self._tell(block)

    def _learn(self, lines: list[bytes], columns: Columns, found: list[Seen | None], chunk: Chunk) -> list[Seen | None]:
        """Let the grammar read the lines that are not known; those that don't fit the columns are counted here."""
        times, serials, pids, keys = columns
        for place, seen in enumerate(found):
            if seen is not None:
                continue
            line = lines[place]
            got = self._lines.read(line)
            if isinstance(got, Aside):
                self._aside(got, chunk)
                continue
            time, serial, pid, entry = got
            if time != times[place] or serial != serials[place] or pid != pids[place] or not serial:
                self._one(line, chunk)
                continue
            found[place] = seen = self._seen.get(entry) or self._meet(entry)
            if len(line) < _SHORT and own_pid(keys[place][0]):
                self._known[keys[place]] = seen
        return found

    def _tell(self, block: Block) -> None:
        """Tally new events. Each step here is done for each of them, so what is rare is called out of the loop."""
        runs, current = self._runs, self._runs.current
        for line, time, serial, pid, seen in zip(*block, strict=True):
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
                seen.met(run)
                self._refs += 1

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
        hand_over(self._seen.values(), self._batch, self.totals, self.name, self._trusted)
        self._seen.clear()
        self._known.clear()
        self._refs = 0
