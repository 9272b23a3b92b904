"""From the evidence of one block to its rules: patterns to file rules, unions of the other kinds, execs with their
mode.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from aalearn.learn.blocks import Block
from aalearn.learn.containers import RUNTIME, runtime_signals
from aalearn.learn.evidence import Item
from aalearn.learn.generalise import Group, generalise
from aalearn.learn.options import Action, Options
from aalearn.learn.risk import assess, for_all
from aalearn.learn.transitions import Plan
from aalearn.learn.tree import Seen
from aalearn.model.pattern import Pattern
from aalearn.rules.base import Rule
from aalearn.rules.file import FileRule


@dataclass(frozen=True, slots=True)
class Draft:
    """A rule with what it rests on, before anybody has judged it.

    `items` are positions of accesses, sorted. `support` is the least number of runs that any part of the rule rests on:
    two single runs that ask for two signals do not vouch for each other. `why` says from what it was generalised, or
    why this transition. `paths` are the observed paths behind a pattern, sorted. `implied`: no record of the block
    itself asked for it. `opens`, `flood`, `proposed`, `root` are as in `Group`; `squeezed`: generalised only because
    there were too many rules. `given`: every container's profile has it, whether a record asked for it or not.
    """

    rule: Rule
    items: tuple[int, ...]
    runs: frozenset[int]
    events: int
    support: int
    why: str = ""
    paths: tuple[bytes, ...] = ()
    implied: bool = False
    opens: int | None = None
    flood: bool = False
    proposed: bool = False
    root: bool = False
    squeezed: bool = False
    given: bool = False


def drafts(block: Block, items: Mapping[int, Item], plan: Plan, options: Options) -> list[Draft]:
    """Return the rules of a block, sorted, each with its evidence; together they cover all that the block needs."""
    files = _files(block, options)
    if len(files) > options.max_file_rules:
        files = _squeezed(files, _files(block, options, squeeze=True))
    files = _kept(files, [rule for name, rule in options.previous if name.encode() == plan.label(block.name)])
    found = _with_execs(files, _execs(block, items, plan), options)
    found += _merged(block.others, items, options, implied=False)
    if options.container and not block.name:
        found = _with_runtime(found)
    granted = [draft.rule for draft in found]
    wanted = {rule: at for rule, at in block.implied.items() if not any(own.covers(rule) for own in granted)}
    found += _merged(wanted, items, options, implied=True)
    return sorted(found, key=lambda draft: draft.rule.sort_key())


def _with_runtime(found: Sequence[Draft]) -> list[Draft]:
    """Return the drafts with the rules by which a runtime stops a container; what these cover is evidence for them."""
    rest, given = list(found), []
    for rule in runtime_signals():
        total = Draft(rule, (), frozenset(), 0, 0, RUNTIME, given=True)
        for draft in [draft for draft in rest if rule.covers(draft.rule)]:
            total = _joined_drafts(total, draft)
            rest.remove(draft)
        given.append(total)
    return rest + given


def _files(block: Block, options: Options, *, squeeze: bool = False) -> list[Draft]:
    execs = frozenset(block.execs)
    found: list[Draft] = []
    for group in generalise(block.uses, options, typed=_typed(block, options), execs=execs, squeeze=squeeze):
        found.extend(_file_rules(group, options, execs))
    return _without_covered(found)


def _typed(block: Block, options: Options) -> frozenset[bytes]:
    """Return the paths that a person wants generalised although they are on the never-across list."""
    wanted = [decision.rule for decision in options.decisions if decision.action is Action.GENERALISE]
    typed: set[bytes] = set()
    for path in block.uses if wanted else ():
        text = Pattern.literal(path).text() + " "
        if any(rule.removeprefix("owner ").startswith(text) for rule in wanted):
            typed.add(path)
    return frozenset(typed)


def _squeezed(before: Sequence[Draft], after: Sequence[Draft]) -> list[Draft]:
    """Return the squeezed drafts, marking those that only the squeeze made."""
    known = {draft.rule for draft in before}
    return [draft if draft.rule in known else replace(draft, squeezed=True) for draft in after]


def _without_covered(found: list[Draft]) -> list[Draft]:
    """Return the drafts without those that a pattern's rule covers wholly; their evidence goes to it."""
    globs = [
        draft
        for draft in found
        if isinstance(draft.rule, FileRule) and not (draft.rule.pattern.is_literal or draft.flood or draft.proposed)
    ]
    globs = [draft for draft in globs if not any(other is not draft and _over(other, draft) for other in globs)]
    taken: dict[int, Draft] = {}
    kept: list[Draft] = []
    for draft in found:
        over = next((at for at, glob in enumerate(globs) if glob is not draft and _over(glob, draft)), None)
        if over is None or draft.proposed:
            kept.append(draft)
        else:
            taken[over] = _joined_drafts(taken.get(over, globs[over]), draft)
    replaced = {id(globs[at]): draft for at, draft in taken.items()}
    return [replaced.get(id(draft), draft) for draft in kept]


def _over(glob: Draft, draft: Draft) -> bool:
    """Return whether a pattern's rule covers another rule and is not covered by it. The paths rule most of them out."""
    assert isinstance(glob.rule, FileRule) and isinstance(draft.rule, FileRule)
    return (
        glob.rule.perms >= draft.rule.perms
        and all(glob.rule.pattern.matches(path) for path in draft.paths)
        and glob.rule.covers(draft.rule)
        and not draft.rule.covers(glob.rule)
    )


