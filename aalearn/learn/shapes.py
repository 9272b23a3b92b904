"""Names that enough siblings type: uuids, hex ids, counters, dates, names of temporary files (generalise-and-risk §1).

Nothing here looks at more than the names in one folder and the runs that needed them. What a shape needs as evidence
stands beside it; the caller counts.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from aalearn.learn.recognise import Segment
from aalearn.model.pattern import INT_DIGITS, Alt, Chars, Literal, Pattern, Token, Var

_ATOM = re.compile(
    rb"(?P<uuid>(?<![0-9a-f])[0-9a-f]{8}([-_])[0-9a-f]{4}\2[0-9a-f]{4}\2[0-9a-f]{4}\2[0-9a-f]{12}(?![0-9a-f]))"
    rb"|(?P<hex>(?<![0-9a-zA-Z])[0-9a-f]{32,128}(?![0-9a-zA-Z]))"
    rb"|(?P<date>(?<![0-9])20[0-9]{2}([-_.]?)[01][0-9]\5[0-3][0-9](?![0-9]))"
    rb"|(?P<pci>[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7])"
    rb"|(?P<digits>[0-9]+)"
)
_HEX_NAME = re.compile(rb"[0-9a-f]{2,31}")
# mkstemp(3) and mkdtemp(3) write 6 characters, Python's tempfile 8, others 10 or 12.
_RANDOM_LENGTHS = (6, 8, 10, 12)
_TIME_DIGITS = 10
_RANDOM = re.compile(rb"[A-Za-z0-9_]+")


@dataclass(frozen=True, slots=True, order=True)
class Atom:
    """A part of a name: literal bytes, or a kind ("uuid-", "hex", "date-", "digits") with its length."""

    kind: str
    value: bytes
    length: int


@dataclass(frozen=True, slots=True)
class Family:
    """Sibling names that are one thing: the segment that stands for them, the names, and what they are in plain
    words.
    """

    segment: Segment
    names: tuple[bytes, ...]
    label: str
    temporary: bool = False


Style = frozenset[tuple[int, str]]


def families(
    names: Mapping[bytes, frozenset[int]],
    created: frozenset[bytes],
    moved: frozenset[bytes],
    quorum: int,
    style: Style = frozenset(),
) -> tuple[Family, ...]:
    """Return the families among the sibling `names` of a folder (name → runs that needed it), each with enough
    evidence.

    `created` are the names that the subject itself made, `moved` those that it renamed or unlinked. `quorum` is the
    least number of different runs that a family must rest on: one run, however many names it brings, types nothing by
    itself. `style` is how the subject was proven to name its temporary files elsewhere (`styles`): with it, a name
    that it made needs no siblings. The families are disjoint and sorted.
    """
    left = dict(names)
    found: list[Family] = []

    def take(family: Family) -> None:
        found.append(family)
        for name in family.names:
            del left[name]

    for family in (*_locale(left), *_rotated(left, moved)):
        take(family)
    for finder in (_hex_names, _atoms):
        for family in finder(left, quorum):
            take(family)
    for family in _temporary({name: left[name] for name in left if name in created}):
        take(family)
    if style:
        own = {name: runs for name, runs in left.items() if name in created and len(runs) == 1}
        for family in (*_own_hashes(own), *_like(own, style)):
            take(family)
    return tuple(sorted(found, key=lambda family: family.names))


def styles(found: Iterable[Family]) -> Style:
    """Return the (length, alphabet) of the random parts of the temporary names among `found`."""
    return frozenset(
        (token.count, token.cls)
        for family in found
        if family.temporary
        for token in family.segment
        if isinstance(token, Chars)
    )


_CATEGORY = re.compile(rb"LC_[A-Z]+")
_ROTATED = re.compile(rb"(.+\.log)\.[0-9]{1,2}(?:\.(?:gz|xz|bz2|zst))?")


def _locale(seen: Mapping[bytes, frozenset[int]]) -> list[Family]:
    """Return the family of a locale's categories (`LC_CTYPE`, …): a program that sets its locale reads them all."""
    names = sorted(name for name in seen if _CATEGORY.fullmatch(name) and name != b"LC_MESSAGES")  # that is a folder
    if len(names) < 2:
        return []
    segment = (Literal(b"LC_"), Alt(tuple(Pattern.literal(name[3:]) for name in names)))
    return [Family(segment, tuple(names), "categories of a locale")]


