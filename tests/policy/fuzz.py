"""Damages compiled policy, at random and where it hurts, and holds the decoder to its promises.

    python -m tests.policy.fuzz [COUNT [SEED]]     # a million by default; needs both parsers

A damaged blob is either refused with one line, or it is sound: it can be walked from every state with any byte, it can
be asked, and written again it decodes to the same. Nothing else may happen, within a second and four times the blob's
size.
"""

import signal
import struct
import sys
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from types import FrameType

from aalearn.model.errors import PolicyError
from aalearn.model.event import Event, Verdict
from aalearn.policy.decoder import BinaryProfile, PolicyDb, decode, pieces
from aalearn.policy.emitter import emit
from aalearn.policy.oracle import Oracle

SLACK = 16 * 1024  # bytes of memory that even the smallest blob may take: error texts, caches
TIMES = 4
SECONDS = 1.0  # of CPU time, for one blob with all checks
EDGES = (
    0,
    1,
    2,
    3,
    7,
    8,
    0x7F,
    0x80,
    0xFF,
    0x100,
    0x7FFF,
    0x8000,
    0xFFFF,
    0xFFFFFF,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
)
MAGIC = b"\x1b^x="
TABLE = struct.Struct(">HHII")
FORMATS = {1: ">B", 2: ">H", 4: ">I"}
EVENTS = (
    Event(Verdict.ALLOWED, "open", b"one", (("denied_mask", b"r"), ("name", b"/etc/passwd"), ("requested_mask", b"r"))),
    Event(Verdict.ALLOWED, "exec", b"one", (("denied_mask", b"x"), ("name", b"/bin/two"), ("requested_mask", b"x"))),
    Event(Verdict.ALLOWED, "capable", b"one", (("capability", b"21"), ("capname", b"sys_admin"))),
    Event(
        Verdict.ALLOWED,
        "create",
        b"one",
        (
            ("denied_mask", b"create"),
            ("family", b"inet"),
            ("protocol", b"6"),
            ("requested_mask", b"create"),
            ("sock_type", b"stream"),
        ),
    ),
    Event(
        Verdict.ALLOWED,
        "signal",
        b"one",
        (("denied_mask", b"send"), ("peer", b"two"), ("requested_mask", b"send"), ("signal", b"term")),
    ),
)


@dataclass(slots=True)
class Tally:
    """What came of it: refusals by their words without numbers, how many were sound, the most memory and time."""

    sound: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    most: float = 0.0
    slowest: float = 0.0

    @property
    def count(self) -> int:
        return self.sound + self.refused.total()


@dataclass(frozen=True, slots=True)
class Seed:
    """A blob with the places of its elements (of the stream) and of the words in its automata."""

    blob: bytes
    elements: tuple[tuple[int, int, int], ...]  # tag, where its number starts, how many bytes the number has
    words: tuple[
        tuple[int, int], ...
    ]  # where a table's header stands (0 entries) or its first entry, and the entry's size
    tables: tuple[tuple[int, int, int], ...]  # first entry, width, count


def seed(blob: bytes) -> Seed:
    """Find the places where damage is not noise."""
    return Seed(blob, _elements(blob), *_tables(blob))


def _elements(blob: bytes) -> tuple[tuple[int, int, int], ...]:
    sizes = {0: 1, 1: 2, 2: 4, 3: 8, 4: 2, 5: 2, 6: 4, 11: 2}
    found, at = [], 0
    while at < len(blob):
        tag, size = blob[at], sizes.get(blob[at], 0)
        found.append((tag, at + 1, size))
        length = int.from_bytes(blob[at + 1 : at + 1 + size], "little") if tag in (4, 5, 6) else 0
        at += 1 + size + length
    return tuple(found)


def _tables(blob: bytes) -> tuple[tuple[tuple[int, int], ...], tuple[tuple[int, int, int], ...]]:
    words: list[tuple[int, int]] = []
    tables: list[tuple[int, int, int]] = []
    start = blob.find(MAGIC)
    while start >= 0:
        hsize, ssize = struct.unpack_from(">II", blob, start + 4)
        words += [(start, 4), (start + 4, 4), (start + 8, 4), (start + 12, 2)]
        at = start + hsize
        while at < start + ssize:
            _, width, _, count = TABLE.unpack_from(blob, at)
            words += [(at, 2), (at + 2, 2), (at + 4, 4), (at + 8, 4)]
            tables.append((at + 12, width, count))
            at += (12 + width * count + 7) // 8 * 8
        start = blob.find(MAGIC, start + ssize)
    return tuple(words), tuple(tables)


# ── damage ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _noise(random: Random, blob: bytearray, _: Seed, __: Seed) -> None:
    for _n in range(random.randint(1, 8)):
        blob[random.randrange(len(blob))] = random.randrange(256)


