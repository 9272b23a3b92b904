"""From the evidence of one block to its rules: patterns to file rules, unions of the other kinds, execs with their
mode.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from aalearn.learn.blocks import Block
from aalearn.learn.evidence import Item
from aalearn.learn.generalise import Group, generalise
from aalearn.learn.options import Options
from aalearn.learn.risk import assess
from aalearn.learn.transitions import Plan
from aalearn.learn.tree import Seen
from aalearn.model.pattern import Pattern
from aalearn.rules.base import Rule
from aalearn.rules.file import FileRule


@dataclass(frozen=True, slots=True)
class Draft:
    """A rule with what it rests on, before anybody has judged it.

    `items` are positions of accesses, sorted. `why` says from what it was generalised, or why this transition. `paths`
    are the observed paths behind a pattern, sorted. `implied`: no record of the block itself asked for it.
    """

    rule: Rule
    items: tuple[int, ...]
    runs: frozenset[int]
    events: int
    why: str = ""
    paths: tuple[bytes, ...] = ()
    implied: bool = False


def drafts(block: Block, items: Mapping[int, Item], plan: Plan, options: Options) -> list[Draft]:
    """Return the rules of a block, sorted, each with its evidence; together they cover all that the block needs."""
    found = _files(block, options)
    found += _execs(block, items, plan)
    found += _merged(block.others, items, options, implied=False)
    granted = [draft.rule for draft in found]
    wanted = {rule: at for rule, at in block.implied.items() if not any(own.covers(rule) for own in granted)}
    found += _merged(wanted, items, options, implied=True)
    return sorted(found, key=lambda draft: draft.rule.sort_key())


def _files(block: Block, options: Options) -> list[Draft]:
    execs = frozenset(block.execs)
    found: list[Draft] = []
    for group in generalise(block.uses, options):
        found.extend(_file_rules(group, options, execs))
    return found


def _file_rules(group: Group, options: Options, execs: frozenset[bytes]) -> list[Draft]:
    """Return a group's rules: one for the owner and one for all, with the letters that belong to each.

    What is written and run or mapped stays in two rules, so that a person can refuse one of them.
    """
    parts: dict[tuple[bool, bool], dict[str, Seen]] = {}
    letters = group.need.letters
    if "w" in letters:
        letters = {letter: seen for letter, seen in letters.items() if letter != "a"} | {
            "w": _with(letters["w"], letters.get("a"))
        }
    dangerous = "m" in letters or not execs.isdisjoint(group.need.paths)
    for letter, seen in letters.items():
        owner = seen.owner and seen.count >= options.quorum.owner_events
        parts.setdefault((owner, dangerous and letter in "wa"), {})[letter] = seen
    found = []
    for (owner, _), held in sorted(parts.items()):
        total = Seen()
        for seen in held.values():
            total.take(seen)
        rule = FileRule(pattern=group.pattern, perms=frozenset(held), owner=owner)
        paths = tuple(sorted(group.need.paths))
        found.append(Draft(rule, tuple(sorted(total.accesses)), frozenset(total.runs), total.count, group.why, paths))
    return found


def _with(seen: Seen, more: Seen | None) -> Seen:
    both = Seen(set(seen.accesses), set(seen.runs), seen.count, seen.owner)
    if more is not None:
        both.take(more)
    return both


def _execs(block: Block, items: Mapping[int, Item], plan: Plan) -> list[Draft]:
    found = []
    for path, positions in block.execs.items():
        way = plan.way(block.name, path)
        rule = FileRule(
            pattern=Pattern.literal(path),
            perms=frozenset(),
            owner=False,
            exec=way.mode,
            exec_target=way.child or None,
        )
        found.append(_draft(rule, positions, items, why=f"{way.mode}: {way.reason}", paths=(path,)))
    return found


def _merged(
    rules: Mapping[Rule, set[int]], items: Mapping[int, Item], options: Options, *, implied: bool
) -> list[Draft]:
    """Return rules merged as far as it is exact, in sorted order, with the union of their evidence.

    Only rules of the same risk and the same standing (seen in enough runs, or not) merge, so that what a person has to
    decide stays apart. Capabilities keep a rule each.
    """
    groups: dict[tuple[object, ...], list[tuple[Rule, set[int]]]] = {}
    for rule in sorted(rules, key=lambda rule: rule.sort_key()):
        firm = len(_runs(rules[rule], items)) >= options.quorum.runs
        own = rule.sort_key() if rule.kind == "capability" else ()
        groups.setdefault((rule.kind, assess(rule), firm, own), []).append((rule, set(rules[rule])))
    found = []
    for group in groups.values():
        for rule, positions in _joined(group):
            found.append(replace(_draft(rule, positions, items), implied=implied))
    return found


def _joined(done: list[tuple[Rule, set[int]]]) -> list[tuple[Rule, set[int]]]:
    """Merge pairs until none merges; the first of the sorted pairs goes first."""
    at = 0
    while at < len(done):
        rule, positions = done[at]
        for other in range(at + 1, len(done)):
            merged = rule.merge(done[other][0])
            if merged is not None:
                done[at] = (merged, positions | done[other][1])
                del done[other]
                at = -1
                break
        at += 1
    return done


def _draft(
    rule: Rule, positions: set[int], items: Mapping[int, Item], why: str = "", paths: Sequence[bytes] = ()
) -> Draft:
    events = sum(items[at].access.count for at in positions)
    return Draft(rule, tuple(sorted(positions)), _runs(positions, items), events, why, tuple(paths))


def _runs(positions: set[int], items: Mapping[int, Item]) -> frozenset[int]:
    return frozenset().union(*(items[at].runs for at in positions))
