"""`aalearn status`: what is being learned, what was lost."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aalearn.cli import learning, promote
from aalearn.cli.completion import profile_names
from aalearn.cli.face import Face, face_of, known_profile
from aalearn.cli.output import count, day_and_time, moment, plain, table
from aalearn.cli.steps import now
from aalearn.model.errors import NotExpressible
from aalearn.model.text import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aalearn.model.event import Access
    from aalearn.store import Store
    from aalearn.store.readings import Loss, ProfileSummary, Run, Status, Step

EXAMPLE = "Example: aalearn status nginx"
_PLACES = 8  # containers that are told; json has all


def command(
    context: typer.Context,
    profile: Annotated[
        str | None,
        typer.Argument(metavar="[PROFILE]", help="One profile; without it, all of them.", autocompletion=profile_names),
    ] = None,
) -> None:
    """Show what is being learned: events, accesses, runs, and the records that are known to be lost.

    Times are UTC. A loss inside a profile's time makes its learning incomplete.
    """
    face = face_of(context)
    with face.store(readonly=True) as store:
        if profile is None:
            _all(face, store)
        else:
            _one(face, store, known_profile(store, profile))


def _all(face: Face, store: Store) -> None:
    summaries = store.profiles()
    losses, stages = store.losses(), store.stages()
    document = {
        "schema": 1,
        "profiles": [{**_summary(summary), "stage": _stage(stages.get(summary.name))} for summary in summaries],
        "losses": [_loss(loss) for loss in losses],
        "counters": dict(store.counters()),
    }
    if not summaries:
        face.emit(document, "no profile yet: run `aalearn ingest LOG…`")
        return
    rows = [
        (
            shown(summary.name),
            f"{summary.events:,}",
            f"{summary.accesses:,}",
            f"{summary.runs:,}",
            day_and_time(summary.first),
            day_and_time(summary.last),
            shown(stages[summary.name].state) if summary.name in stages else "-",
            _doubts(summary),
        )
        for summary in summaries
    ]
    text = table(("PROFILE", "EVENTS", "ACCESSES", "RUNS", "FIRST", "LAST", "STAGE", "NOTES"), rows, right=(1, 2, 3))
    face.emit(document, "\n".join([text, *_loss_lines(losses)]))


def _one(face: Face, store: Store, name: bytes) -> None:
    summary = next(summary for summary in store.profiles() if summary.name == name)
    from aalearn.learn.convergence import begun, inside

    timeline = [row for row in store.timeline() if row.profile == name or row.profile.startswith(name + b"//")]
    accesses = store.accesses(name)
    losses = inside(store.losses_of(name), begun(accesses))
    programs = sorted({program for access in accesses for program in access.programs})
    readiness, sentence = _readiness(face, store, name, accesses, losses)
    places = _places(store.runs(name))
    step = store.stages().get(name)
    document = {
        "schema": 1,
        **_summary(summary),
        "stage": _stage(step),
        "programs": [plain(program) for program in programs],
        "containers": places,
        "losses_in_time": [_loss(loss) for loss in losses],
        "timeline": [_status(row) for row in timeline],
        "readiness": readiness,
        "decisions": len(store.decisions(name)),
        "revisions": len(store.revisions(name)),
    }
    lines = [
        f"profile    {shown(name)}",
        f"events     {summary.events:,} in {count(summary.accesses, 'access', 'accesses')}",
        *(f"           {verdict}: {events:,}" for verdict, _, events in summary.verdicts),
        f"runs       {summary.runs:,} on {', '.join(shown(node) for node in summary.nodes) or 'an unknown node'}",
        f"time       {day_and_time(summary.first)} to {day_and_time(summary.last)} UTC",
        f"programs   {', '.join(shown(program) for program in programs) or '-'}",
        f"sources    {'kernel records only' if summary.trusted else 'some can be written by programs (untrusted)'}",
        *_place_lines(places),
        f"stage      {_stage_line(step)}",
        f"state      {sentence}",
    ]
    face.emit(document, "\n".join([*lines, *_loss_lines(losses)]))


def _stage(step: Step | None) -> dict[str, Any] | None:
    if step is None:
        return None
    return {"stage": step.state, "revision": step.revision, "when": moment(step.when), "who": step.who}


def _stage_line(step: Step | None) -> str:
    """Return where the profile stands, by its last step: what it learns is one thing, what is enforced another."""
    if step is None:
        return "none (aalearn has not drafted or promoted it)"
    revision = f", revision {step.revision}" if step.revision else ""
    return f"{shown(step.state)}{revision}, since {day_and_time(step.when)} UTC (by {shown(step.who)})"


def _places(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Return the containers (and Pods, by their uids) in which runs were seen, with the number of those, sorted."""
    found = Counter((plain(run.pod), plain(run.container)) for run in runs if run.container)
    return [{"pod": pod, "container": container, "runs": number} for (pod, container), number in sorted(found.items())]


