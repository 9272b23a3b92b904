"""Rule kinds: what an event asks of the policy. One module a kind; each registers itself when it is imported."""

from importlib import import_module
from pkgutil import iter_modules

from aalearn.model.data import words
from aalearn.model.errors import NotExpressible
from aalearn.model.event import Event, Verdict
from aalearn.model.target import Target
from aalearn.model.text import shown
from aalearn.rules.base import KINDS, Dimension, Level, Note, Outcome, Rule, noted, register

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

__all__ = ["KINDS", "Dimension", "Level", "Note", "Outcome", "Rule", "kind_of", "register", "rules_of"]


def kind_of(event: Event) -> str | None:
    """Return the kind of rule that answers `event`, or None when no kind does (STATUS and the like, unknown
    operations).

    The class decides where the record has one and it names a kind, else the operation; a socket's family decides
    between network and unix, and without a family a socket operation with a name is a file's (source:
    `grammars/operations.toml`).
    """
    table = words("operations")
    if event.verdict is Verdict.STATUS or event.operation in table["silent"]:
        return None
    klass = event.text("class")
    kind: str | None = table["classes"].get(klass) or table["operations"].get(event.operation)
    if kind == "socket":
        kind = _socket(event)
    elif kind == "mount":
        kind = _mount(event)
    elif kind == "file" and event.get("family") is not None and klass != "file":
        kind = _socket(event)
    return kind


def _socket(event: Event) -> str | None:
    if event.get("family") is None:
        return "file" if event.get("name") is not None else None
    fine = any(event.get(key) is not None for key in ("addr", "peer_addr", "peer"))
    return "unix" if event.text("family") == "unix" and fine else "network"


def _mount(event: Event) -> str:
    flags = [flag.strip() for flag in event.text("flags").split(",")]
    return "remount" if "remount" in flags else "mount"


def rules_of(event: Event, owner: bool | None, target: Target) -> Outcome:
    """Return the rules that `event` asks for, and the notes on it. Pure; never raises, whatever the event holds.

    `owner` is whether the subject's fsuid was the object's owner in each record of this access (None: not known).
    """
    kind = kind_of(event)
    if kind is None:
        silent = event.verdict is Verdict.STATUS or event.operation in words("operations")["silent"]
        if silent:
            return noted(Level.UNNEEDED, f"{shown(event.operation) or 'the record'} asks for nothing")
        return noted(Level.UNSUPPORTED, f"unknown operation {shown(event.operation)}")
    if KINDS[kind].needs not in target.mediates:
        return noted(Level.UNSUPPORTED, f"the target (abi {target.abi}) does not mediate {KINDS[kind].needs}: no rule")
    try:
        return KINDS[kind].from_event(event, owner, target)
    except NotExpressible as error:
        return noted(Level.INEXPRESSIBLE, shown(str(error)))
