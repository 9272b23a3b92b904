"""What events show to be needed, in the form that walks compare with what policy grants."""

import re
from collections.abc import Iterable, Sequence
from typing import Final

from aalearn.model.event import Event
from aalearn.model.pattern import Alt, Chars, Deep, Literal, Pattern, Star, Token
from aalearn.policy.ask.base import numbers
from aalearn.policy.ask.files import needed
from aalearn.policy.permissions import May
from aalearn.policy.walks import ALL, Observed, bits_of
from aalearn.rules import kind_of

# Segments whose digits name a process or a moment and not another thing: one of them seen is all of them seen.
_TYPED: Final = re.compile(
    rb"(?<=^/proc/)[0-9]+(?=/|$)|(?<=/task/)[0-9]+(?=/|$)|(?<=/)\.\.[0-9]{4}(?:_[0-9]{2}){5}\.[0-9]+(?=/|$)"
)
_NUMBER: Final = Alt(tuple(Pattern.of(Chars("0-9", width)) for width in range(1, 8)))
_PAIR: Final = Chars("0-9", 2)
_MOMENT: Final[tuple[Token, ...]] = (  # kubelet's ..YYYY_MM_DD_hh_mm_ss.N
    *(Literal(b".."), Chars("0-9", 4)),
    *((Literal(b"_"), _PAIR) * 5),
    *(Literal(b"."), Chars("0-9"), Star()),
)
# apparmor_parser gives profiles with hats or change_profile rules access to these (its profile.cc); the star also
# matches "sys", and /proc/sys is sensitive, but there is no /proc/sys/attr.
_IMPLIED: Final = Pattern.of(Literal(b"/proc/"), Star(), Literal(b"/attr/"), Deep())
_CAPABILITIES: Final = numbers("capabilities")


def observed_of(events: Iterable[tuple[Event, bool | None]], vouched: Sequence[tuple[Pattern, int]] = ()) -> Observed:
    """Return the paths that events used, with the bits used; numbers of processes stand for any such number.

    `vouched` are further patterns with bits. What the compiler itself adds for change_hat and change_profile counts
    too.
    """
    paths: dict[bytes, int] = {}
    patterns: dict[Pattern, int] = {_IMPLIED: bits_of("rw")}
    for pattern, bits in vouched:
        patterns[pattern] = patterns.get(pattern, 0) | bits
    for event, _ in events:
        name = event.get("name")
        if not name or kind_of(event) not in ("file", "link"):
            continue
        bits = used_bits(event)
        paths[name] = paths.get(name, 0) | bits
        typed = _typed(name)
        if typed is not None:
            patterns[typed] = patterns.get(typed, 0) | bits
    return Observed(tuple(sorted(paths.items())), tuple(sorted(patterns.items())))


def used_bits(event: Event) -> int:
    """Return the bits of `walks.LETTERS` that a rule for this event grants: write brings append, ix brings mmap."""
    bits = needed(event)
    if bits & (May.CREATE | May.DELETE | May.SETATTR | May.CHMOD | May.CHOWN | May.WRITE):
        bits |= May.WRITE | May.APPEND
    if bits & May.EXEC:
        bits |= May.MMAP
    return bits & ALL


def _typed(name: bytes) -> Pattern | None:
    """Return the pattern of a path with typed segments, None for other paths."""
    tokens: list[Token] = []
    at = 0
    for match in _TYPED.finditer(name):
        tokens += [Literal(name[at : match.start()]), *(_MOMENT if match[0].startswith(b"..") else (_NUMBER,))]
        at = match.end()
    return Pattern.of(*tokens, Literal(name[at:])) if tokens else None


def used_capabilities(events: Iterable[Event]) -> int:
    """Return the capabilities that events used, one bit each."""
    bits = 0
    for event in events:
        if kind_of(event) == "capability":
            name, number = event.text("capname"), event.text("capability")
            bit = _CAPABILITIES.get(name, int(number) if number.isdecimal() and int(number) < 64 else None)
            bits |= 0 if bit is None else 1 << bit
    return bits


def used_sockets(events: Iterable[Event]) -> frozenset[tuple[str, str]]:
    """Return the (family, type) pairs of sockets that events used."""
    return frozenset(
        (event.text("family"), event.text("sock_type")) for event in events if kind_of(event) in ("network", "unix")
    )