def _joined_drafts(one: Draft, other: Draft) -> Draft:
    """Return `one` with the evidence of both."""
    return replace(
        one,
        items=tuple(sorted({*one.items, *other.items})),
        runs=one.runs | other.runs,
        events=one.events + other.events,
        paths=tuple(sorted({*one.paths, *other.paths})),
    )


def _kept(found: list[Draft], previous: Sequence[FileRule]) -> list[Draft]:
    """Return the drafts with the patterns of the revision before put back where they still rest on events."""
    for rule in sorted(previous, key=lambda rule: rule.sort_key()):
        if rule.exec or rule.pattern.is_literal or any(draft.rule.covers(rule) for draft in found):
            continue
        inside = [d for d in found if all(map(rule.pattern.matches, d.paths)) and rule.covers(d.rule)]
        if inside:
            total = inside[0]
            for draft in inside[1:]:
                total = _joined_drafts(total, draft)
            kept = replace(total, rule=rule, why="kept from the revision before", opens=None)
            found = [kept, *(draft for draft in found if draft not in inside)]
    return found


def _file_rules(group: Group, options: Options, execs: frozenset[bytes]) -> list[Draft]:
    """Return a group's rules: one for the owner and one for all, with the letters that belong to each.

    What is written and run or mapped stays in two rules, and so do letters that enough runs needed and others, so that
    a person can refuse one of them and nothing is accepted on another's evidence.
    """
    parts: dict[tuple[bool, bool, bool], dict[str, Seen]] = {}
    letters = group.need.letters
    support = {letter: len(seen.runs) for letter, seen in letters.items()}
    if "w" in letters:
        letters = {letter: seen for letter, seen in letters.items() if letter != "a"} | {
            "w": _with(letters["w"], letters.get("a"))
        }
    dangerous = "m" in letters or not execs.isdisjoint(group.need.paths)
    for letter, seen in letters.items():
        owner = seen.owner and seen.count >= options.quorum.owner_events
        if owner and all(for_all(path) for path in group.need.paths):
            owner = False
        firm = support[letter] >= options.quorum.runs
        parts.setdefault((owner, dangerous and letter in "wa", firm), {})[letter] = seen
    found = []
    for (owner, _, _), held in sorted(parts.items()):
        total = Seen()
        for seen in held.values():
            total.take(seen)
        rule = FileRule(pattern=group.pattern, perms=frozenset(held), owner=owner)
        paths = tuple(sorted(group.need.paths))
        least = min(support[letter] for letter in held)
        draft = Draft(rule, tuple(sorted(total.accesses)), frozenset(total.runs), total.count, least, group.why, paths)
        found.append(replace(draft, opens=group.opens, flood=group.flood, proposed=group.proposed, root=group.root))
    return found


def _with(seen: Seen, more: Seen | None) -> Seen:
    both = Seen(set(seen.accesses), set(seen.runs), seen.count, seen.owner)
    if more is not None:
        both.take(more)
    return both


def _with_execs(files: list[Draft], execs: list[Draft], options: Options) -> list[Draft]:
    """Return the drafts with `r`, `m` and `ix` of one path in one rule; what may be written stays in a rule of its
    own.
    """
    by_pattern = {
        draft.rule.pattern: draft for draft in files if isinstance(draft.rule, FileRule) and _plain(draft.rule)
    }
    done: list[Draft] = []
    for draft in execs:
        assert isinstance(draft.rule, FileRule)
        other = by_pattern.get(draft.rule.pattern)
        same = other is not None and (other.support < options.quorum.runs) == (draft.support < options.quorum.runs)
        if other is None or not same or draft.rule.exec != "ix":
            done.append(draft)
            continue
        merged = draft.rule.merge(other.rule)
        assert merged is not None
        files = [kept for kept in files if kept is not other]
        positions = tuple(sorted({*draft.items, *other.items}))
        runs, events = draft.runs | other.runs, draft.events + other.events
        support = min(draft.support, other.support)
        done.append(replace(draft, rule=merged, items=positions, runs=runs, events=events, support=support))
    return files + done


def _plain(rule: FileRule) -> bool:
    return rule.pattern.is_literal and not rule.owner and not rule.perms & {"w", "a"}


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
    support = {rule: len(_runs(positions, items)) for rule, positions in rules.items()}
    for rule in sorted(rules, key=lambda rule: rule.sort_key()):
        firm = support[rule] >= options.quorum.runs
        own = rule.sort_key() if rule.kind == "capability" else ()
        groups.setdefault((rule.kind, assess(rule), firm, own), []).append((rule, set(rules[rule])))
    found = []
    for group in groups.values():
        group_rules = [(rule, frozenset(positions)) for rule, positions in group]
        for rule, positions in _joined(group):
            least = min(support[part] for part, at in group_rules if at <= positions and rule.covers(part))
            found.append(replace(_draft(rule, positions, items), implied=implied, support=least))
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
    runs = _runs(positions, items)
    return Draft(rule, tuple(sorted(positions)), runs, events, len(runs), why, tuple(paths))


def _runs(positions: set[int], items: Mapping[int, Item]) -> frozenset[int]:
    return frozenset().union(*(items[at].runs for at in positions))
