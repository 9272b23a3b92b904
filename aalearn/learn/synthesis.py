"""From accesses to a profile: fold, decide transitions, generalise, weigh risk, lay out. Pure and deterministic.

The same accesses in any order give the same `Synthesis`: everything is sorted by what it says, never by an id.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from aalearn.learn.containers import FLAGS, outside
from aalearn.learn.evidence import admitted, order
from aalearn.learn.flood import capped
from aalearn.learn.gather import Gathered, gather, planned, sorted_notes
from aalearn.learn.options import Options
from aalearn.learn.review import SINGLE, Judged, grouped, judge, unconfirmed
from aalearn.learn.transitions import Plan
from aalearn.model.event import Access, Event
from aalearn.model.pattern import VARIABLES, Pattern
from aalearn.model.profile import Document, Line, Profile, State
from aalearn.model.text import plain_name, shown
from aalearn.rules.base import Level, Note
from aalearn.rules.file import FileRule


@dataclass(frozen=True, slots=True)
class Learned:
    """What the proof must replay: the access, its event as the finished profile meets it, and its rule's state.

    `event.profile` is the name of the block that must allow it; peers and exec targets are folded. `withheld` is true
    where a rule that it needs stands in the text as a comment or is left out, so that the event must be *denied*.
    `note` says what is special ("the other side, which a //null- child does not log").
    """

    access: Access
    event: Event
    withheld: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A rule that waits for a person: the block's whole name, the rule's text, its risk tier (1 worst, 0 none of note),
    the reasons (one sentence each), how many runs needed it, whether it is active meanwhile, and whether it is left out
    for good because a person denied it.
    """

    block: str
    rule: str
    tier: int
    reasons: tuple[str, ...]
    runs: int
    active: bool
    denied: bool = False


@dataclass(frozen=True, slots=True)
class Synthesis:
    """A profile with all that explains it.

    `evidence` maps `key(block, rule text)` to the sorted ids of the accesses that the rule rests on, withheld and
    left-out rules too. `learned` is what the proof must replay. `review` are active rules that wait for a person,
    `withheld` those that are comments or left out. `notes` are the rule kinds' notes and ours, sorted. `judged` are
    all rules in order. `counted` are the ids of the accesses that are evidence, `unheard` those of them that were cut
    as floods.
    """

    document: Document
    evidence: Mapping[str, tuple[int, ...]]
    learned: tuple[Learned, ...]
    notes: tuple[Note, ...] = ()
    review: tuple[Waiting, ...] = ()
    withheld: tuple[Waiting, ...] = ()
    judged: tuple[Judged, ...] = field(default=(), repr=False)
    counted: frozenset[int] = field(default=frozenset(), repr=False)
    unheard: frozenset[int] = field(default=frozenset(), repr=False)


def key(block: str, text: str) -> str:
    """Return the key of a rule in `Synthesis.evidence`: the block's whole name (`P//child`), a blank, the rule's
    text.
    """
    return f"{block} {text}"


def synthesize(name: bytes, accesses: Sequence[Access], options: Options | None = None) -> Synthesis:
    """Return the profile `name` that the accesses need. Raises NotExpressible for a name that policy can't spell."""
    options = options or Options()
    profile = plain_name(name)
    evidence = admitted(name, order(accesses), options)
    items, floods = capped(evidence, options.quorum)
    counted = frozenset(item.access.id for item in evidence)
    decided = planned(name, profile, items, options)
    gathered = gather(name, items, decided, options)
    judged = judge(gathered, decided, options)
    return Synthesis(
        document=_document(profile, judged, gathered, decided, options),
        evidence=_evidence(judged, gathered, decided),
        learned=_learned(judged, gathered),
        notes=sorted_notes(
            gathered.notes,
            [*floods, *_own_notes(judged, gathered, decided, options), *_container_notes(accesses, options)],
        ),
        review=_waiting(judged, decided, active=True),
        withheld=_waiting(judged, decided, active=False),
        judged=tuple(judged),
        counted=counted,
        unheard=counted - {item.access.id for item in items},
    )


def _label(decided: Plan, block: str) -> str:
    return decided.label(block).decode()


