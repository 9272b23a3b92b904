"""`aalearn review`: what waits for a person, and the person's decisions."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aalearn.cli import learning
from aalearn.cli.completion import profile_names
from aalearn.cli.face import Face, face_of, known_profile
from aalearn.cli.output import count, plain
from aalearn.model.errors import UsageError
from aalearn.model.text import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aalearn.learn.synthesis import Synthesis, Waiting
    from aalearn.lifecycle.judge import Judge
    from aalearn.store import Store

EXAMPLE = (
    "Examples: aalearn review nginx  |  aalearn review nginx --accept '/run/nginx.pid rw,' --deny '/etc/shadow r,'"
)

_Rules = list[str] | None


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
    container: learning.Container = False,
    root: learning.Root = None,
    base: learning.Base = None,
    target: learning.Target = None,
) -> None:
    """List the rules that wait for a person and why, and record decisions on them: who, when, why.

    Every decision option takes a rule's exact text and may be repeated. Without one, on a terminal, each rule is asked
    for. The exit code is 1 while rules wait.
    """
    face = face_of(context)
    decided = [
        ("accept", accept or []),
        ("deny", deny or []),
        ("generalise", generalise or []),
        ("owner", owner or []),
        ("approve", approve or []),
    ]
    if approve and not reason.strip():
        raise UsageError("--approve needs --reason: it is recorded who approved the rule, when and why")
    scripted = any(rules for _, rules in decided)
    ask = not scripted and face.settings.output == "text" and _at_a_terminal()
    choice = learning.Choice(container=container, include_denied=include_denied, root=root)
    judge = learning.judge(face, base, target)
    with face.store(readonly=not (scripted or ask)) as store:
        desk = _Desk(face, store, known_profile(store, profile), choice, judge)
        synthesis = desk.synthesis()
        for action, rules in decided:
            for rule in rules:
                desk.record(synthesis, rule, action, reason)
        if ask:
            _ask_each(desk, synthesis)
        if scripted or ask:
            synthesis = desk.synthesis()
        waiting = desk.waiting(synthesis)
    face.emit(_document(desk.name, waiting), _text(desk.name, waiting))
    if waiting:
        raise typer.Exit(1)


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
        from aalearn.learn.options import Action
        from aalearn.lifecycle.decided import decisions

        known, _ = decisions(self.store.decisions(self.name))
        denied = {decision.rule for decision in known if decision.action is Action.DENY}
        return [one for one in (*synthesis.withheld, *synthesis.review) if one.rule not in denied]

    def record(self, synthesis: Synthesis, rule: str, action: str, reason: str) -> None:
        """Record one decision. Raises UsageError for a rule that there is not, or a decision that does not fit it."""
        text = learning.rule_text(rule)
        known = _known(synthesis)
        if text not in known:
            near = get_close_matches(text, sorted(known), n=2, cutoff=0.4)
            hint = f"; did you mean {' or '.join(map(shown, near))}" if near else ""
            raise UsageError(f"no rule of {shown(self.name)} is {shown(text)}{hint}")
        tier = known[text]
        if action == "accept" and tier == 1:
            raise UsageError(f"{shown(text)} is tier 1: it needs --approve with --reason")
        learning.decide(self.store, self.name, [text], action, reason)
        self.face.say(f"aalearn: {action}: {shown(text)}")


def _known(synthesis: Synthesis) -> dict[str, int]:
    """Return all rules that a person can decide on, with their tiers."""
    from aalearn.lifecycle.grounds import blocks

    known = {line.rule.text(): 0 for _, line in blocks(synthesis.document.profile)}
    known.update({one.rule: one.tier for one in (*synthesis.review, *synthesis.withheld)})
    return known


def _ask_each(desk: _Desk, synthesis: Synthesis) -> None:
    words = {"a": "accept", "d": "deny", "g": "generalise", "o": "owner"}
    for one in desk.waiting(synthesis):
        typer.echo(f"\n{shown(one.block)}: {shown(one.rule)}", err=True)
        for line in _reasons(one):
            typer.echo(f"    {line}", err=True)
        yes = "[a]pprove" if one.tier == 1 else "[a]ccept"
        choices = f"{yes} [d]eny [g]eneralise [o]wner [s]kip [q]uit"
        answer = ""
        while answer not in (*words, "s", "q"):
            answer = typer.prompt(choices, err=True, default="s", show_default=False).strip().lower()[:1]
        if answer == "q":
            return
        if answer == "s":
            continue
        action = "approve" if answer == "a" and one.tier == 1 else words[answer]
        reason = ""
        while not reason.strip() and action == "approve":
            reason = typer.prompt("why", err=True)
        desk.record(synthesis, one.rule, action, reason)


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


def _document(name: bytes, waiting: Sequence[Waiting]) -> dict[str, Any]:
    return {"schema": 1, "profile": plain(name), "waiting": [learning.waiting_document(one) for one in waiting]}
