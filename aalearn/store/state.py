"""What the store keeps of an access beside the need itself: how often, when, by whom. Merged here and nowhere else."""

import math
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from struct import Struct, pack, unpack_from
from typing import Final
from zlib import crc32

from aalearn.model.errors import StoreError
from aalearn.store.batch import NODES_KEPT, PROGRAMS_KEPT, RUNS_KEPT
from aalearn.store.codec import fit

PROGRAM_BYTES: Final = 255
_DAMAGED: Final = "the store is damaged: what it keeps of an access can't be read; restore it from a copy"
SKETCH_BYTES: Final = 512
_SKETCH_BITS: Final = 8 * SKETCH_BYTES

# count, first, last, trust, number of: programs, nodes, runs, sketches. Then ids, sketch, programs.
# Trust is 1 where all came from sources that programs can't forge, 2 where some did, else 0.
_HEAD: Final = Struct("<qqqBBBBB")
_PROGRAM: Final = Struct("<qB")
_ONE_EACH: Final = Struct("<qqqBBBBBqqqB").pack


@dataclass(slots=True)
class State:
    """The changing part of an access's row. Times are ms since the epoch; node and run ids are `codec.name_id`s.

    What is kept of more than fits depends on the set alone: the least by hash. The sketch (linear counting, 4,096 bits)
    exists only once there were more than RUNS_KEPT runs. `trusted`: all came from sources that programs can't forge;
    `partly`: not all, but some did.
    """

    count: int = 0
    first: int = 0
    last: int = 0
    trusted: bool = True
    programs: dict[bytes, int] = field(default_factory=dict)
    nodes: set[int] = field(default_factory=set)
    runs: set[int] = field(default_factory=set)
    sketch: bytes = b""
    partly: bool = False

    def run_count(self) -> int:
        """Return the number of runs: exact up to RUNS_KEPT, beyond that an estimate, within about 2 %."""
        if not self.sketch:
            return len(self.runs)
        unset = _SKETCH_BITS - int.from_bytes(self.sketch, "little").bit_count()
        return max(RUNS_KEPT + 1, round(-_SKETCH_BITS * math.log(max(unset, 0.5) / _SKETCH_BITS)))

    def add(self, count: int, first: int, last: int, trusted: bool) -> None:
        """Take in more events. A `first` of 0 is unknown."""
        self.first = min(self.first or first, first or self.first)
        self.last = max(self.last, last) if self.count else last
        some = trusted or self.partly or (self.trusted and self.count > 0)
        self.count += count
        self.trusted = self.trusted and trusted
        self.partly = some and not self.trusted

    def add_who(self, programs: Mapping[bytes, int], nodes: Iterable[int], runs: Iterable[int]) -> None:
        """Take in who needed it, and keep within the bounds."""
        for program, count in programs.items():
            name = program[:PROGRAM_BYTES]
            self.programs[name] = self.programs.get(name, 0) + count
        if len(self.programs) > PROGRAMS_KEPT:
            kept = sorted(self.programs, key=lambda name: (crc32(name), name))[:PROGRAMS_KEPT]
            self.programs = {name: self.programs[name] for name in kept}
        self.nodes.update(nodes)
        if len(self.nodes) > NODES_KEPT:
            self.nodes = set(sorted(self.nodes)[:NODES_KEPT])
        self.runs.update(runs)
        if self.sketch or len(self.runs) > RUNS_KEPT:
            bits = int.from_bytes(self.sketch, "little")
            for run in self.runs:
                bits |= 1 << run % _SKETCH_BITS
            self.sketch = bits.to_bytes(SKETCH_BYTES, "little")
            self.runs = set(sorted(self.runs)[:RUNS_KEPT])

    def encode(self) -> bytes:
        """Return the bytes that stand in the row; the same content gives the same bytes."""
        sizes = (len(self.programs), len(self.nodes), len(self.runs), bool(self.sketch))
        head = _HEAD.pack(fit(self.count), fit(self.first), fit(self.last), trust(self.trusted, self.partly), *sizes)
        ids = pack(f"<{len(self.nodes) + len(self.runs)}q", *sorted(self.nodes), *sorted(self.runs))
        names = [_PROGRAM.pack(fit(count), len(name)) + name for name, count in sorted(self.programs.items())]
        return b"".join([head, ids, self.sketch, *names])


def trust(trusted: bool, some: bool) -> int:
    """Return how a row says whom it comes from: all or some from sources that programs can't forge, or none."""
    return 1 if trusted else 2 if some else 0


def encode_one(count: int, first: int, last: int, trust: int, program: bytes, node: int, run: int) -> bytes:
    """Return `State.encode` of an access with one program, node and run, quickly.

    Raises struct.error when a number or the program's name is too big: then `State` must do it.
    """
    return _ONE_EACH(count, first, last, trust, 1, 1, 1, 0, node, run, count, len(program)) + program


def glance(blob: bytes) -> tuple[int, int, int, tuple[int, ...]]:
    """Return count, first, last and nodes of a row without the rest. Raises StoreError as `decode`."""
    try:
        count, first, last, _, _, nodes, _, _ = _HEAD.unpack_from(blob)
        return count, first, last, unpack_from(f"<{nodes}q", blob, _HEAD.size)
    except struct.error:
        raise StoreError(_DAMAGED) from None


def decode(blob: bytes) -> State:
    """Return the content of a row. Raises StoreError when the bytes are none of ours."""
    try:
        count, first, last, told, programs, nodes, runs, sketches = _HEAD.unpack_from(blob)
        place = _HEAD.size + 8 * (nodes + runs)
        ids = unpack_from(f"<{nodes + runs}q", blob, _HEAD.size)
        sketch = blob[place : place + SKETCH_BYTES] if sketches else b""
        place += len(sketch)
        names: dict[bytes, int] = {}
        for _ in range(programs):
            amount, size = _PROGRAM.unpack_from(blob, place)
            place += _PROGRAM.size + size
            names[blob[place - size : place]] = amount
    except struct.error:
        place = -1
    if place != len(blob):
        raise StoreError(_DAMAGED)
    return State(count, first, last, told == 1, names, set(ids[:nodes]), set(ids[nodes:]), sketch, told == 2)