def _rotated(seen: Mapping[bytes, frozenset[int]], moved: frozenset[bytes]) -> list[Family]:
    """Return families of a log and its rotated ones, where a rename or an unlink was seen.

    That is `x.log{,.[0-9]*}` with a closed end, `x.log{,.[0-9],.[0-9][0-9]}` (and `.gz` where it was seen): an open one
    matches keys.
    """
    groups: dict[bytes, list[bytes]] = defaultdict(list)
    for name in seen:
        found = _ROTATED.fullmatch(name)
        if found:
            groups[found[1]].append(name)
    families = []
    for base, rotated in sorted(groups.items()):
        names = sorted({*rotated, *({base} & seen.keys())})
        if not moved.isdisjoint(names):
            endings = sorted({b"", *(b"." + name.rpartition(b".")[2] for name in names if not _plain(name))})
            numbers = [
                Pattern.of(Literal(b"."), Chars("0-9", width), Literal(ending))
                for ending in endings
                for width in (1, 2)
            ]
            segment = (Literal(base), Alt((Pattern(()), *numbers)))
            families.append(Family(segment, tuple(names), "a log and its rotated ones"))
    return families


def _plain(name: bytes) -> bool:
    return name.endswith(b".log") or name.rpartition(b".")[2].isdigit()


def _runs(names: Iterable[bytes], seen: Mapping[bytes, frozenset[int]]) -> int:
    return len(frozenset().union(*(seen[name] for name in names)))


def split(name: bytes) -> tuple[Atom, ...]:
    """Return the atoms of a name: what a uuid, a long hex number, a date or a number is, and the literal rest."""
    atoms: list[Atom] = []
    at = 0
    for match in _ATOM.finditer(name):
        if match.start() > at:
            atoms.append(Atom("", name[at : match.start()], 0))
        kind = match.lastgroup or "digits"
        for key in ("uuid", "hex", "date", "pci", "digits"):
            if match[key] is not None:
                kind = key
        joint = match[2] if kind == "uuid" else match[5] if kind == "date" else b""
        atoms.append(Atom(kind, joint, len(match[0])))
        at = match.end()
    if at < len(name):
        atoms.append(Atom("", name[at:], 0))
    return tuple(atoms)


def _atoms(seen: Mapping[bytes, frozenset[int]], quorum: int) -> list[Family]:
    """Return families of names that differ in their typed atoms alone."""
    groups: dict[tuple[tuple[str, bytes], ...], list[bytes]] = defaultdict(list)
    parts = {name: split(name) for name in seen}
    for name, atoms in parts.items():
        if any(atom.kind for atom in atoms):
            groups[_key(atoms)].append(name)
    found: list[Family] = []
    for key, names in sorted(groups.items()):
        kinds = {kind for kind, _ in key if kind}
        needed = 2 if kinds & {"uuid", "hex", "pci"} else 3
        if len(names) >= needed and _runs(names, seen) >= max(quorum, 2):
            found.append(_atom_family(sorted(names), parts))
    return [family for family in found if len(family.names) > 1]


def _key(atoms: Iterable[Atom]) -> tuple[tuple[str, bytes], ...]:
    """Return what names must have in common to be told apart by their typed atoms alone.

    A hex id and a number that @{int} can't hold keep their lengths: a time in microseconds is no counter's next value.
    The width of a shorter number is decided by the siblings.
    """
    return tuple((atom.kind, b"%d" % atom.length if _long(atom) else atom.value) for atom in atoms)


def _long(atom: Atom) -> bool:
    return atom.kind == "hex" or (atom.kind == "digits" and atom.length > INT_DIGITS)


