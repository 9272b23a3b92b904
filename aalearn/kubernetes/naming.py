"""Names under which profiles go to nodes: DNS-safe and versioned by what the profile permits (`web-7f3a1c02`).

A name is a base and a digest of the rules. Other rules are another name, so a node can hold both, and a rollback is a
change of the name in the Pod; comments and the mode (complain or enforce) don't change it.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from aalearn.grammar.writer import write
from aalearn.model.errors import UsageError
from aalearn.model.event import Event
from aalearn.model.label import STACK, Label
from aalearn.model.pattern import Pattern
from aalearn.model.profile import Document, Line, Profile, State
from aalearn.model.text import shown
from aalearn.policy.gate import Question
from aalearn.rules.base import Rule
from aalearn.rules.file import FileRule

DIGITS: Final = 8  # hexadecimal digits of the digest in a name
LONGEST: Final = 40  # characters of a name's base
SUBDOMAIN: Final = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
_LABELS: Final = {
    "signal": "peer",
    "ptrace": "peer",
    "unix": "peer",
    "dbus": "peer",
    "change_profile": "target",
    "io_uring": "label",
}
_PEERS: Final = ("peer", "peer_label", "target", "label")


@dataclass(frozen=True, slots=True)
class Renamed:
    """A document under another name, and the questions of its proof as they are asked of it."""

    name: str
    document: Document
    questions: tuple[Question, ...]


def base_of(name: bytes) -> str:
    """Return the base of an exported name for a profile's: lower case, letters, digits and hyphens alone."""
    text = re.sub(r"[^a-z0-9]+", "-", name.decode("utf-8", "replace").lower()).strip("-")
    return text[:LONGEST].strip("-") or "profile"


def checked_base(text: str) -> str:
    """Return a base that a person chose. Raises UsageError unless it can begin a DNS subdomain."""
    if not SUBDOMAIN.fullmatch(text) or len(text) > 200:
        raise UsageError(f"--name must be lower-case letters, digits, - and . as in a DNS name: {shown(text)}")
    return text


def versioned(base: str, document: Document) -> str:
    """Return the exported name: the base and the digest of what the document permits."""
    digest = hashlib.sha256(write(_bare(document)).encode()).hexdigest()
    return f"{base}-{digest[:DIGITS]}"


def _bare(document: Document) -> Document:
    return replace(document, comments=(), profile=_bare_profile(document.profile.in_mode(complain=False)))


def _bare_profile(profile: Profile) -> Profile:
    lines = tuple(Line(line.rule) for line in profile.lines if line.state is not State.WITHHELD)
    return replace(
        profile,
        lines=lines,
        comments=(),
        attachment=None,
        children=tuple(map(_bare_profile, profile.children)),
        hats=tuple(map(_bare_profile, profile.hats)),
    )


def renamed(learned: bytes, name: str, document: Document, questions: Sequence[Question]) -> Renamed:
    """Return the document and the questions under `name`: headers, children, peers and targets alike.

    The attachment goes: a Pod's containers get the profile by its name.
    """
    old = document.profile.name.encode()
    names = (learned, old)
    profile = replace(_relabelled(document.profile, names, name), name=name, attachment=None)
    comments = (*document.comments, f"Exported from the learned profile {shown(learned)}: look at it under that name.")
    return Renamed(
        name,
        replace(document, profile=profile, comments=comments),
        tuple(_question(one, names, name) for one in questions),
    )


def relabel(label: bytes, old: Sequence[bytes], new: str, *, flat: bool = False) -> bytes:
    """Return a label with each member that is one of `old`, or below it, renamed; `flat`: children become `new` too."""
    return STACK.join(_member(member, old, new, flat=flat) for member in label.split(STACK))


def _member(member: bytes, old: Sequence[bytes], new: str, *, flat: bool) -> bytes:
    if Label.parse(member).namespace and member not in old:
        return member
    for name in old:
        if member == name or member.startswith(name + b"//"):
            return new.encode() + (b"" if flat else member[len(name) :])
    return member


def _relabelled(profile: Profile, old: Sequence[bytes], new: str) -> Profile:
    return replace(
        profile,
        lines=tuple(replace(line, rule=_rule(line.rule, old, new)) for line in profile.lines),
        children=tuple(_relabelled(child, old, new) for child in profile.children),
        hats=tuple(_relabelled(hat, old, new) for hat in profile.hats),
    )


def _rule(rule: object, old: Sequence[bytes], new: str) -> Rule:
    assert isinstance(rule, Rule)
    if isinstance(rule, FileRule):
        target = rule.exec_target
        return replace(rule, exec_target=relabel(target.encode(), old, new).decode()) if target else rule
    field = _LABELS.get(rule.kind, "")
    value = getattr(rule, field, None)
    if isinstance(value, Pattern) and value.is_literal:
        changes: dict[str, Any] = {field: Pattern.literal(relabel(value.literal_bytes, old, new))}
        found: Rule = replace(rule, **changes)  # type: ignore[type-var]
        return found
    return rule


def _question(one: Question, old: Sequence[bytes], new: str) -> Question:
    block = relabel(one.block.encode("utf-8", "surrogateescape"), old, new).decode("utf-8", "surrogateescape")
    return replace(one, block=block, event=relabelled(one.event, old, new))


def relabelled(event: Event, old: Sequence[bytes], new: str, *, flat: bool = False) -> Event:
    """Return an event as the profile meets it under its new name."""
    changes: dict[str, bytes | None] = {"profile": relabel(event.profile, old, new, flat=flat)}
    for key in _PEERS:
        value = event.get(key)
        if value is not None and not (key == "target" and value.startswith(b"/")):
            changes[key] = relabel(value, old, new, flat=flat)
    return event.with_(**changes)
