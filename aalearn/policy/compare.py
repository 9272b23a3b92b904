"""What one compiled profile permits and another does not, class by class, each grant with a shortest witness."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import Final

from aalearn.model.text import shown
from aalearn.policy.ask.base import CLASSES, Machine, Subject, numbers
from aalearn.policy.ask.files import transition
from aalearn.policy.automaton import TRAP
from aalearn.policy.languages import Part, Policy, RealPaths
from aalearn.policy.permissions import May
from aalearn.policy.product import States, Walk
from aalearn.policy.walks import ALL, SIDES, Witness, letters
from aalearn.policy.words import CLASS_BITS, read, words_of

LIMIT: Final = 200  # witnesses a class; what lies beyond is counted and not shown
_PATHS: Final = 16  # words a place, for files
_WORDS: Final = 4  # the same for the other classes
_DOTTED: Final = re.compile(rb"/\.{1,2}(?=a(?:/|$))")  # where a witness only shows that a name may begin with dots
_STRUCTURE: Final = May.LOCK | May.CONTINUE  # what states of the policy automaton have that permit nothing
_FILE: Final = ALL & ~May.LINK  # links are told as pairs


@dataclass(frozen=True, slots=True, order=True)
class Grant:
    """One thing that a profile permits: the rule kind, the permissions, and the object, in words fit for a person."""

    kind: str
    permissions: str
    object: str

    def __str__(self) -> str:
        return " ".join(part for part in (self.kind, self.permissions, self.object) if part)


@dataclass(frozen=True, slots=True)
class Change:
    """How one block differs: what the newer text permits more (`gained`) and what less (`lost`).

    `state` is "added", "removed" or "changed".
    """

    block: str
    state: str
    gained: tuple[Grant, ...]
    lost: tuple[Grant, ...]

    @property
    def same(self) -> bool:
        """Whether both texts permit just the same here."""
        return self.state == "changed" and not self.gained and not self.lost


def compare(old: dict[bytes, Subject], new: dict[bytes, Subject]) -> tuple[Change, ...]:
    """Return the changes from `old` to `new`, blocks by name, those that are the same left out."""
    changes = []
    for name in sorted(old.keys() | new.keys()):
        before, after = old.get(name), new.get(name)
        if before is None or after is None:
            assert after is not None or before is not None
            gained = extra(after, None) if after is not None else ()
            lost = extra(before, None) if before is not None else ()
            changes.append(Change(shown(name), "removed" if after is None else "added", gained, lost))
        else:
            change = Change(shown(name), "changed", extra(after, before), extra(before, after))
            if not change.same:
                changes.append(change)
    return tuple(changes)


def lines(changes: Iterable[Change]) -> tuple[str, ...]:
    """Return changes as lines: `+ BLOCK: GRANT` for more, `- …` for less, `+ BLOCK` for one that is new."""
    found = []
    for change in changes:
        if change.state != "changed":
            found.append(f"{'+' if change.state == 'added' else '-'} {change.block}")
        found += [f"+ {change.block}: {grant}" for grant in change.gained]
        found += [f"- {change.block}: {grant}" for grant in change.lost]
    return tuple(found)


def extra(subject: Subject, base: Subject | None) -> tuple[Grant, ...]:
    """Return what `subject` permits and `base` does not (None: nothing at all is permitted there), sorted."""
    found = [*beside_files(subject, base), *_limits(subject, base), *_attachment(subject, base)]
    found += _files(subject, base)
    return tuple(sorted(set(found)))


def beside_files(subject: Subject, base: Subject | None) -> tuple[Grant, ...]:
    """Return the part of `extra` that is no access to a file: capabilities, sockets, pairs of names, other classes."""
    found = [*_capabilities(subject, base), *_pairs(subject, base), *_network(subject, base)]
    for kind in CLASS_BITS:
        found += _class(kind, subject, base)
    return tuple(sorted(set(found)))


def covered(subject: Subject, base: Subject) -> bool:
    """Return whether `base` permits all that `subject` permits, both compiled for the same target.

    It is stricter than an empty `extra`: the whole policy automaton is compared, also what `extra` can't put into words
    (addresses and labels of sockets). And it stops at the first difference.
    """
    if any(True for _ in chain(_capabilities(subject, base), _limits(subject, base), _attachment(subject, base))):
        return False
    if more_of_classes(subject, base):
        return False
    walk = _file_walk(subject, base)
    if walk is not None and any(True for _ in _file_gains(walk, subject, base)):
        return False
    return not any(True for _ in _pairs(subject, base))


def lost_attachment(subject: Subject, base: Subject) -> tuple[Grant, ...]:
    """Return programs to which `base` attaches and `subject` does not: those would run unconfined."""
    if base.xmatch is None:
        lost = base.name.startswith(b"/") and not subject.attaches(base.name)
        return (Grant("attachment", "", shown(base.name)),) if lost else ()
    return tuple(_attachment(base, subject))


def silenced(subject: Subject, base: Subject) -> tuple[Grant, ...]:
    """Return what explicit denials of `subject` refuse without a record, and those of `base` do not; a few examples."""
    found = []
    for machine, before in ((subject.file, base.file), (subject.policy, base.policy)):
        found += list(islice(_silenced(machine, before), _WORDS))
    return tuple(found)


def _silenced(machine: Machine | None, before: Machine | None) -> Iterator[Grant]:
    if machine is None:
        return
    parts = [Policy(machine.dfa, machine.start)]
    if before is not None:
        parts.append(Policy(before.dfa, before.start))
    walk = Walk(parts, lambda place: place[0] != TRAP)
    for place in walk:
        quiet = 0
        for owner in SIDES if machine.rights.file else (True,):
            other = before.rights.of(place[1], owner).quiet if before is not None else 0
            quiet |= machine.rights.of(place[0], owner).quiet & ~other
        if not quiet:
            continue
        word = walk.word(place)
        if machine.rights.file:
            yield Grant("silent denial", letters(quiet), shown(word))
        else:
            kind = next((kind for kind, number in CLASSES.items() if number == word[:1][0]), "") if word else ""
            yield Grant("silent denial", kind or "another class", shown(word[1:]))


def more_of_classes(subject: Subject, base: Subject) -> bool:
    """Return whether `subject` permits anything more in the classes beside files; both compiled for one target."""
    machine, before = subject.policy, base.policy
    if machine is None:
        return False
    parts = [Policy(machine.dfa, machine.start)]
    if before is not None:
        parts.append(Policy(before.dfa, before.start))
    for place in Walk(parts, lambda place: place[0] != TRAP):
        allow = machine.rights.allow(place[0]) & ~_STRUCTURE
        if allow and before is not None:
            allow &= ~before.rights.allow(place[1])
        if allow:
            return True
    return False


def _capabilities(subject: Subject, base: Subject | None) -> Iterator[Grant]:
    more = subject.capabilities & ~(base.capabilities if base else 0)
    for name, bit in numbers("capabilities").items():
        if more >> bit & 1:
            yield Grant("capability", "", name)


def _limits(subject: Subject, base: Subject | None) -> Iterator[Grant]:
    if base is None:
        return
    for name, number in numbers("rlimits").items():
        limit, before = subject.rlimits.get(number), base.rlimits.get(number)
        if before is not None and (limit is None or limit > before):
            yield Grant("rlimit", name, "unlimited" if limit is None else f"up to {limit}")


def _attachment(subject: Subject, base: Subject | None) -> Iterator[Grant]:
    machine, before = subject.xmatch, base.xmatch if base else None
    if machine is None:
        return
    for word, bits in _more(machine, machine.start, before, before.start if before else TRAP, May.EXEC):
        if bits and word.startswith(b"/"):
            yield Grant("attachment", "", shown(word))


def _files(subject: Subject, base: Subject | None) -> Iterator[Grant]:
    """Yield file permissions, and executions that change the profile in another way."""
    walk = _file_walk(subject, base)
    if walk is None:
        return
    more = dict(_file_gains(walk, subject, base))
    if not more:
        return
    seen: set[tuple[bytes, tuple[int, int, str]]] = set()
    for place, word in islice(walk.words(more, _PATHS), LIMIT):
        seen.add((word, more[place]))
        if _DOTTED.search(word) is None or (_DOTTED.sub(b"/", word), more[place]) not in seen:
            yield from _file_grants(word, *more[place])


def _file_walk(subject: Subject, base: Subject | None) -> Walk | None:
    machine, before = subject.file, base.file if base else None
    if machine is None:
        return None
    parts: list[Part] = [Policy(machine.dfa, machine.start), RealPaths()]
    if before is not None:
        parts.append(Policy(before.dfa, before.start))
    return Walk(parts, lambda place: place[0] != TRAP and place[1] != 0, without=b"\0")


def _file_gains(walk: Walk, subject: Subject, base: Subject | None) -> Iterator[tuple[States, tuple[int, int, str]]]:
    """Yield the places at which `subject` permits more, with what (see `_file_more`)."""
    for place in walk:
        if place[1] in RealPaths.ends:
            found = _file_more(subject, base, place)
            if any(found):
                yield place, found


def _file_more(subject: Subject, base: Subject | None, place: States) -> tuple[int, int, str]:
    """Return what is permitted more at this place to owners and to others, and how an execution differs."""
    assert subject.file is not None
    before = base.file if base else None
    sides = [subject.file.rights.of(place[0], owner) for owner in (True, False)]
    if before is None or base is None:
        return sides[0].allow & _FILE, sides[1].allow & _FILE, ""
    others = [before.rights.of(place[2], owner) for owner in (True, False)]
    way = ""
    for side, other in zip(sides, others, strict=True):
        if side.allow & other.allow & May.EXEC:
            ways = transition(subject, side), transition(base, other)
            way = way or (f"{ways[0]} instead of {ways[1]}" if ways[0] != ways[1] else "")
    return sides[0].allow & _FILE & ~others[0].allow, sides[1].allow & _FILE & ~others[1].allow, way


def _file_grants(path: bytes, own: int, others: int, way: str) -> Iterator[Grant]:
    shares = ((own & others, ""), (own & ~others, " by its owner"), (others & ~own, " by others than its owner"))
    for bits, who in shares:
        if letters(bits):
            yield Grant("file", letters(bits), shown(path) + who)
    if way:
        yield Grant("file", way, shown(path))


def _pairs(subject: Subject, base: Subject | None) -> Iterator[Grant]:
    """Yield changes of profile, and pairs of names: hard links and changes of profile at the next execution."""
    machine, before = subject.file, base.file if base else None
    if machine is None:
        return
    wanted = May.CHANGE_PROFILE | May.ONEXEC | May.LINK
    for word, bits in _more(machine, machine.start, before, before.start if before else TRAP, wanted):
        first, nul, second = word.partition(b"\0")
        if nul and bits & May.LINK and second.startswith(b"/"):
            yield Grant("link", "", f"{shown(first)} -> {shown(second)}")
        elif nul and bits & May.ONEXEC:
            yield Grant("change_profile", f"at execution of {shown(first)}", f"to {shown(second)}")
        elif not nul and bits & May.CHANGE_PROFILE:
            yield Grant("change_profile", "", f"to {shown(first)}")


def _network(subject: Subject, base: Subject | None) -> Iterator[Grant]:
    start, before = net_start(subject), net_start(base) if base else TRAP
    if subject.policy is None or start == TRAP:
        return
    bits_of = numbers("network")
    for family, number in numbers("families").items():
        for kind, type_number in numbers("socket_types").items():
            word = number.to_bytes(2) + type_number.to_bytes(2)
            more = subject.policy.rights.allow(subject.policy.dfa.run(start, word))
            if base is not None and base.policy is not None:
                more &= ~base.policy.rights.allow(base.policy.dfa.run(before, word))
            text = words_of(more, bits_of)
            if text:
                yield Grant("network", text, f"{family} {kind}")


def net_start(subject: Subject) -> int:
    """Return the state in which questions about sockets start, TRAP where they are not mediated."""
    return subject.start(CLASSES["network_v9"]) or subject.start(CLASSES["network"])


def _class(kind: str, subject: Subject, base: Subject | None) -> Iterator[Grant]:
    """Yield what a class of the policy automaton permits more, its words read by `policy.words`."""
    machine, table = subject.policy, numbers(CLASS_BITS[kind])
    start = _start(kind, subject)
    if machine is None or start == TRAP:
        return
    before = base.policy if base else None
    if base is not None and base.start(CLASSES[kind]) == TRAP:
        return  # the other does not mediate the class, so it permits everything
    wanted = sum(table.values())
    for word, bits in _more(machine, start, before, _start(kind, base) if base else TRAP, wanted):
        for permission, text in read(kind, word, bits):
            yield Grant(kind, permission, text)


def _start(kind: str, subject: Subject) -> int:
    if kind == "ptrace" and subject.policy is not None and subject.start(CLASSES["ptrace"]) != TRAP:
        return subject.policy.dfa.step(subject.start(CLASSES["label"]), CLASSES["ptrace"])
    return subject.start(CLASSES[kind])


def _more(
    machine: Machine, start: int, before: Machine | None, before_start: int, wanted: int
) -> Iterator[tuple[bytes, int]]:
    """Yield words on which `machine` permits some of `wanted` that `before` does not, with those bits."""
    parts = [Policy(machine.dfa, start)]
    if before is not None:
        parts.append(Policy(before.dfa, before_start))
    walk = Walk(parts, lambda place: place[0] != TRAP)
    more: dict[States, int] = {}
    for place in walk:
        bits = machine.rights.allow(place[0]) & wanted
        if bits and before is not None:
            bits &= ~before.rights.allow(place[1])
        if bits:
            more[place] = bits
    if not more:
        return
    for place, word in islice(walk.words(more, _WORDS), LIMIT):
        yield word, more[place]


def witness_text(witness: Witness) -> str:
    """Return a finding of a walk in words."""
    who = {True: " by its owner", False: " by others than its owner", None: ""}[witness.owner]
    what = f" ({witness.what})" if witness.what else ""
    return f"{witness.letters} on {shown(witness.path)}{who}{what}"
