"""What every rule kind shares: dimensions, the rule itself, what an event gives, and the registry.

A rule is a product of dimensions (a set of words, a pattern, a scalar). It covers another of its kind if each dimension
covers; two merge exactly if one covers the other, or if just one dimension differs and that one joins exactly.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, ClassVar, Self

from aalearn.model.errors import NotExpressible
from aalearn.model.event import Event
from aalearn.model.label import Label
from aalearn.model.pattern import Pattern
from aalearn.model.target import Target
from aalearn.model.text import quote, shown


class Level(StrEnum):
    """What a note says: why an event gave no rule, or what to know of the rule that it gave."""

    UNNEEDED = "unneeded"  # nothing has to be granted
    PROBE = "probe"  # the kernel only asked; list it, do not grant it
    INEXPRESSIBLE = "inexpressible"  # the policy language has no words for it
    WEAKENING = "weakening"  # only a profile flag helps, and it weakens the profile
    UNSUPPORTED = "unsupported"  # a word that we do not know, or a class that the target does not mediate
    DOUBT = "doubt"  # weak or incomplete evidence


@dataclass(frozen=True, slots=True, order=True)
class Note:
    """A remark about an event; `text` is one safe line."""

    level: str
    text: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an event asks of the policy."""

    rules: tuple["Rule", ...] = ()
    notes: tuple[Note, ...] = ()


def noted(level: Level, text: str) -> Outcome:
    """Return an outcome of one note and no rule."""
    return Outcome((), (Note(level, text),))


@dataclass(frozen=True, slots=True)
class Dimension:
    """How one field of a rule compares: `covers(a, b)`; `join(a, b)` as a 1-tuple, or None when it is not exact; a
    sort key.
    """

    covers: Callable[[Any, Any], bool]
    join: Callable[[Any, Any], tuple[Any] | None]
    key: Callable[[Any], tuple[Any, ...]]


def _never(_: Any, __: Any) -> None:
    return None


def _pattern_key(value: Pattern | None) -> tuple[Any, ...]:
    return () if value is None else value.sort_key()


# A set of words: more words allow more.
WORDS = Dimension(lambda a, b: a >= b, lambda a, b: (a | b,), lambda a: tuple(sorted(a)))
# A set of words that covers itself alone.
SAME_WORDS = Dimension(lambda a, b: a == b, _never, lambda a: tuple(sorted(a)))
# A set of words, or None for all of them.
ANY_WORDS = Dimension(
    lambda a, b: a is None or (b is not None and a >= b),
    lambda a, b: (None if a is None or b is None else a | b,),
    lambda a: () if a is None else (1, *sorted(a)),
)
# One value, which covers itself alone.
SCALAR = Dimension(lambda a, b: a == b, _never, lambda a: (a,))
# One value, or None for any.
ANY_SCALAR = Dimension(lambda a, b: a is None or a == b, _never, lambda a: () if a is None else (a,))
# A pattern, or None for any.
PATTERN = Dimension(lambda a, b: a.covers(b), _never, _pattern_key)
ANY_PATTERN = Dimension(lambda a, b: a is None or (b is not None and a.covers(b)), _never, _pattern_key)
# A condition such as `owner`: without it more is allowed.
CONDITION = Dimension(lambda a, b: b or not a, _never, lambda a: (a,))


