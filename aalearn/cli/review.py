"""`aalearn review`: what waits for a person, and the person's decisions."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aalearn.cli import learning
from aalearn.cli.completion import profile_names
from aalearn.cli.face import Face, face_of
from aalearn.cli.output import count, plain
from aalearn.model.errors import UsageError
from aalearn.model.text import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aalearn.learn.options import Decision
    from aalearn.learn.synthesis import Synthesis, Waiting
    from aalearn.lifecycle.judge import Judge
    from aalearn.store import Store

EXAMPLE = (
    "Examples: aalearn review nginx  |  aalearn review nginx --accept '/run/nginx.pid rw,' --deny '/etc/shadow r,'"
)

_Rules = list[str] | None
_CONTRADICTIONS = (
    *({"deny", other} for other in ("accept", "approve", "generalise", "owner")),
    *({"accept", other} for other in ("generalise", "owner")),
)
_OF_FILES = ("generalise", "owner")  # what can be said of file rules only


def command(
    context: typer.Context,
    profile: Annotated[
        str, typer.Argument(metavar="PROFILE", help="The profile.", autocompletion=profile_names, show_default=False)
    ],
    accept: Annotated[_Rules, typer.Option("--accept", metavar="RULE", help="This rule is right as it is.")] = None,
    deny: Annotated[_Rules, typer.Option("--deny", metavar="RULE", help="Leave this rule out, now and later.")] = None,
    generalise: Annotated[
        _Rules,
        typer.Option("--generalise", metavar="RULE", help="Names in this rule's path may be typed or shortened."),
    ] = None,
    owner: Annotated[_Rules, typer.Option("--owner", metavar="RULE", help="Right for the file's owner alone.")] = None,
    approve: Annotated[
        _Rules, typer.Option("--approve", metavar="RULE", help="Approve a tier 1 rule; needs --reason.")
    ] = None,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why: recorded with each decision.")] = "",
    include_denied: learning.IncludeDenied = False,
    container: learning.Container = None,
    root: learning.Root = None,
    base: learning.Base = None,
    target: learning.Target = None,
) -> None:
    """List the rules that wait for a person and why, and record decisions on them: who, when, why.

    Every decision option takes a rule's exact text and may be repeated. Without one, on a terminal, each rule is asked
    for. The exit code is 1 while rules wait.
    """
    face = face_of(context)
    given = {"accept": accept, "deny": deny, "generalise": generalise, "owner": owner, "approve": approve}
    decided = [(action, learning.rule_text(rule)) for action, rules in given.items() for rule in rules or ()]
    _check(decided, reason)
    ask = not decided and face.settings.output == "text" and _at_a_terminal()
    choice = learning.Choice(container=container, include_denied=include_denied, root=root)
    judge = learning.judge(face, base, target)
    with face.store(readonly=not (decided or ask)) as store:
        desk = _Desk(face, store, learning.writable_profile(store, profile), choice, judge)
        synthesis = desk.synthesis()
        desk.record(synthesis, decided, reason)
        if ask:
            _ask_each(desk, synthesis)
        if decided or ask:
            synthesis = desk.synthesis()
        desk.tell_unchanged(synthesis, [rule for action, rule in decided if action == "generalise"])
        waiting, denied = desk.waiting(synthesis), learning.denied(face, store, desk.name)
    text = "\n\n".join(part for part in (_text(desk.name, waiting), learning.denied_text(desk.name, denied)) if part)
    face.emit(_document(desk.name, waiting, denied), text)
    if waiting:
        raise typer.Exit(1)


def _check(decided: Sequence[tuple[str, str]], reason: str) -> None:
    """Refuse decisions that can't be recorded, whatever the rules are."""
    if not reason.strip() and any(action == "approve" for action, _ in decided):
        raise UsageError("--approve needs --reason: it is recorded who approved the rule, when and why")
    actions: dict[str, set[str]] = {}
    for action, rule in decided:
        actions.setdefault(rule, set()).add(action)
    for rule, said in sorted(actions.items()):
        if any(pair <= said for pair in _CONTRADICTIONS):
            both = " and ".join(f"--{action}" for action in sorted(said))
            raise UsageError(f"{shown(rule)}: {both} contradict each other, so nothing was recorded")


def _at_a_terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty()


