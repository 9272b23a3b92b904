"""Every access to its block: transitions planned, peers folded, the other side of what children did not log added."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from aalearn.learn.blocks import Block, add
from aalearn.learn.evidence import PEERS, Item, folded
from aalearn.learn.labels import Context, Way, context
from aalearn.learn.options import Options
from aalearn.learn.transitions import Plan, plan
from aalearn.model.errors import NotExpressible
from aalearn.model.event import Event
from aalearn.model.text import shown
from aalearn.rules import rules_of
from aalearn.rules.base import Level, Note, Rule

_MIRRORED = {"send": "receive", "receive": "send", "read": "readby", "readby": "read", "trace": "tracedby"} | {
    "tracedby": "trace"
}
_MASKS = ("denied_mask", "requested_mask")


@dataclass(frozen=True, slots=True)
class Replay:
    """An event as the finished profile meets it: its block, the access's position, the rules that it asks for."""

    at: int
    block: str
    event: Event
    rules: tuple[Rule, ...]
    note: str = ""


@dataclass(slots=True)
class Gathered:
    """What `gather` found: the items by position, the blocks by name, the events to replay, the notes with their
    counts.
    """

    items: dict[int, Item] = field(default_factory=dict)
    blocks: dict[str, Block] = field(default_factory=dict)
    replays: list[Replay] = field(default_factory=list)
    notes: dict[Note, int] = field(default_factory=dict)
    through_null: bool = False  # children were learned through `//null-`: most classes were not logged
    runs: frozenset[int] = frozenset()
    partial: set[int] = field(default_factory=set)  # items whose records asked for more than is known
    trusted: bool = False  # some access came from a source that no program can forge

    def block(self, name: str) -> Block:
        """Return the block of that name, made if need be."""
        return self.blocks.setdefault(name, Block(name))

    def note(self, level: Level, text: str, events: int = 0) -> None:
        """Count a note."""
        note = Note(level, text)
        self.notes[note] = self.notes.get(note, 0) + events


def planned(name: bytes, profile: str, items: Sequence[Item], options: Options) -> Plan:
    """Decide the transitions from what each context needs by itself."""
    needs: dict[Context, list[Rule]] = {(): []}
    said: dict[bytes, set[str]] = {}
    inner: dict[bytes, bool] = {}
    hats: set[bytes] = set()
    for item in items:
        event = item.event
        if event.operation == "change_hat":
            target = context(name, event.get("target") or b"")
            hats.update(step.name for step in target or () if step.way is Way.HAT)
        _note_steps(item.context, said, inner)
        for key in PEERS:  # a child may be named as a peer alone, its own records lost
            _note_steps(context(name, event.get(key) or b"") or (), said, inner)
        if event.operation == "exec" and (path := event.get("name") or b"").startswith(b"/"):
            said.setdefault(path, set()).add(event.text("info"))
            target = context(name, event.get("target") or b"")
            if target and target[-1].way is Way.INNER:
                inner[target[-1].name] = True
        needs.setdefault(item.context, []).extend(rules_of(event, None, options.target).rules)
    return plan(
        profile, needs, {path: frozenset(words) for path, words in said.items()}, options, inner, frozenset(hats)
    )


def _note_steps(steps: Context, said: dict[bytes, set[str]], inner: dict[bytes, bool]) -> None:
    for step in steps:
        if step.way is Way.EXEC:
            said.setdefault(step.name, set())
        elif step.way is Way.INNER:
            inner.setdefault(step.name, b"/" in step.name)


def gather(name: bytes, items: Sequence[Item], decided: Plan, options: Options) -> Gathered:
    """Put each item into its block. What can't be put anywhere becomes a note with its event, never silence."""
    found = Gathered(items={item.at: item for item in items})
    found.block("")
    found.runs = frozenset().union(*(item.runs for item in items))
    found.trusted = any(item.access.believed for item in items)
    for item in items:
        found.through_null = found.through_null or any(step.way is Way.EXEC for step in item.context)
        try:
            block = decided.block(item.context)
            if item.event.operation == "change_hat":
                _hat(name, item, decided, found)
        except NotExpressible as error:
            found.note(Level.INEXPRESSIBLE, f"{error} in {_told(item.event)}", item.access.count)
            continue
        if block is None:
            text = f"what runs as {shown(item.context[0].name)} belongs to that profile: learn that one to see it"
            found.note(Level.DOUBT, text, item.access.count)
            continue
        _place(name, item, block, decided, options, found)
    return found


def _hat(name: bytes, item: Item, decided: Plan, found: Gathered) -> None:
    """Make the hat that a change_hat asked for, so that it exists even if nothing was done in it."""
    target = context(name, item.event.get("target") or b"")
    if target and (block := decided.block(target)) is not None:
        found.block(block)


def _place(name: bytes, item: Item, block: str, decided: Plan, options: Options, found: Gathered) -> None:
    event = folded(item.event, block, decided, name)
    outcome = rules_of(event, None, options.target)
    add(found.block(block), item, event, outcome.rules)
    for note in outcome.notes:
        unsaid = note.level in (Level.INEXPRESSIBLE, Level.UNSUPPORTED, Level.WEAKENING)
        text = f"{note.text}: {_told(event)}" if unsaid else note.text
        found.note(Level(note.level), text, item.access.count)
    if outcome.rules:
        if any(note.level is Level.UNSUPPORTED for note in outcome.notes):
            found.partial.add(item.at)
        found.replays.append(Replay(item.at, block, event, outcome.rules))
    mirror = _mirror(name, item, event, decided)
    if mirror is not None:
        other, back = mirror
        rules = rules_of(back, None, options.target).rules
        for rule in rules:
            found.block(other).implied.setdefault(rule, set()).add(item.at)
        found.replays.append(Replay(item.at, other, back, rules, "the other side, which a //null- child does not log"))


def _mirror(name: bytes, item: Item, event: Event, decided: Plan) -> tuple[str, Event] | None:
    """Return (block, event) of the other side where a signal or ptrace concerned a `//null-` child of this profile.

    The kernel asks both sides, but logs of `//null-` children lack these classes (log-records §4).
    """
    if event.operation not in ("signal", "ptrace"):
        return None
    steps = context(name, item.event.get("peer") or b"")
    if not steps or not any(step.way is Way.EXEC for step in steps):
        return None
    block = decided.block(steps)
    masks: dict[str, bytes | None] = {}
    for key in _MASKS:
        words = [_MIRRORED.get(word, "") for word in event.text(key).split()]
        if event.get(key) is not None:
            masks[key] = " ".join(words).encode()
    if block is None or not all(masks.values()):
        return None
    return block, event.with_(profile=decided.label(block), peer=event.profile, **masks)


def _told(event: Event) -> str:
    """Return an event in a few safe words."""
    keys = ("name", "capname", "family", "sock_type", "peer", "target", "info")
    told = [f"{key}={shown(event.get(key) or b'')}" for key in keys if event.get(key)]
    return shown(" ".join([event.operation, *told]))


def sorted_notes(notes: Mapping[Note, int], more: Iterable[Note] = ()) -> tuple[Note, ...]:
    """Return notes sorted, those about many events once, with their number."""
    counted = [
        Note(note.level, f"{note.text} ({count} events)" if count > 1 else note.text) for note, count in notes.items()
    ]
    return tuple(sorted({*counted, *more}))