def _atom_family(names: list[bytes], parts: Mapping[bytes, tuple[Atom, ...]]) -> Family:
    texts = [_pieces(name, parts[name]) for name in names]
    tokens: list[Token] = []
    labels: set[str] = set()
    for at, atom in enumerate(parts[names[0]]):
        values = {pieces[at] for pieces in texts}
        if not atom.kind or len(values) == 1:
            tokens.append(Literal(texts[0][at]))
            continue
        labels.add({"uuid": "uuid", "hex": "hex id", "date": "date", "pci": "PCI address"}.get(atom.kind, "number"))
        fixed = parts[names[0]][at].kind != "digits" or not any(a.kind in ("hex", "uuid") for a in parts[names[0]])
        tokens.extend(_typed(atom, {len(value) for value in values} if fixed and not _grows(values) else set()))
    return Family(Pattern.of(*tokens).tokens, tuple(names), " and ".join(sorted(labels)))


def _grows(numbers: Iterable[bytes]) -> bool:
    """Return whether these are numbers that will have more digits one day: a pid, a counter, a relfilenode.

    One with zeros before it is written at its width; a time in seconds since the epoch keeps its ten digits until 2286.
    """
    return all(len(number) < _TIME_DIGITS and (number[:1] != b"0" or number == b"0") for number in numbers)


def _pieces(name: bytes, atoms: tuple[Atom, ...]) -> list[bytes]:
    pieces, at = [], 0
    for atom in atoms:
        length = atom.length or len(atom.value)
        pieces.append(name[at : at + length])
        at += length
    return pieces


def _typed(atom: Atom, lengths: set[int]) -> list[Token]:
    if atom.kind == "uuid":
        tokens: list[Token] = []
        for at, length in enumerate((8, 4, 4, 4, 12)):
            if at:
                tokens.append(Literal(atom.value))
            tokens.append(Chars("0-9a-f", length))
        return tokens
    if atom.kind == "pci":
        tokens = []
        for length, mark in ((4, b":"), (2, b":"), (2, b"."), (1, b"")):
            tokens += [Chars("0-9a-f", length), Literal(mark)]
        return tokens
    if _long(atom):
        return [Chars("0-9a-f" if atom.kind == "hex" else "0-9", atom.length)]
    if atom.kind == "date":
        joint: list[Token] = [Literal(atom.value)] if atom.value else []
        century: list[Token] = [Literal(b"2"), Chars("0-9", 3)]
        return [*century, *joint, Chars("01", 1), Chars("0-9", 1), *joint, Chars("0-3", 1), Chars("0-9", 1)]
    return [Chars("0-9", lengths.pop())] if len(lengths) == 1 else [Var("int")]


def _hex_names(seen: Mapping[bytes, frozenset[int]], quorum: int) -> list[Family]:
    """Return families of whole names that are hex of one length (git's object folders): 4 distinct, most with a
    digit.
    """
    groups: dict[int, list[bytes]] = defaultdict(list)
    for name in seen:
        if _HEX_NAME.fullmatch(name):
            groups[len(name)].append(name)
    found = []
    for length, names in sorted(groups.items()):
        digits = sum(any(48 <= byte <= 57 for byte in name) for name in names)
        letters = sum(any(byte > 57 for byte in name) for name in names)
        if (
            len(names) >= 4
            and letters * 4 > len(names)
            and digits * 2 > len(names)
            and _runs(names, seen) >= max(quorum, 2)
        ):
            found.append(Family((Chars("0-9a-f", length),), tuple(sorted(names)), f"hex name of {length}"))
    return found