@dataclass(frozen=True, slots=True)
class _Desk:
    """One review: the profile, and where its decisions are kept."""

    face: Face
    store: Store
    name: bytes
    choice: learning.Choice
    judge: Judge

    def synthesis(self) -> Synthesis:
        """Return the profile as it stands with all decisions so far."""
        from aalearn.learn.synthesis import synthesize

        options = learning.options(self.face, self.store, self.name, self.choice, self.judge.target)
        return synthesize(self.name, self.store.accesses(self.name), options)

    def waiting(self, synthesis: Synthesis) -> list[Waiting]:
        """Return what waits, the withheld first: not what a person has denied already."""
        return [one for one in (*synthesis.withheld, *synthesis.review) if not one.denied]

    def record(self, synthesis: Synthesis, decided: Sequence[tuple[str, str]], reason: str) -> None:
        """Record decisions, each an action and a rule's text: all or, with a UsageError, none.

        Errors: a rule that there is not, or a decision that does not fit it.
        """
        known = _known(synthesis)
        for action, text in decided:
            self._check(known, action, text)
        for action, text in decided:
            learning.decide(self.face, self.store, self.name, [known[text].asked], action, reason)
            self.face.say(f"aalearn: {action}: {shown(text)}")

    def _check(self, known: dict[str, _Rule], action: str, text: str) -> None:
        if text not in known:
            raise UsageError(f"no rule of {shown(self.name)} is {shown(text)}{learning.nearest(text, sorted(known))}")
        if action == "accept" and known[text].tier == 1:
            raise UsageError(f"{shown(text)} is tier 1: it needs --approve with --reason")
        if action in _OF_FILES and known[text].kind != "file":
            raise UsageError(f"--{action} is for file rules: {shown(text)} names no file")

    def tell_unchanged(self, synthesis: Synthesis, rules: Sequence[str]) -> None:
        """Say which rules that may be generalised are the same as before: nothing that was seen generalises them."""
        known = _known(synthesis)
        for rule in rules:
            if rule in known:
                self.face.say(f"aalearn: note: nothing in {shown(rule)} can be typed or shortened: it stays as it is")


@dataclass(frozen=True, slots=True)
class _Rule:
    """A rule that a person can decide on: the text that decisions go by, its kind and its risk tier."""

    asked: str
    kind: str
    tier: int


def _known(synthesis: Synthesis) -> dict[str, _Rule]:
    """Return all rules that a person can decide on, by text."""
    from aalearn.lifecycle.grounds import blocks

    known: dict[str, _Rule] = {}
    for _, line in blocks(synthesis.document.profile):
        known[line.rule.text()] = _Rule(line.rule.text(), str(getattr(line.rule, "kind", "")), 0)
    tiers = {one.rule: one.tier for one in (*synthesis.review, *synthesis.withheld)}
    for one in synthesis.judged:  # one that was narrowed to the owner is decided on by its text before that
        text = one.rule.text()
        known[text] = _Rule(one.draft.rule.text(), one.rule.kind, tiers.get(text, 0))
    for text in [
        text for text in known if text.startswith("owner ")
    ]:  # before there were so many events it was for all
        known.setdefault(text.removeprefix("owner "), known[text])
    return known


def _ask_each(desk: _Desk, synthesis: Synthesis) -> None:
    known = _known(synthesis)
    for one in desk.waiting(synthesis):
        typer.echo(f"\n{shown(one.block)}: {shown(one.rule)}", err=True)
        for line in _reasons(one):
            typer.echo(f"    {line}", err=True)
        words = {"a": "approve" if one.tier == 1 else "accept", "d": "deny"}
        if known[one.rule].kind == "file":
            words |= {"g": "generalise", "o": "owner"}
        choices = " ".join(f"[{word[0]}]{word[1:]}" for word in (*words.values(), "skip", "quit"))
        answer = ""
        while answer not in (*words, "s", "q"):
            answer = typer.prompt(choices, err=True, default="s", show_default=False).strip().lower()[:1]
        if answer == "q":
            return
        if answer == "s":
            continue
        action = words[answer]
        reason = ""
        while not reason.strip() and action == "approve":
            reason = typer.prompt("why", err=True)
        desk.record(synthesis, [(action, one.rule)], reason)


def _reasons(one: Waiting) -> list[str]:
    tier = f"tier {one.tier}: " if one.tier else ""
    reasons = [f"{tier}{shown(reason)}" if at == 0 else shown(reason) for at, reason in enumerate(one.reasons)]
    return [*reasons, f"seen in {count(one.runs, 'run')}; {'active, marked' if one.active else 'not active'}"]


def _text(name: bytes, waiting: Sequence[Waiting]) -> str:
    if not waiting:
        return f"nothing of {shown(name)} waits for review"
    lines = [
        f"{count(len(waiting), 'rule')} of {shown(name)} {'waits' if len(waiting) == 1 else 'wait'} for a person:",
        "",
    ]
    block = ""
    for one in waiting:
        if one.block != block:
            block = one.block
            lines.append(f"profile {shown(block)}")
        lines.append(f"  {shown(one.rule)}")
        lines += [f"      {line}" for line in _reasons(one)]
    return "\n".join(lines)


def _document(name: bytes, waiting: Sequence[Waiting], denied: Sequence[Decision]) -> dict[str, Any]:
    return {
        "schema": 1,
        "profile": plain(name),
        "waiting": [learning.waiting_document(one) for one in waiting],
        "denied": [learning.denied_document(one) for one in denied],
    }