def _document(profile: str, judged: list[Judged], gathered: Gathered, decided: Plan, options: Options) -> Document:
    blocks = grouped(judged)
    inner = {name: _block(name, blocks.get(name, []), gathered, decided, options) for name in sorted(gathered.blocks)}
    top = Profile(
        name=profile,
        lines=inner.pop("").lines,
        attachment=options.attachment,
        flags=_flags(options),
        children=tuple(block for name, block in inner.items() if not name.startswith("^")),
        hats=tuple(block for name, block in inner.items() if name.startswith("^")),
    )
    return Document(
        profile=top,
        abi=options.target.abi,
        includes=() if options.container else ("tunables/global",),
        variables=_variables(judged, options),
        comments=_header(judged, gathered, options),
    )


def _flags(options: Options) -> tuple[str, ...]:
    wanted = [*(FLAGS if options.container else ()), *options.flags]
    return (("complain",) if options.complain else ()) + tuple(dict.fromkeys(f for f in wanted if f != "complain"))


def _block(name: str, judged: list[Judged], gathered: Gathered, decided: Plan, options: Options) -> Profile:
    lines = tuple(Line(rule.rule, rule.comments, rule.state) for rule in judged if rule.state is not None)
    comments: list[str] = []
    ways = sorted(way.path for way in decided.ways.values() if way.mode == "Cx" and way.child == name)
    if ways and name:
        comments.append(f"runs as {', '.join(shown(path) for path in ways)}")
        if gathered.through_null:
            comments.append("learned through //null-: its network, mount, signal and unix use was not logged")
    return Profile(name=name.removeprefix("^"), lines=lines, flags=_flags(options), comments=tuple(comments))


def _variables(judged: Iterable[Judged], options: Options) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return the variables that the text must define by itself: all in a container, else what the tunables lack."""
    used: set[str] = set()
    for rule in judged:
        if rule.state is not None and isinstance(rule.rule, FileRule):
            used |= rule.rule.pattern.variables()
    if "HOME" in used:
        used.add("HOMEDIRS")
    abi = tuple(int(part) for part in options.target.abi.split("."))
    found = []
    for name in sorted(used, key=lambda name: (name == "HOME", name)):
        variable = VARIABLES[name]
        known = tuple(int(part) for part in variable.abi.split(".")) <= abi
        if options.container or not known:
            found.append((name, variable.spelled))
    return tuple(found)


def _header(judged: Sequence[Judged], gathered: Gathered, options: Options) -> tuple[str, ...]:
    accesses = [item.access for item in gathered.items.values()]
    if not accesses:
        return ("Nothing was learned: no event asked for anything",)
    events = sum(access.count for access in accesses)
    first, last = min(access.first for access in accesses), max(access.last for access in accesses)
    runs = max(len(gathered.runs), max(access.run_count for access in accesses))
    times = f", {_day(first)} to {_day(last)}" if last > 0 else ""
    lines = [
        f"Learned by aalearn from {events} {'event' if events == 1 else 'events'} of "
        f"{runs} {'run' if runs == 1 else 'runs'}{times}."
    ]
    if unconfirmed(gathered, options):
        lines.append("No rule has been seen in a second run yet: all of it waits for a further run or a person.")
    elif any(SINGLE in rule.reasons and rule.state is not None for rule in judged):
        lines.append("What waits for review without a tier or another reason was needed by one run only.")
    return tuple(lines)


def _day(time: int) -> str:
    return datetime.fromtimestamp(time / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _evidence(judged: Iterable[Judged], gathered: Gathered, decided: Plan) -> dict[str, tuple[int, ...]]:
    found: dict[str, set[int]] = {}
    for rule in judged:
        ids = {gathered.items[at].access.id for at in rule.draft.items}
        found.setdefault(key(_label(decided, rule.block), rule.rule.text()), set()).update(ids)
    return {name: tuple(sorted(ids)) for name, ids in sorted(found.items())}


# What the compiler itself lets every profile do that has hats or changes its profile (apparmor_parser 3.0.8, 4.1.0).
_IMPLICIT = re.compile(rb"/proc/[0-9]+/(?:task/[0-9]+/)?attr/(?:apparmor/)?(?:current|exec)")


def _learned(judged: Sequence[Judged], gathered: Gathered) -> tuple[Learned, ...]:
    """Return the replays, each marked where one of the rules that it needs is not active.

    Left out is what proves nothing either way: a withheld write that the compiler may permit without a rule.
    """
    inactive: set[tuple[str, int]] = set()
    for rule in judged:
        standing = rule.state in (State.ACTIVE, State.REVIEW)
        narrowed = rule.rule != rule.draft.rule  # a person decided: the owner alone
        for at in rule.draft.items:
            if not standing or (narrowed and gathered.items[at].access.owner is not True):
                inactive.add((rule.block, at))
    learned = []
    for replay in gathered.replays:
        withheld = (replay.block, replay.at) in inactive
        if not (withheld and _IMPLICIT.fullmatch(replay.event.get("name") or b"")):
            learned.append(Learned(gathered.items[replay.at].access, replay.event, withheld, replay.note))
    return tuple(learned)


def _waiting(judged: Iterable[Judged], decided: Plan, *, active: bool) -> tuple[Waiting, ...]:
    return tuple(
        Waiting(
            block=_label(decided, rule.block),
            rule=rule.rule.text(),
            tier=rule.risk.tier,
            reasons=rule.reasons,
            runs=rule.draft.support,
            active=active,
            denied=rule.denied,
        )
        for rule in judged
        if rule.reasons and (rule.state in (State.ACTIVE, State.REVIEW)) is active
    )


def _container_notes(accesses: Iterable[Access], options: Options) -> list[Note]:
    """Return what a reader of a container's profile should know of its paths."""
    if not options.container:
        return []
    text = (
        "a container's profile has the flags attach_disconnected and mediate_deleted, as runtimes' own profiles have:"
    )
    notes = [Note(Level.WEAKENING, f"{text} a file that was opened outside is known by its path in its own mount")]
    renamed = outside(accesses)
    if renamed:
        text = f"{renamed} {'event' if renamed == 1 else 'events'} named the container's files by the host's tree of"
        notes.append(Note(Level.DOUBT, f"{text} layers: their rules name the container's own paths"))
    return notes