def _place_lines(places: Sequence[dict[str, Any]]) -> list[str]:
    """Return where runs were seen, one line a container: a hint, as short processes are gone before anybody looks."""
    lines = [
        f"{one['container'][:12]}{' of Pod ' + one['pod'] if one['pod'] else ''}: {count(one['runs'], 'run')}"
        for one in places[:_PLACES]
    ]
    more = [f"and {len(places) - _PLACES} more"] if len(places) > _PLACES else []
    return (
        ["in         containers, as far as was seen:", *(f"           {line}" for line in (*lines, *more))]
        if lines
        else []
    )


def _readiness(
    face: Face, store: Store, name: bytes, accesses: Sequence[Access], losses: Sequence[Loss]
) -> tuple[dict[str, Any] | None, str]:
    """Return how far learning has come, as plain values and as one sentence. Ready is what `aalearn promote` wants."""
    from aalearn.learn.convergence import converge
    from aalearn.learn.synthesis import synthesize
    from aalearn.model.target import Target

    options = learning.options(face, store, name, learning.Choice(silent=True), Target(), accesses)
    try:
        synthesis = synthesize(name, accesses, options)
    except NotExpressible as error:
        return None, f"can't be learned: {error}"
    found = converge(synthesis, accesses, losses, now(), promote.wanted(face))
    values = {
        "ready": found.ready,
        "sentence": found.sentence,
        "reasons": list(found.reasons),
        "rules": found.rules,
        "runs": found.runs,
        "coverage": round(found.coverage, 6),
        "new_rules_a_run": round(found.new_rules, 6),
        "unseen_rules_at_least": round(found.unseen, 3),
        "last_new_rule": moment(found.last_new),
        "quiet_days": round(found.quiet_days, 3),
        "waiting": found.waiting,
    }
    return values, found.sentence


def _doubts(summary: ProfileSummary) -> str:
    doubts = []
    denied = sum(events for verdict, _, events in summary.verdicts if verdict == "DENIED")
    if denied:
        doubts.append(f"{denied:,} denied")
    if summary.losses:
        doubts.append(count(summary.losses, "loss", "losses"))
    if not summary.trusted:
        doubts.append("untrusted")
    return ", ".join(doubts)


def _loss_lines(losses: Sequence[Loss]) -> list[str]:
    """Return the losses for people, summed by node and kind."""
    if not losses:
        return []
    sums: dict[tuple[str, str], tuple[int, int, int]] = {}
    for loss in losses:
        key = (loss.node, loss.kind)
        times, amount, last = sums.get(key, (0, 0, 0))
        sums[key] = (times + loss.times, amount + loss.amount, max(last, loss.time, loss.until))
    rows = [
        (kind, node, f"{times:,}", f"{amount:,}", day_and_time(last))
        for (node, kind), (times, amount, last) in sorted(sums.items())
    ]
    from aalearn.sources.remedies import remedy

    mends = [f"  {shown(kind)}: {remedy(kind)}" for kind in sorted({kind for _, kind in sums})]
    return [
        "",
        "Records are known to be lost:",
        table(("HOW", "NODE", "TIMES", "RECORDS", "LAST"), rows, right=(2, 3)),
        "",
        "How to avoid it:",
        *mends,
    ]


def _summary(summary: ProfileSummary) -> dict[str, Any]:
    return {
        "profile": plain(summary.name),
        "events": summary.events,
        "accesses": summary.accesses,
        "verdicts": {str(verdict): events for verdict, _, events in summary.verdicts},
        "runs": summary.runs,
        "nodes": list(summary.nodes),
        "first": moment(summary.first),
        "last": moment(summary.last),
        "trusted": summary.trusted,
        "losses": summary.losses,
    }


def _loss(loss: Loss) -> dict[str, Any]:
    from aalearn.sources.remedies import remedy

    return {
        "time": moment(loss.time),
        "node": loss.node,
        "kind": loss.kind,
        "amount": loss.amount,
        "source": loss.source,
        "remedy": remedy(loss.kind),
    }


def _status(row: Status) -> dict[str, Any]:
    return {"time": moment(row.time), "node": row.node, "operation": row.operation, "mode": row.mode}