def _temporary(seen: Mapping[bytes, frozenset[int]]) -> list[Family]:
    """Return families of temporary names: one prefix and suffix, a random part of one length, each name in one run
    only.

    It takes three names of three different runs, all made by the subject, and parts that look random (most hold a
    digit, a capital or `_`), so that three words of six letters are no family.
    """
    found: list[Family] = []
    left = {name for name, runs in seen.items() if len(runs) == 1}
    candidates: dict[tuple[bytes, int, bytes], list[bytes]] = defaultdict(list)
    for name in left:
        for key in _random_parts(name):
            candidates[key].append(name)
    # the largest family first; of equals the one with the shortest random part
    order = sorted(candidates.items(), key=lambda item: (-len(item[1]), item[0][1], item[0]))
    for (prefix, length, suffix), all_names in order:
        names = sorted(name for name in all_names if name in left)
        parts = [name[len(prefix) : len(prefix) + length] for name in names]
        if len(names) < 3 or _runs(names, seen) < 3 or not _looks_random(parts):
            continue
        left.difference_update(names)
        segment = Pattern.of(Literal(prefix), Chars(_alphabet(parts), length), Literal(suffix)).tokens
        found.append(Family(segment, tuple(names), _RANDOM_LABEL % length, temporary=True))
    return found


_RANDOM_LABEL = "temporary name, %d random characters"


def _own_hashes(own: Mapping[bytes, frozenset[int]]) -> list[Family]:
    """Return families of names with a uuid or long hex id that the subject made, two or more in this folder.

    Who names a file by a hash of its content will not name another one the same.
    """
    groups: dict[tuple[tuple[str, bytes], ...], list[bytes]] = defaultdict(list)
    parts = {name: split(name) for name in own}
    for name, atoms in parts.items():
        if any(atom.kind in ("uuid", "hex") for atom in atoms):
            groups[_key(atoms)].append(name)
    if sum(len(names) for names in groups.values()) < 2:
        return []
    found = []
    for _, names in sorted(groups.items()):
        tokens: list[Token] = []
        for atom, piece in zip(parts[names[0]], _pieces(names[0], parts[names[0]]), strict=True):
            tokens.extend(_typed(atom, set()) if atom.kind else [Literal(piece)])
        found.append(Family(Pattern.of(*tokens).tokens, tuple(sorted(names)), "hash in a name that it made itself"))
    return found


def _like(own: Mapping[bytes, frozenset[int]], style: Style) -> list[Family]:
    """Return families of temporary names in a style that is proven elsewhere: a prefix that ends in a mark, then
    random.
    """
    groups: dict[Segment, list[bytes]] = defaultdict(list)
    lengths: dict[Segment, int] = {}
    for name in own:
        for prefix, length, suffix in _random_parts(name):
            part = name[len(prefix) : len(prefix) + length]
            if (length, _alphabet([part])) not in style or prefix[-1:] not in (b"_", b"-", b"."):
                continue
            if sum(bool(kind.search(part)) for kind in _KINDS) >= 2:
                cls = _alphabet([part])
                segment = Pattern.of(Literal(prefix), Chars(cls, length), Literal(suffix)).tokens
                groups[segment].append(name)
                lengths[segment] = length
                break
    return [
        Family(segment, tuple(sorted(names)), _RANDOM_LABEL % lengths[segment])
        for segment, names in sorted(groups.items(), key=lambda item: sorted(item[1]))
    ]


_KINDS = (re.compile(rb"[a-z]"), re.compile(rb"[A-Z]"), re.compile(rb"[0-9]"))


def _random_parts(name: bytes) -> Iterable[tuple[bytes, int, bytes]]:
    dot = name.find(b".", 1)
    stems = [(name, b"")] if dot < 0 else [(name, b""), (name[:dot], name[dot:])]
    for stem, suffix in stems:
        for length in _RANDOM_LENGTHS:
            part = stem[-length:]
            if len(stem) >= length and _RANDOM.fullmatch(part):
                yield stem[: len(stem) - length], length, suffix


def _looks_random(parts: list[bytes]) -> bool:
    marked = sum(any(byte < 97 for byte in part) for part in parts)
    repeated = max(Counter(part[0] for part in parts).values())
    digits = all(part.isdigit() for part in parts)
    return marked * 10 >= len(parts) * 6 and not digits and (len(parts) < 6 or repeated * 2 <= len(parts))


def _alphabet(parts: list[bytes]) -> str:
    text = b"".join(parts)
    capitals = any(65 <= byte <= 90 for byte in text)
    under = b"_" in text
    return ("A-Z" if capitals else "") + "a-z0-9" + ("_" if under or not capitals else "")
