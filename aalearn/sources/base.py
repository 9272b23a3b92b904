"""What every source yields: whole lines of records with a position, and what is known of their trust."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple, Protocol

CHUNK = 1 << 17
"""How many bytes are read at once: so many lines stay in the processor's cache while they are counted."""

LINE = 1 << 20
"""The longest line, and the longest field of a journal entry, that is read at all (bytes)."""

TRUNCATED_HEAD = 256
"""How much of a truncated record is kept, to tell when it was (bytes)."""

NOTHING: Mapping[str, int] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Origin:
    """What a person says of the logs that they give: which machine wrote them, and may they be believed."""

    node: str
    trusted: bool = False


class Missing(NamedTuple):
    """Records that a source knows to be lost: `kind` is a word of `remedies`, `amount` how many (at least 1, where the
    source can't know), `time` when it was noticed (ms since the epoch).
    """

    kind: str
    amount: int
    time: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a source, cut between lines.

    `data` is zero or more lines joined by newline, in the form of audit.log, syslog or dmesg (journal entries are
    rewritten). `source` names where they come from (for positions and messages), `node` the machine that logged them.
    `trusted` is True only if no program could have written these lines. `position` says where the source was read to
    *after* this chunk; only the source itself understands it. `consumed` is how many bytes of the raw size are read.
    Three more things are not in `data`: `losses` that the source itself noticed; `truncated`, the beginnings of records
    that are known to be cut (lines over LINE bytes, texts at the limit of the kernel ring, cut entries); and `counts`
    of entries that the source judged: "forged" (AppArmor text that the kernel did not write), "malformed" and "other".
    """

    data: bytes
    source: str
    trusted: bool
    node: str
    position: str
    consumed: int = 0
    truncated: tuple[bytes, ...] = ()
    counts: Mapping[str, int] = field(default_factory=lambda: NOTHING, hash=False)
    losses: tuple[Missing, ...] = ()


class Source(Protocol):
    """Something that records are read from, once, from its start to its end."""

    @property
    def name(self) -> str:
        """The source's name: an absolute path, or `-` for standard input."""

    @property
    def size(self) -> int | None:
        """Raw size in bytes, None when it can't be known beforehand (a pipe)."""

    def check(self) -> bool:
        """Look whether this can be read and is a log, before anything is stored.

        Returns False if it is readable but no log at all. Raises BadInput for damage (a truncated archive) and
        UsageError for what may not be read. A stream can't be checked beforehand beyond its first bytes.
        """

    def chunks(self) -> Iterator[Chunk]:
        """Yield the chunks in order. Raises BadInput when the source turns out damaged or vanishes."""

    def close(self) -> None:
        """Give back open files; the source can't be read afterwards."""