def _bit(random: Random, blob: bytearray, _: Seed, __: Seed) -> None:
    blob[random.randrange(len(blob))] ^= 1 << random.randrange(8)


def _cut(random: Random, blob: bytearray, _: Seed, __: Seed) -> None:
    del blob[random.randrange(len(blob)) :]


def _lose(random: Random, blob: bytearray, _: Seed, __: Seed) -> None:
    start = random.randrange(len(blob))
    del blob[start : start + random.choice((1, 2, 4, 8, random.randint(1, 400)))]


def _repeat(random: Random, blob: bytearray, _: Seed, __: Seed) -> None:
    start = random.randrange(len(blob))
    blob[start:start] = blob[start : start + random.choice((1, 4, 8, random.randint(1, 400)))]


def _splice(random: Random, blob: bytearray, _: Seed, other: Seed) -> None:
    start, size = random.randrange(len(other.blob)), random.randint(1, 2000)
    at = random.randrange(len(blob))
    blob[at : at + random.choice((0, size))] = other.blob[start : start + size]


def _number(random: Random, blob: bytearray, seed: Seed, _: Seed) -> None:
    """Change the number of an element: a count, a length, a value."""
    _tag, at, size = random.choice(seed.elements)
    if size:
        old = int.from_bytes(blob[at : at + size], "little")
        new = random.choice(
            (old + 1, old - 1, random.choice(EDGES), random.getrandbits(32), old ^ 1 << random.randrange(8 * size))
        )
        blob[at : at + size] = (new % (1 << 8 * size)).to_bytes(size, "little")


def _tag(random: Random, blob: bytearray, seed: Seed, _: Seed) -> None:
    _old, at, _size = random.choice(seed.elements)
    blob[at - 1] = random.randrange(14)


def _element(random: Random, blob: bytearray, seed: Seed, other: Seed) -> None:
    """Remove some elements, or put some of another blob there."""
    first = random.randrange(len(seed.elements) - 1)
    last = min(first + random.randint(1, 12), len(seed.elements) - 1)
    theirs = random.randrange(len(other.elements) - 1)
    end = min(theirs + random.randint(1, 12), len(other.elements) - 1)
    there = other.blob[other.elements[theirs][1] - 1 : other.elements[end][1] - 1] if random.random() < 0.7 else b""
    here = seed.elements[first][1] - 1
    blob[here : random.choice((here, seed.elements[last][1] - 1))] = there


def _header(random: Random, blob: bytearray, seed: Seed, _: Seed) -> None:
    """Change a word of an automaton's header or of a table's."""
    at, size = random.choice(seed.words)
    old = int.from_bytes(blob[at : at + size], "big")
    new = random.choice(
        (old + 1, old - 1, old ^ 1 << random.randrange(8 * size), random.choice(EDGES), random.getrandbits(16))
    )
    blob[at : at + size] = (new % (1 << 8 * size)).to_bytes(size, "big")


def _entry(random: Random, blob: bytearray, seed: Seed, _: Seed) -> None:
    """Change entries of a table: base, next, check, default, accept, classes."""
    for _n in range(random.choice((1, 1, 2, 8))):
        first, width, count = random.choice(seed.tables)
        at = first + width * random.randrange(count)
        old = int.from_bytes(blob[at : at + width], "big")
        new = random.choice(
            (
                old + 1,
                old - 1,
                old ^ 1 << random.randrange(8 * width),
                random.randrange(count + 2),
                random.choice(EDGES),
            )
        )
        blob[at : at + width] = (new % (1 << 8 * width)).to_bytes(width, "big")


def _diff(random: Random, blob: bytearray, seed: Seed, _: Seed) -> None:
    """Announce diff-encoding (and out-of-band) and mark some states so: chains of defaults, perhaps in a circle."""
    heads = [at for at, _size in seed.words if blob[at : at + 4] == MAGIC]
    head = random.choice(heads)
    blob[head + 13] |= random.choice((1, 1, 2, 3))
    for first, width, count in seed.tables:
        if first > head and width == 4 and blob[first - 11] == 2:  # the base table behind it
            for _n in range(random.randint(1, 20)):
                blob[first + 4 * random.randrange(count)] |= random.choice((0x80, 0x80, 0x20))
            break


DAMAGE: tuple[Callable[[Random, bytearray, Seed, Seed], None], ...] = (
    _noise, _bit, _cut, _lose, _repeat, _splice, _number, _number, _tag, _element, _element, _header, _header,
    _entry, _entry, _entry, _diff,
)  # fmt: skip


