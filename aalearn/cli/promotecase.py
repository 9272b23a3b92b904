"""What the gates of `aalearn promote` look at: the evidence as it is now, a proof made now, and who answers for it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from aalearn.cli import learning, suggest, vouching
from aalearn.model.errors import AalearnError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aalearn.cli.face import Face
    from aalearn.learn.convergence import Gate as Wanted
    from aalearn.learn.options import Options
    from aalearn.lifecycle.gates import Author, Case, Gate
    from aalearn.lifecycle.judge import Judge
    from aalearn.lifecycle.node.tasks import Task
    from aalearn.lifecycle.promote import Plan
    from aalearn.lifecycle.proving import Beyond
    from aalearn.lifecycle.stages import Stage
    from aalearn.model.event import Access
    from aalearn.store import Store


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the command line says."""

    revision: int | None
    force: tuple[str, ...]
    reason: str
    restart: tuple[str, ...]
    canary: bool
    container: bool | None
    dry_run: bool


@dataclass(frozen=True, slots=True)
class Promotion:
    """All that is known before anything is changed."""

    name: bytes
    plan: Plan
    gates: tuple[Gate, ...]
    astray: tuple[Task, ...]
    before: Stage | None
    beyond: Beyond


def case_of(
    face: Face,
    store: Store,
    made: Plan,
    judge: Judge,
    *,
    container: bool | None,
    wanted: Wanted,
    astray: Sequence[Task],
    restart: bool,
    made_now: bool,
) -> Case:
    """Return the case of a plan. `made_now`: its revision was made by this very call.

    Raises PolicyError where root's own memory is damaged, or the text does not compile.
    """
    from time import time

    from aalearn.learn.synthesis import synthesize
    from aalearn.lifecycle.gates import Case
    from aalearn.lifecycle.past import detail_of
    from aalearn.lifecycle.promote import mediates
    from aalearn.lifecycle.proving import again
    from aalearn.lifecycle.replay import Replay

    name = made.name
    accesses = store.accesses(name)
    denied = bool(detail_of(made.revision.detail).get("include_denied"))
    choice = learning.Choice(container=container, include_denied=denied, silent=True)
    options = learning.options(face, store, name, choice, judge.target, accesses)
    synthesis = synthesize(name, accesses, options)
    replies = Replay(name, made.compiled.subjects()).replies(name, accesses, options)
    return Case(
        name=name,
        revision=made.revision,
        compiled=made.compiled,
        proof=again(name, made.whole.text, replies, synthesis, options, accesses, judge, baseline=made.baseline),
        beyond=_beyond(face, made, judge, accesses, options, choice),
        replies=replies,
        author=_author(face, store, made, options, made_now=made_now),
        refusal=made.refusal,
        mediates=mediates(judge, made.compiled.compiled.abi if made.compiled.compiled else ""),
        synthesis=synthesis,
        accesses=accesses,
        options=options,
        losses=store.losses_of(made.name),
        wanted=wanted,
        astray=astray,
        restart=restart,
        now=int(time() * 1000),
    )


def _author(face: Face, store: Store, made: Plan, options: Options, *, made_now: bool) -> Author:
    from aalearn.lifecycle.gates import Author

    found = vouching.standing(face, store, made.name)
    return Author(
        own=found.own,
        told=found.told,
        made=made_now or found.made(made.name, made.revision),
        decisions=len(options.decisions),
        others=tuple(dict.fromkeys(one.rule for one in found.others)),
    )


def _beyond(
    face: Face, made: Plan, judge: Judge, accesses: Sequence[Access], options: Options, choice: learning.Choice
) -> Beyond:
    """Return what the text permits beyond a fresh one; one that can't be made is no bound."""
    from aalearn.lifecycle.proving import Beyond, beyond

    try:
        fresh = suggest.proposal_of(
            replace(face, quiet=True), made.name, accesses, options, judge, choice, None, anew=made.baseline is None
        )
    except AalearnError as error:
        return Beyond(unknown=f"what nobody can tell, as no fresh profile can be made here: {error}")
    known = f"{fresh.text}\n{made.baseline or ''}"
    return beyond(made.whole.text, made.compiled, known, fresh.proof.blob)