def _own_notes(judged: Sequence[Judged], gathered: Gathered, decided: Plan, options: Options) -> list[Note]:
    notes: list[Note] = []
    if gathered.through_null:
        text = "programs were learned through //null-: their network, mount, signal and unix use is unknown"
        notes.append(Note(Level.DOUBT, text))
    if any(way.mode != "ix" for way in decided.ways.values()):
        text = "environment scrubbing of Px and Cx was not exercised while learning"
        notes.append(Note(Level.DOUBT, text))
    if gathered.items and unconfirmed(gathered, options):
        notes.append(Note(Level.DOUBT, "one run only: nothing has been seen a second time"))
    files: dict[str, int] = {}
    floods: dict[tuple[str, bytes], int] = {}
    for rule in judged:
        if isinstance(rule.rule, FileRule) and rule.state is not None:
            files[rule.block] = files.get(rule.block, 0) + 1
        if rule.draft.flood:
            folder = (_label(decided, rule.block), rule.draft.paths[0].rstrip(b"/").rpartition(b"/")[0])
            floods[folder] = floods.get(folder, 0) + 1
    for block, count in files.items():
        if count > options.max_file_rules:
            text = f"{_label(decided, block)} has {count} file rules, which may not compile: give its programs profiles"
            notes.append(Note(Level.UNSUPPORTED, f"{text} of their own, or approve a data root"))
    for (_, place), count in sorted(floods.items()):
        notes.append(Note(Level.DOUBT, f"flood: one run brought {count} names too many into {shown(place)}"))
    return notes


def file_rules(synthesis: Synthesis) -> list[Pattern]:
    """Return the patterns of all active file rules, in order, with duplicates (for counts and measures)."""
    return [
        rule.rule.pattern
        for rule in synthesis.judged
        if isinstance(rule.rule, FileRule) and rule.state in (State.ACTIVE, State.REVIEW)
    ]
