"""What a person has to look at: the judgement on each rule, and the decisions that were taken before.

A rule is accepted on its own once enough runs needed it and it carries no tier 1 or 2 risk (generalise-and-risk §4).
Tier 1 is withheld until approved by name, other waiting rules are active and marked.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from aalearn.learn.blocks import Block
from aalearn.learn.evidence import Item
from aalearn.learn.gather import Gathered
from aalearn.learn.lines import Draft, drafts
from aalearn.learn.options import Action, Decision, Mode, Options
from aalearn.learn.places import overlong
from aalearn.learn.risk import NONE, Risk, assess
from aalearn.learn.sensitive import credential
from aalearn.learn.transitions import Plan
from aalearn.model.profile import State
from aalearn.model.text import shown
from aalearn.rules.base import Level, Rule
from aalearn.rules.change_profile import ChangeProfileRule
from aalearn.rules.file import FileRule

SINGLE = "only one run needed it"


@dataclass(frozen=True, slots=True)
class Judged:
    """A rule of a block with the judgement on it.

    `reasons` say why it waits for a person (empty: it does not), `remarks` what else a reader should know. `state` is
    how it stands in the text; None: it is left out. `settled`: a person said for good whether it belongs there, so it
    waits for no further run. `comments` are reasons and remarks, as they are written.
    """

    block: str
    rule: Rule
    draft: Draft
    risk: Risk
    reasons: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    state: State | None = State.ACTIVE
    settled: bool = False

    @property
    def denied(self) -> bool:
        """Whether a person said that it shall not be there."""
        return self.settled and self.state is None

    @property
    def comments(self) -> tuple[str, ...]:
        """What is written above the rule."""
        risk = (f"tier {self.risk.tier}: {self.risk.why}",) if self.risk.tier else ()
        said = (self.risk.why, SINGLE)  # a single run is said once, at the top: most of a young profile waits for that
        return (*self.remarks, *risk, *(reason for reason in self.reasons if reason not in said))


def judge(gathered: Gathered, decided: Plan, options: Options) -> list[Judged]:
    """Return the judgement on every rule of every block, in the order of the text."""
    decisions: dict[str, dict[Action, Decision]] = {}
    for decision in options.decisions:
        decisions.setdefault(decision.rule, {})[decision.action] = decision
    judged: list[Judged] = []
    for name in sorted(gathered.blocks):
        block = gathered.blocks[name]
        made = drafts(block, gathered.items, decided, options)
        runnable = _Runnable(block, made)
        mine = [_judge(name, draft, gathered, runnable, _decided(draft.rule, decisions), options) for draft in made]
        judged += without_conflicts(mine, gathered, options)
    return judged


def _decided(rule: Rule, decisions: Mapping[str, Mapping[Action, Decision]]) -> Mapping[Action, Decision]:
    """Return what was decided on a rule. With more events of a path its rule may become the owner's: what was decided
    for all holds for that too, unless something else was decided on it.
    """
    exact = decisions.get(rule.text(), {})
    if exact or not (isinstance(rule, FileRule) and rule.owner):
        return exact
    return decisions.get(replace(rule, owner=False).text(), {})


def without_conflicts(judged: Sequence[Judged], gathered: Gathered, options: Options) -> list[Judged]:
    """Return the rules of a block with those changes of profile withheld that would undo one of its file rules.

    The compiler keeps both in one automaton: where a file rule matches the very path that is also the name of the
    profile to change to, apparmor_parser 3.0.8 drops the file's permissions. No decision of a person mends that.
    """
    standing = (State.ACTIVE, State.REVIEW)
    files = [one.rule for one in judged if isinstance(one.rule, FileRule) and one.state in standing]
    found: list[Judged] = []
    for one in judged:
        hit = None
        if isinstance(one.rule, ChangeProfileRule) and one.state in standing and one.rule.target.is_literal:
            name = one.rule.target.literal_bytes
            hit = next((file for file in files if file.pattern.matches(name)), None)
        if hit is not None:
            reason = f"the compiler would drop the file rule for this path: {hit.text()}"
            gathered.note(Level.UNSUPPORTED, f"{one.rule.text()} is withheld: {reason}", one.draft.events)
            state = None if options.mode is Mode.ACCEPTED else State.WITHHELD
            one = replace(one, reasons=(*one.reasons, reason), state=state, settled=False)
        found.append(one)
    return found


class _Runnable:
    """What a block runs or maps, and what it writes: to find what can be both."""

    def __init__(self, block: Block, made: Sequence[Draft]) -> None:
        self.execs = frozenset(block.execs)
        self.mapped = frozenset(path for path, use in block.uses.items() if "m" in use.need.letters)
        self.made = frozenset(path for path, use in block.uses.items() if use.made)
        self.writers = [d.rule for d in made if isinstance(d.rule, FileRule) and d.rule.perms & {"w", "a"}]

    def risk(self, rule: Rule) -> Risk:
        """Return tier 1 where a rule is one half of "write and run" (generalise-and-risk §6)."""
        if not isinstance(rule, FileRule):
            return NONE
        if rule.perms & {"w", "a"}:
            run = sorted(path for path in self.execs | self.mapped if rule.pattern.matches(path))
            if run:
                return Risk(1, f"it may be written and run or mapped ({shown(run[0])}): drop and run")
        if rule.exec and any(writer.pattern.matches(rule.pattern.literal_bytes) for writer in self.writers):
            why = "the program itself created it and then ran it" if rule.pattern.literal_bytes in self.made else ""
            return Risk(1, why or "it is run, and the same program may write it: drop and run")
        if "m" in rule.perms and not rule.pattern.is_literal:
            written = [
                w for w in self.writers if w.pattern.is_literal and rule.pattern.matches(w.pattern.literal_bytes)
            ]
            if written:
                return Risk(1, f"it maps for execution what may be written ({written[0].pattern.text()}): drop and run")
        return NONE


def _judge(
    name: str,
    draft: Draft,
    gathered: Gathered,
    runnable: _Runnable,
    decided: Mapping[Action, Decision],
    options: Options,
) -> Judged:
    risks = (runnable.risk(draft.rule), assess(draft.rule, draft.paths))
    known = [risk for risk in risks if risk.tier]
    risk = min(known, default=NONE, key=lambda found: (found.tier, found.why))
    items = [gathered.items[at] for at in draft.items]
    reasons = _reasons(draft, risk, items, gathered, options)
    rule = draft.rule
    remarks = _remarks(draft, items, decided)
    state: State | None = State.ACTIVE
    if Action.OWNER in decided and isinstance(rule, FileRule):
        rule = replace(rule, owner=True)
    accepted = Action.APPROVE in decided or (
        risk.tier != 1 and not decided.keys().isdisjoint({Action.ACCEPT, Action.OWNER})
    )
    if draft.given or accepted:
        reasons = ()
    if Action.DENY in decided:
        reasons, state = (_by("left out, denied", decided[Action.DENY]),), None
    elif reasons:
        state = _state(draft, risk, options)
    elif options.mode is Mode.ACCEPTED and not (draft.given or accepted) and unconfirmed(gathered, options):
        reasons, state = ("seen in fewer runs than it takes to be accepted without a person",), None
    return Judged(name, rule, draft, risk, reasons, remarks, state, accepted or Action.DENY in decided)


def _state(draft: Draft, risk: Risk, options: Options) -> State | None:
    if options.mode is Mode.ACCEPTED:
        return None
    if draft.flood:
        return None
    if options.mode is Mode.ALL:
        return State.REVIEW
    alone = draft.support < options.quorum.runs and any(credential(path) for path in draft.paths)
    heavy = any(map(overlong, draft.paths))
    return State.WITHHELD if risk.tier == 1 or alone or heavy or draft.proposed or draft.root else State.REVIEW


def _reasons(draft: Draft, risk: Risk, items: Sequence[Item], gathered: Gathered, options: Options) -> tuple[str, ...]:
    reasons = [risk.why] if risk.tier in (1, 2) else []
    if draft.proposed:
        reasons.append("it opens this of every process of the same kind: only a person can say that it is meant")
    if draft.root:
        reasons.append("it opens a whole folder, because the program alone seems to own it: confirm")
    if draft.squeezed:
        reasons.append("there were too many rules to compile, so this one stands for many names")
    if not gathered.partial.isdisjoint(draft.items):
        reasons.append("a record that asks for it asks for more that is not known (see the notes)")
    if any(map(overlong, draft.paths)):
        reasons.append("so long or deep a name can stop the compiler: confirm that it is meant")
    if draft.flood:
        reasons.append("one run brought too many new names into one folder: a flood")
    frequent = draft.rule.kind != "capability"  # the kernel logs each of those only once a CPU: counts mean nothing
    if frequent and draft.support < options.quorum.runs and not unconfirmed(gathered, options):
        reasons.append(SINGLE)
    if not any(item.access.believed for item in items) and gathered.trusted:
        reasons.append("only records that a program could have forged ask for it")
    return tuple(reasons)


def unconfirmed(gathered: Gathered, options: Options) -> bool:
    """Return whether the whole window has fewer runs than a rule needs: then it is said once, not at every rule."""
    return len(gathered.runs) < options.quorum.runs


def _remarks(draft: Draft, items: Sequence[Item], decided: Mapping[Action, Decision]) -> tuple[str, ...]:
    remarks = []
    if draft.why and isinstance(draft.rule, FileRule) and not draft.rule.exec:
        count = f"{len(draft.paths)} paths" if len(draft.paths) != 1 else "one path"
        opens = f"; opens {draft.opens} files that were never needed" if draft.opens else ""
        remarks.append(f"from {count} ({draft.why}){opens}")
    elif draft.why:
        remarks.append(draft.why)
    if draft.implied:
        remarks.append("the other side of what this profile was seen to do to a child that does not log it")
    if items and all(item.denied for item in items):
        remarks.append("from DENIED records: it was refused, and a person asked to learn from that")
    remarks += [_by(action.value, decided[action]) for action in sorted(decided) if action is not Action.DENY]
    return tuple(remarks)


def _by(what: str, decision: Decision) -> str:
    by = f" by {shown(decision.who)}" if decision.who else ""
    return f"{what}{by}{': ' + shown(decision.why) if decision.why else ''}"


def grouped(judged: Iterable[Judged]) -> dict[str, list[Judged]]:
    """Return the judged rules by block."""
    found: dict[str, list[Judged]] = {}
    for rule in judged:
        found.setdefault(rule.block, []).append(rule)
    return found