def damaged(random: Random, seeds: Sequence[Seed]) -> bytes:
    """Return a blob with one damage, seldom several."""
    chosen, other = random.choice(seeds), random.choice(seeds)
    blob = bytearray(chosen.blob)
    random.choice(DAMAGE)(random, blob, chosen, other)
    while random.random() < 0.15 and len(blob) >= len(chosen.blob):
        random.choice((_noise, _bit, _number, _entry, _header))(random, blob, chosen, other)
    return bytes(blob)


# ── the promises ─────────────────────────────────────────────────────────────────────────────────────────────────────


def examine(random: Random, blob: bytes, tally: Tally, *, weigh: bool = False) -> None:
    """Decode `blob` and count what came of it. Raises AssertionError, or what went wrong, when a promise is broken."""
    begun = time.process_time()
    try:
        profiles = _weighed(blob, tally) if weigh else decode(blob)
    except PolicyError as error:
        text = str(error)
        assert text and text.isprintable() and len(text) < 600, repr(text)
        tally.refused["".join("#" if char.isdigit() else char for char in text.split(" (in profile")[0])[:90]] += 1
    else:
        tally.sound += 1
        _sound(random, profiles)
    tally.slowest = max(tally.slowest, time.process_time() - begun)


def _weighed(blob: bytes, tally: Tally) -> tuple[BinaryProfile, ...]:
    tracemalloc.start()
    try:
        return decode(blob)
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        tally.most = max(tally.most, (peak - SLACK) / max(len(blob), 1))
        assert peak <= TIMES * len(blob) + SLACK, f"{peak} bytes for a blob of {len(blob)}"


def _sound(random: Random, profiles: tuple[BinaryProfile, ...]) -> None:
    assert decode(emit(profiles)) == profiles
    for profile in profiles[:3]:
        for found in (profile.xmatch, profile.policy, profile.file):
            if found is not None:
                _walk(random, found)
    profile = random.choice(profiles)
    try:
        oracle = Oracle(profile)
    except PolicyError:  # e.g. an attachment that starts nowhere: refused a step later, and told
        return
    for event in EVENTS:
        for owner in (True, False, None):
            oracle.ask(event, owner)


def _walk(random: Random, found: PolicyDb) -> None:
    for state in {random.randrange(found.dfa.size) for _ in range(4)} | {found.start or 1, found.file_start or 1}:
        assert 0 <= found.dfa.run(state, random.randbytes(24)) < found.dfa.size
        assert 0 <= found.dfa.out_of_band(state) < found.dfa.size


def _hangs(_: int, __: FrameType | None) -> None:
    raise AssertionError(f"more than {SECONDS} s for one blob")


def fuzz(blobs: Sequence[bytes], count: int, number: int, weigh_each: int = 50) -> Tally:
    """Examine `count` damaged blobs, random by `number`; the memory of one in `weigh_each` is measured.

    Each profile of `blobs` is a start of its own, and so are some whole blobs: small ones are as telling and faster.
    """
    alone = sorted({part for blob in blobs for _, part in pieces(blob) if MAGIC in part})
    random, tally = Random(number), Tally()
    seeds = [seed(blob) for blob in (*alone, *sorted(blobs, key=len)[:: max(1, len(blobs) // 6)])]
    before = signal.signal(signal.SIGVTALRM, _hangs)
    try:
        for turn in range(count):
            blob = damaged(random, seeds)
            signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
            try:
                examine(random, blob, tally, weigh=turn % weigh_each == 0)
            except BaseException:
                with open(f"/tmp/aalearn-fuzz-{number}-{turn}.policy", "wb") as file:
                    file.write(blob)
                print(f"blob {turn} of seed {number} is kept in {file.name}", file=sys.stderr)
                raise
            finally:
                signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    finally:
        signal.signal(signal.SIGVTALRM, before)
    return tally


def main() -> int:
    """Fuzz by hand and print what came of it."""
    from aalearn.policy.cache import Cache
    from aalearn.policy.compiler import Parser
    from tests.policy import seeds, trixie

    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    number = int(sys.argv[2]) if len(sys.argv) > 2 else int(time.time())
    parsers = {"installed": Parser.find(cache=Cache(None)), "trixie": Parser(trixie.parser(), Cache(None))}
    blobs = list(seeds.blobs(parsers, trixie.base()).values())
    begun = time.monotonic()
    tally = fuzz(blobs, count, number)
    spent = time.monotonic() - begun
    print(f"{tally.count} blobs in {spent:.0f} s, seed {number}: {tally.sound} sound, {tally.refused.total()} refused")
    print(f"memory at most {tally.most:.2f} × the blob (+ {SLACK >> 10} KiB), slowest {tally.slowest * 1000:.0f} ms")
    for text, times in tally.refused.most_common(60):
        print(f"{times:8d}  {text}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
