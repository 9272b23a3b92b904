"""The options that shape what is learned, the same for every command that learns, and how they become values."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aalearn.cli import vouching
from aalearn.cli.face import known_profile
from aalearn.cli.output import count, day_and_time, moment
from aalearn.model.errors import NotExpressible, UsageError
from aalearn.model.text import plain_name, shown, spell

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aalearn.cli.face import Face
    from aalearn.learn.options import Decision, Options
    from aalearn.learn.synthesis import Waiting
    from aalearn.lifecycle.judge import Judge
    from aalearn.model.event import Access
    from aalearn.model.target import Target as ModelTarget
    from aalearn.store import Store

Container = Annotated[
    bool | None,
    typer.Option(
        "--container/--no-container",
        help="The profile is a container's: no includes, every exec stays in it. Default: as the records tell.",
        show_default=False,
    ),
]
IncludeDenied = Annotated[
    bool, typer.Option("--include-denied", help="Learn from DENIED records too, and mark what rests on them.")
]
Root = Annotated[
    Path | None,
    typer.Option(
        "--root",
        metavar="DIR|LIST",
        help="The files that there are: a root file system, or a list of its paths. Generalises and counts over-grant.",
    ),
]
Target = Annotated[
    Path | None,
    typer.Option(
        "--target", metavar="FEATURES", help="The AppArmor features of the nodes that shall enforce (file or folder)."
    ),
]
Base = Annotated[
    Path | None,
    typer.Option("--base", metavar="DIR", help="The folder of profiles, abstractions and tunables (/etc/apparmor.d)."),
]


@dataclass(frozen=True, slots=True)
class Choice:
    """What the command line says of learning."""

    container: bool | None = None
    include_denied: bool = False
    complain: bool = False
    all_active: bool = False
    accepted: bool = False
    root: Path | None = None
    attachment: str | None = None
    measured_abstractions: bool = False
    silent: bool = False  # what is found out by itself is not told


def judge(face: Face, base: Path | None, target: Path | None) -> Judge:
    """Return what proofs are made with, by the command's options and the settings."""
    from aalearn.lifecycle.judge import Judge

    settings = face.settings
    found = Judge.find(settings.parser, target or settings.target, base or settings.base)
    face.detail(f"apparmor_parser {found.parser.release}, features of {found.features.source}")
    return found


def attachment(exe: str | None) -> str | None:
    """Return a program's path as policy text, None for none. Raises UsageError unless it is an absolute path."""
    if exe is None:
        return None
    if not exe.startswith("/"):
        raise UsageError(f"--exe must be an absolute path: {shown(exe)}")
    if not {"", ".", ".."}.isdisjoint(exe.split("/")[1:]):
        raise UsageError(f"--exe must be a file's real path, without //, . or .. and no slash at its end: {shown(exe)}")
    return spell(exe.encode("utf-8", "surrogateescape"))


def writable_profile(store: Store, name: str) -> bytes:
    """Return a profile's name as the store knows it. Raises UsageError for one that is unknown or can't be written."""
    known = known_profile(store, name)
    try:
        plain_name(known)
    except NotExpressible:
        raise UsageError(
            f"no profile can be written for {shown(known)}: a name is made of letters, digits, . _ - and /, without .."
        ) from None
    return known


def rule_text(rule: str) -> str:
    """Return a rule as a person types it in its one exact form: single blanks, a final comma."""
    return " ".join(rule.split()).rstrip(",").rstrip() + ","


def decide(face: Face, store: Store, name: bytes, rules: Sequence[str], action: str, reason: str) -> None:
    """Record a person's decision on each rule: who, when and why; in root's own memory too, where root decides."""
    from time import time

    from aalearn.lifecycle.decided import who
    from aalearn.store.readings import Decision

    when = int(time() * 1000)
    made = [Decision(when, rule_text(rule), action, who(), reason.strip()) for rule in rules]
    for one in made:
        store.decide(name, one.rule, one.decision, who=one.who, when=one.when, why=one.why)
    vouching.decided(face, name, made)