class Rule(ABC):
    """One rule of a profile. Subclasses are frozen dataclasses whose fields are all named in `dimensions`.

    `order` is the place of the kind in a profile; `needs` is the class that a target must mediate (see
    `Target.mediates`). `reported` kinds have no rules: their events are told to people, or become something else than
    a rule.
    """

    __slots__ = ()

    kind: ClassVar[str]
    order: ClassVar[int]
    needs: ClassVar[str]
    reported: ClassVar[bool] = False
    dimensions: ClassVar[dict[str, Dimension]]

    @abstractmethod
    def text(self) -> str:
        """Return the exact policy text: one line, with its final comma."""

    @classmethod
    @abstractmethod
    def from_event(cls, event: Event, owner: bool | None, target: Target) -> Outcome:
        """Return what `event` asks of this kind. May raise NotExpressible; `rules_of` turns that into a note."""

    def covers(self, other: "Rule") -> bool:
        """Return whether everything that `other` allows is allowed here too. Sound: False where it can't be proved."""
        return type(other) is type(self) and all(
            dimension.covers(getattr(self, name), getattr(other, name)) for name, dimension in self.dimensions.items()
        )

    def merge(self, other: "Rule") -> "Rule | None":
        """Return one rule that allows exactly what both together allow, or None when there is no such rule."""
        if self.covers(other):
            return self
        if other.covers(self):
            return other
        if type(other) is not type(self):
            return None
        different = [name for name in self.dimensions if getattr(self, name) != getattr(other, name)]
        if len(different) != 1:
            return None
        return self._joined(other, different[0])

    def _joined(self, other: Self, name: str) -> Self | None:
        joined = self.dimensions[name].join(getattr(self, name), getattr(other, name))
        return None if joined is None else replace(self, **{name: joined[0]})  # type: ignore[type-var]

    def sort_key(self) -> tuple[Any, ...]:
        """Return a key that is equal only for equal rules; the kind comes first."""
        keys = tuple(dimension.key(getattr(self, name)) for name, dimension in self.dimensions.items())
        return (self.order, self.kind, *keys)

    def __lt__(self, other: "Rule") -> bool:
        return self.sort_key() < other.sort_key()


KINDS: dict[str, type[Rule]] = {}


def register(cls: type[Rule]) -> type[Rule]:
    """Class decorator: add a kind to KINDS. Raises TypeError for a kind without a name, or one that exists already."""
    kind = cls.__dict__.get("kind")
    if not isinstance(kind, str) or not kind:
        raise TypeError(f"{cls.__name__} names no kind")
    if kind in KINDS:
        raise TypeError(f"{cls.__name__}: the kind {kind!r} is {KINDS[kind].__name__}'s already")
    missing = [name for name in ("dimensions", "order", "needs") if name not in cls.__dict__]
    if missing:
        raise TypeError(f"{cls.__name__} does not say its {' and '.join(missing)}")
    KINDS[kind] = cls
    return cls


def required(event: Event, key: str) -> bytes:
    """Return the value of a field that the rule can't do without. Raises NotExpressible when it is missing or empty."""
    value = event.get(key)
    if not value:
        raise NotExpressible(f"the record has no {key}=")
    return value


def mask(event: Event) -> str:
    """Return what was missing: the denied mask, else the requested one (AUDIT records have only that), else "".

    Newer classes call them `denied` and `requested`, the bus daemons `mask`.
    """
    for key in ("denied_mask", "denied", "requested_mask", "requested", "mask"):
        if event.get(key):
            return event.text(key)
    return ""


def asked(event: Event) -> list[str]:
    """Return the words of a mask that is no set of letters; blanks or commas stand between them."""
    return mask(event).replace(",", " ").split()


def known(words: list[str], table: dict[str, str], what: str) -> tuple[frozenset[str], tuple[Note, ...]]:
    """Return the policy words of the log's `words` by `table`, and a note for each that is not in it."""
    found = frozenset(table[word] for word in words if word in table)
    strange = sorted({word for word in words if word not in table})
    return found, tuple(Note(Level.UNSUPPORTED, f"unknown {what} {shown(word)}") for word in strange)


def literal(value: bytes) -> Pattern:
    """Return the pattern of one foreign string. Raises NotExpressible for an empty value or one with NUL."""
    if not value or 0 in value:
        raise NotExpressible(f"an empty name or a NUL has no spelling in policy: {shown(value)}")
    return Pattern.literal(value)


def label(event: Event, key: str) -> Pattern | None:
    """Return the pattern of a label in the form that the kernel asks for (`:ns:name`), or None when there is none."""
    value = event.get(key)
    return literal(bytes(Label.parse(value))) if value else None


def label_text(value: Pattern) -> str:
    """Return a label's policy text; the mark between stacked members, `//&`, stays readable."""
    return quote(value.bare()[0].replace("//\\046", "//&"), _quoted(value))


def value_text(value: Pattern) -> str:
    """Return the policy text of a condition's value (`key=VALUE`)."""
    return quote(value.bare()[0], _quoted(value))


def _quoted(value: Pattern) -> bool:
    """Conditions are lists of words: a comma or a brace there ends an unquoted word, unlike in a path."""
    text, needed = value.bare()
    return needed or any(mark in text for mark in "{},")


def listed(words: frozenset[str]) -> str:
    """Return words as policy writes a set of them: sorted, in parentheses."""
    return f"({', '.join(sorted(words))})"
