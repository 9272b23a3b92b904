"""`aalearn watch`: what the kernel denies to enforced profiles, live."""

from __future__ import annotations

import json
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aalearn.cli import following, revisions
from aalearn.cli.completion import profile_names
from aalearn.cli.face import Face, face_of
from aalearn.cli.output import day_and_time, moment, plain, table
from aalearn.model.text import shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import RenderableType

    from aalearn.lifecycle.denials import Denial
    from aalearn.lifecycle.viewing import Noted, View, Viewer
    from aalearn.store import Store
    from aalearn.store.readings import Step

EXAMPLE = "Examples: aalearn watch  |  aalearn watch nginx --once  |  aalearn --output json watch | jq ."
_ROWS = 30  # denials that fit a screen


def command(
    context: typer.Context,
    profile: Annotated[
        str | None,
        typer.Argument(metavar="[PROFILE]", help="One profile; without it, all of them.", autocompletion=profile_names),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Show what was denied up to now, and leave.")] = False,
    interval: Annotated[
        float, typer.Option("--interval", metavar="SECONDS", min=0.2, max=3600, help="How often to look.")
    ] = 1.0,
) -> None:
    """Show each denial of an enforced profile: the event, the rule that would allow it, and what that rule risks.

    It reads the store beside the service. On a terminal it is a screen (end it with Ctrl-C); else a line for each
    denial and step, JSON lines with --output json. With --once the exit code is 1 when something was denied.
    """
    from aalearn.learn.options import Options
    from aalearn.lifecycle.viewing import Viewer

    face = face_of(context)
    judge = following.judge_here(face)
    options = Options(target=judge.target) if judge else Options()
    viewer = Viewer(following.limits(face), options, face.settings.node)
    with face.store(readonly=True) as store:
        name = revisions.known_anywhere(store, profile) if profile is not None else None
        looking = _Looking(face, store, viewer, name, interval)
        if once:
            views = looking.views()
            face.emit(_document(views), _text(views))
            _say_nothing(face, views)
            if any(view.denials for view in views):
                raise typer.Exit(1)
            return
        with suppress(KeyboardInterrupt):  # the way to end it
            if face.settings.output == "text" and sys.stdout.isatty():
                _screen(looking)
            else:
                _lines(looking)


@dataclass(frozen=True, slots=True)
class _Looking:
    """What is looked at, and how often (s)."""

    face: Face
    store: Store
    viewer: Viewer
    name: bytes | None
    interval: float

    def views(self) -> tuple[View, ...]:
        return self.viewer.views(self.store, time.time_ns() // 1_000_000, self.name)

    def steps(self) -> dict[bytes, Step]:
        stages = self.store.stages()
        return {name: step for name, step in stages.items() if self.name is None or name == self.name}


def _say_nothing(face: Face, views: Sequence[View]) -> None:
    if not views:
        face.say("aalearn: no profile is enforced: aalearn promote PROFILE")


def _lines(looking: _Looking) -> None:
    """Write a line for each denial and step, those since the promotion first, until somebody ends it."""
    from aalearn.lifecycle.viewing import news, noted

    views, steps = looking.views(), looking.steps()
    _say_nothing(looking.face, views)
    before: Noted = {}
    while True:
        for denial in news(before, views):
            _write(looking.face, _denial(denial), f"{day_and_time(denial.last)} {denial.line()}")
        before |= noted(views)
        time.sleep(looking.interval)
        views, last = looking.views(), looking.steps()
        for name, step in sorted(last.items()):
            if name not in steps or steps[name].number != step.number:
                _write(looking.face, _step(name, step), f"{day_and_time(step.when)} {_step_line(name, step)}")
        steps = last


def _write(face: Face, document: dict[str, Any], text: str) -> None:
    """Write one line (or YAML document), at once: somebody follows it."""
    form = face.settings.output
    if form == "json":
        sys.stdout.write(json.dumps({"schema": 1, **document}, ensure_ascii=True) + "\n")
    elif form == "yaml":
        sys.stdout.write("---\n")
        face.emit({"schema": 1, **document}, "")
    else:
        sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _screen(looking: _Looking) -> None:
    """Show it on the terminal until Ctrl-C."""
    from rich.console import Console
    from rich.live import Live

    console = Console(highlight=False, markup=False, emoji=False)
    with Live(_screenful(looking.views(), console), console=console, screen=False, auto_refresh=False) as live:
        while True:
            live.update(_screenful(looking.views(), console), refresh=True)
            time.sleep(looking.interval)


def _screenful(views: Sequence[View], console: Any) -> RenderableType:
    """Return what the terminal shows: the profiles, below them the last denials."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    if not views:
        return Text("no profile is enforced: aalearn promote PROFILE")
    profiles = Table(box=None, pad_edge=False)
    for title in ("PROFILE", "REVISION", "SINCE (UTC)", "PROBATION", "DENIED", "KINDS", "WORST"):
        profiles.add_column(title)
    for row in _profile_rows(views):
        profiles.add_row(*(Text(shown(cell)) for cell in row))
    latest = sorted((one for view in views for one in view.denials), key=lambda one: -one.last)
    room = max(3, min(_ROWS, console.height - len(views) - 6))
    recent = Table(box=None, pad_edge=False)
    for title in ("LAST (UTC)", "PROFILE", "TIMES", "WHAT", "BY", "RULE THAT WOULD ALLOW IT", "TIER"):
        recent.add_column(title, overflow="fold")
    for one in latest[:room]:
        style = {1: "bold red", 2: "red", 3: "yellow"}.get(one.judgement.tier, "")
        recent.add_row(*(Text(cell, style=style) for cell in _denial_row(one)))
    rest = max(0, len(latest) - room) + sum(view.more for view in views)
    more = [Text(f"… and {rest:,} more")] if rest else []
    return Group(profiles, Text(""), recent if latest else Text("nothing was denied"), *more)


def _text(views: Sequence[View]) -> str:
    """Return what --once shows."""
    if not views:
        return ""
    head = ("PROFILE", "REVISION", "SINCE (UTC)", "PROBATION", "DENIED", "KINDS", "WORST")
    lines = [table(head, list(_profile_rows(views)), (1, 4, 5))]
    for view in views:
        for one in view.denials:
            lines += ["", f"{day_and_time(one.last)} {one.line()}"]
            lines += [f"    {line}" for line in _mend(one)]
        if view.more:
            lines += ["", f"… and {view.more:,} older kinds of denials, {view.more_events:,} events"]
    return "\n".join(lines)


def _mend(one: Denial) -> list[str]:
    """Return what a person can do about a denial."""
    name = shown(one.profile)
    if one.judgement.meant or not one.judgement.wanted:
        return []
    words = " ".join(
        f"--{'approve' if wanted.tier == 1 else 'accept'} '{wanted.rule}'" for wanted in one.judgement.wanted
    )
    reason = " --reason WHY" if one.judgement.tier == 1 else ""
    return [f"if it should: aalearn review {name} --include-denied {words}{reason}"]


def _profile_rows(views: Sequence[View]) -> Iterator[tuple[str, ...]]:
    for view in views:
        promoted = view.promoted
        left = f"{view.probation / 60:.0f} min" if view.probation else "over"
        state = " (canary)" if promoted.canary else " (taken back)" if promoted.final else ""
        yield (
            shown(promoted.profile) + state,
            str(promoted.revision),
            day_and_time(promoted.since),
            left,
            _times(view.events, at_least=view.at_least),
            f"{len(view.denials) + view.more:,}",
            f"tier {view.worst}" if view.worst else "-",
        )


def _times(count: int, *, at_least: bool) -> str:
    return f"at least {count:,}" if at_least else f"{count:,}"


def _denial_row(one: Denial) -> tuple[str, ...]:
    judged = one.judgement
    return (
        day_and_time(one.last),
        shown(one.label),
        _times(one.count, at_least=one.at_least),
        judged.what,
        ", ".join(map(shown, one.programs[:3])),
        " ".join(wanted.rule for wanted in judged.wanted) or "none",
        "refused" if judged.meant else str(judged.tier or "-"),
    )


def _step_line(name: bytes, step: Step) -> str:
    revision = f", revision {step.revision}" if step.revision else ""
    return f"{shown(name)} is {shown(step.state)}{revision}, by {shown(step.who)}: {shown(step.reason) or 'no reason'}"


def _step(name: bytes, step: Step) -> dict[str, Any]:
    return {
        "event": "step",
        "profile": plain(name),
        "when": moment(step.when),
        "state": step.state,
        "revision": step.revision or None,
        "by": step.who,
        "reason": step.reason,
    }


def _denial(one: Denial) -> dict[str, Any]:
    judged = one.judgement
    return {
        "event": "denied",
        "profile": plain(one.profile),
        "label": plain(one.label),
        "what": judged.what,
        "times": one.count,
        "at_least": one.at_least,
        "first": moment(one.first),
        "last": moment(one.last),
        "programs": [plain(program) for program in one.programs],
        "nodes": list(one.nodes),
        "trusted": one.trusted,
        "tier": judged.tier,
        "rules": [
            {
                "block": rule.block,
                "rule": rule.rule,
                "tier": rule.tier,
                "why": rule.why,
                "refused": rule.refused or None,
            }
            for rule in judged.wanted
        ],
        "notes": list(judged.notes),
        "record": shown(one.sample),
    }


def _document(views: Sequence[View]) -> dict[str, Any]:
    return {
        "schema": 1,
        "profiles": [
            {
                "profile": plain(view.promoted.profile),
                "state": view.step.state,
                "revision": view.promoted.revision,
                "since": moment(view.promoted.since),
                "probation_seconds": round(view.probation, 1),
                "unit": view.promoted.unit or None,
                "events": view.events,
                "at_least": view.at_least,
                "more": view.more,
                "worst_tier": view.worst,
                "denials": [_denial(one) for one in view.denials],
            }
            for view in views
        ],
    }