def nearest(text: str, rules: Sequence[str]) -> str:
    """Return what to say of the rules that are most like a text that is none of them, "" where none is."""
    near = get_close_matches(text, rules, n=2, cutoff=0.3)
    return f"; the nearest are: {' '.join(map(shown, near))}" if near else ""


def denied(face: Face, store: Store, name: bytes) -> list[Decision]:
    """Return the denials that hold, sorted by rule."""
    from aalearn.learn.options import Action
    from aalearn.lifecycle.decided import decisions

    known, _ = decisions(vouching.standing(face, store, name).decisions)
    return [decision for decision in known if decision.action is Action.DENY]


def denied_text(name: bytes, rules: Sequence[Decision]) -> str:
    """Return what persons have denied, with who, when and why, and how to undo it; "" for nothing."""
    if not rules:
        return ""
    lines = [f"{count(len(rules), 'rule')} of {shown(name)} denied by a person, so left out:", ""]
    for one in rules:
        why = f": {shown(one.why)}" if one.why else ", without a reason"
        lines += [f"  {shown(one.rule)}", f"      denied by {shown(one.who)} at {day_and_time(one.when)} UTC{why}"]
    undo = f"aalearn review {shown(name)} --accept RULE (--approve RULE --reason TEXT for tier 1)"
    return "\n".join([*lines, "", f"To undo a denial: {undo}"])


def denied_document(one: Decision) -> dict[str, Any]:
    """Return a denial as plain values."""
    return {"rule": one.rule, "who": one.who, "when": moment(one.when), "why": one.why}


def waiting_document(one: Waiting) -> dict[str, Any]:
    """Return a rule that waits for a person as plain values."""
    return {
        "block": one.block,
        "rule": one.rule,
        "tier": one.tier,
        "reasons": list(one.reasons),
        "runs": one.runs,
        "active": one.active,
    }


def _container(face: Face, store: Store, name: bytes, choice: Choice, accesses: Sequence[Access] | None) -> bool:
    """Return whether the profile is a container's: as the command line says, else as the records tell, which is said.

    Whoever wants abstractions measured, or names the program that the profile attaches to, means a host's profile.
    """
    if choice.container is not None:
        return choice.container
    if choice.measured_abstractions or choice.attachment is not None:
        return False
    from aalearn.learn.containers import recognised

    runs = store.runs(name)
    seen = sum(bool(run.container) for run in runs)
    why = recognised(store.accesses(name) if accesses is None else accesses, seen, len(runs))
    if why and not choice.silent:
        text = f"{shown(name)} is taken for a container's profile, as {why}"
        face.say(f"aalearn: note: {text}: all it runs stays in it, and it includes nothing (--no-container: not so)")
    return bool(why)


def options(
    face: Face,
    store: Store,
    name: bytes,
    choice: Choice,
    target: ModelTarget,
    accesses: Sequence[Access] | None = None,
) -> Options:
    """Return the options of a synthesis: the choices, and what persons have decided on this profile before.

    `accesses` are the profile's, where the caller has read them already.
    """
    from aalearn.learn.options import Mode, Options
    from aalearn.lifecycle.decided import decisions
    from aalearn.lifecycle.population import read_population

    standing = vouching.standing(face, store, name)
    if not choice.silent:
        vouching.tell_others(face, name, standing)
    known, strange = decisions(standing.decisions)
    for line in strange:
        face.say(f"aalearn: note: {line}")
    population = None
    if choice.root is not None:
        population, unread = read_population(choice.root)
        face.detail(f"{len(population):,} files in {choice.root}")
        if unread:
            face.say(f"aalearn: note: {unread:,} folders below {choice.root} can't be read, so their files don't count")
    return Options(
        target=target,
        container=_container(face, store, name, choice, accesses),
        include_denied=choice.include_denied,
        complain=choice.complain,
        population=population,
        decisions=known,
        mode=Mode.ALL if choice.all_active else Mode.ACCEPTED if choice.accepted else Mode.DEFAULT,
        attachment=choice.attachment,
    )
