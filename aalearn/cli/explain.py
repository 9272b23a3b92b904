"""`aalearn explain`: why each rule is there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from aalearn.cli import learning
from aalearn.cli.completion import profile_names
from aalearn.cli.face import face_of
from aalearn.cli.output import count, day_and_time, moment, plain
from aalearn.model.errors import UsageError
from aalearn.model.text import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aalearn.learn.options import Decision
    from aalearn.lifecycle.grounds import Ground

EXAMPLE = "Example: aalearn explain nginx '/etc/nginx/nginx.conf r,'"


def command(
    context: typer.Context,
    profile: Annotated[
        str, typer.Argument(metavar="PROFILE", help="The profile.", autocompletion=profile_names, show_default=False)
    ],
    rule: Annotated[
        str | None, typer.Argument(metavar="[RULE]", help="A rule's text, or a part of it; without it, every rule.")
    ] = None,
    container: learning.Container = None,
    include_denied: learning.IncludeDenied = False,
    root: learning.Root = None,
    base: learning.Base = None,
    target: learning.Target = None,
) -> None:
    """Show the evidence behind each rule: how many events, when, which programs, runs and nodes, and one raw record."""
    from aalearn.learn.synthesis import synthesize
    from aalearn.lifecycle.grounds import grounds

    face = face_of(context)
    choice = learning.Choice(container=container, include_denied=include_denied, root=root)
    judge = learning.judge(face, base, target)
    with face.store(readonly=True) as store:
        name = learning.writable_profile(store, profile)
        accesses = store.accesses(name)
        options = learning.options(face, store, name, choice, judge.target, accesses)
        denied = learning.denied(face, store, name)
    synthesis = synthesize(name, accesses, options)
    chosen, refused = _chosen(grounds(synthesis, accesses), denied, rule)
    document = {
        "schema": 1,
        "profile": plain(name),
        "rules": [ground_document(ground) for ground in chosen],
        "denied": [learning.denied_document(one) for one in refused],
        "notes": [{"level": str(note.level), "text": note.text} for note in synthesis.notes],
    }
    face.emit(document, "\n\n".join(part for part in (_text(chosen), learning.denied_text(name, refused)) if part))
    for note in synthesis.notes:
        face.detail(f"{note.level}: {note.text}")


def _chosen(
    grounds: Sequence[Ground], denied: Sequence[Decision], rule: str | None
) -> tuple[list[Ground], list[Decision]]:
    """Return the rules that were asked for, and the denied ones: the exact one, else those that hold the words.

    Raises UsageError where there is none.
    """
    if rule is None:
        return list(grounds), list(denied)
    wanted = " ".join(rule.split())
    texts = {ground.rule for ground in grounds} | {decision.rule for decision in denied}
    found = {text for text in texts if text.rstrip(",") == wanted.rstrip(",")}
    found = found or {text for text in texts if wanted and wanted in text}
    if not found:
        raise UsageError(f"no rule is or holds {shown(wanted)!r}{learning.nearest(wanted, sorted(texts))}")
    return [one for one in grounds if one.rule in found], [one for one in denied if one.rule in found]


def _text(chosen: Sequence[Ground]) -> str:
    lines: list[str] = []
    block = ""
    for ground in chosen:
        if ground.block != block:
            block = ground.block
            lines += [f"profile {shown(block)}", ""]
        lines += _rule_lines(ground)
    return "\n".join(lines).rstrip()


def _rule_lines(ground: Ground) -> list[str]:
    state = {"active": "", "review": "   [waits for review]", "withheld": "   [withheld: not active]"}[ground.state]
    lines = [f"  {shown(ground.rule)}{state}"]
    lines += [f"      # {shown(comment)}" for comment in ground.comments]
    if not ground.events:
        return [*lines, "      no record asked for it by itself", ""]
    told = f"{count(ground.events, 'event')} in {count(ground.runs, 'run')}"
    if ground.accesses > 1:
        told += f", {ground.accesses:,} different accesses"
    lines.append(f"      {told}, {day_and_time(ground.first)} to {day_and_time(ground.last)} UTC")
    lines.append(f"      programs {', '.join(shown(program) for program in ground.programs) or '-'}")
    lines.append(f"      nodes    {', '.join(shown(node) for node in ground.nodes) or '-'}")
    if "DENIED" in ground.verdicts:
        lines.append("      rests on DENIED records, which somebody asked to include")
    if not ground.trusted:
        lines.append("      untrusted: some of these records could have been written by a program")
    return [*lines, f"      record   {shown(ground.sample)}", ""]


def ground_document(ground: Ground) -> dict[str, Any]:
    """Return a rule with its evidence as plain values."""
    return {
        "block": ground.block,
        "rule": ground.rule,
        "kind": ground.kind,
        "state": ground.state,
        "comments": list(ground.comments),
        "events": ground.events,
        "accesses": ground.accesses,
        "runs": ground.runs,
        "first": moment(ground.first),
        "last": moment(ground.last),
        "programs": [plain(program) for program in ground.programs],
        "nodes": list(ground.nodes),
        "verdicts": list(ground.verdicts),
        "trusted": ground.trusted,
        "record": plain(ground.sample),
    }
