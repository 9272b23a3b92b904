"""The evidence behind each rule of a synthesis, summed up for a person: how often, when, who, one record."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from aalearn.learn.synthesis import Synthesis, key
from aalearn.model.event import Access
from aalearn.model.profile import Line, Profile


@dataclass(frozen=True, slots=True)
class Ground:
    """One rule and what it rests on.

    `block` is the whole name of its profile, child or hat; `state` "active", "review" or "withheld". `runs` is at least
    so many (the store keeps a bounded number of run ids an access). Times are ms since the epoch. `sample` is the raw
    record of the earliest access. A rule that no record asked for by itself (the other side of a transition) has
    `events` 0.
    """

    block: str
    rule: str
    kind: str
    state: str
    comments: tuple[str, ...]
    events: int
    accesses: int
    runs: int
    first: int
    last: int
    programs: tuple[bytes, ...]
    nodes: tuple[str, ...]
    verdicts: tuple[str, ...]
    trusted: bool
    sample: bytes


def grounds(synthesis: Synthesis, accesses: Iterable[Access]) -> tuple[Ground, ...]:
    """Return one Ground a rule, in the order of the text. `accesses` are those that the synthesis was made from."""
    known = {access.id: access for access in accesses}
    found = []
    for block, line in blocks(synthesis.document.profile):
        rule = line.rule.text()
        held = [known[number] for number in synthesis.evidence.get(key(block, rule), ()) if number in known]
        found.append(_ground(block, line, rule, held))
    return tuple(found)


def blocks(profile: Profile, above: str = "") -> Iterator[tuple[str, Line]]:
    """Yield each line of a profile, its children and hats with the whole name of its block (`P//child`)."""
    name = f"{above}//{profile.name}" if above else profile.name
    for line in profile.lines:
        yield name, line
    for inner in (*profile.children, *profile.hats):
        yield from blocks(inner, name)


def _ground(block: str, line: Line, rule: str, held: Sequence[Access]) -> Ground:
    runs = {run for access in held for run in access.runs}
    earliest = min(held, key=lambda access: (access.first, access.sample), default=None)
    return Ground(
        block=block,
        rule=rule,
        kind=str(getattr(line.rule, "kind", "")),
        state=str(line.state),
        comments=line.comments,
        events=sum(access.count for access in held),
        accesses=len(held),
        runs=max([len(runs), *(access.run_count for access in held)]) if held else 0,
        first=min((access.first for access in held if access.first), default=0),
        last=max((access.last for access in held), default=0),
        programs=tuple(sorted({program for access in held for program in access.programs})),
        nodes=tuple(sorted({node for access in held for node in access.nodes})),
        verdicts=tuple(sorted({str(access.event.verdict) for access in held})),
        trusted=all(access.trusted for access in held),
        sample=earliest.sample if earliest is not None else b"",
    )
