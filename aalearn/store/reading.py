"""The readings: plain selects, made into frozen values, sorted by what they say."""

import difflib
from collections.abc import Collection, Iterable
from typing import Any

from sqlalchemy import Connection, Row, and_, func, select

from aalearn.model.event import Access, Event, Verdict
from aalearn.model.nodes import canonical
from aalearn.store import schema
from aalearn.store.batch import NODES_KEPT
from aalearn.store.codec import VERDICTS, decode_need, group, to_str
from aalearn.store.joining import Stretch, together
from aalearn.store.readings import Decision, Loss, ProfileSummary, Revision, Run, Status, Step
from aalearn.store.state import State
from aalearn.store.state import decode as decode_state
from aalearn.store.writing import RUNS_A_PROFILE, access_id, base_id, run_id, sort_key

_IDS = 1 << 63


def node_names(connection: Connection) -> dict[int, str]:
    """Return the names of all nodes by id."""
    return {number: to_str(name) for number, name in connection.execute(select(schema.nodes.c.id, schema.nodes.c.name))}


def runs_of(connection: Connection, base: int, nodes: dict[int, str]) -> tuple[tuple[Run, ...], dict[int, int]]:
    """Return the joined runs of a profile, sorted, and the id of the run that each stretch belongs to.

    A node's short and full name are one node: what was told under both is no second run.
    """
    table = schema.runs.c
    columns = (table.node, table.pid, table.start, table.end, table.fresh, table.program, table.id)
    asked = select(*columns, table.container, table.pod).where(table.base == base)
    called, numbers = canonical(nodes.values()), {name: number for number, name in nodes.items()}
    same = {number: numbers[called[name]] for number, name in nodes.items()}
    stretches = [Stretch(same.get(row[0], row[0]), *row[1:]) for row in connection.execute(asked)]
    runs: list[Run] = []
    joined: dict[int, int] = {}
    for members in together(stretches):
        first = members[0]
        number = run_id(first.node, base, first.pid, first.start)
        program = next((one.program for one in members if one.program), b"")
        container, pod = max((one.container, one.pod) for one in members)
        end = max(one.end for one in members)
        node = nodes.get(first.node, "?")
        runs.append(Run(first.start, end, node, first.pid, program, number, container, pod))
        joined |= {one.id: number for one in members}
    return tuple(sorted(runs)), joined


def runs(connection: Connection, name: bytes) -> tuple[Run, ...]:
    """Return the joined runs of a profile, sorted."""
    return runs_of(connection, base_id(name), node_names(connection))[0]


def runs_in_all(connection: Connection, base: int, joined: int) -> int:
    """Return how many runs a profile had: those kept or, where more were, an estimate by how densely their ids lie."""
    table = schema.runs.c
    count: int
    most: int
    count, most = connection.execute(select(func.count(), func.max(table.id)).where(table.base == base)).one()
    gone = schema.forgotten.c
    before = connection.execute(select(gone.runs).where(gone.base == base)).scalar() or 0
    if count < RUNS_A_PROFILE:
        return before + joined
    return before + max(joined, joined * round((count - 1) * _IDS / most) // count)


def profiles(connection: Connection) -> tuple[ProfileSummary, ...]:
    """Return all summaries by name."""
    nodes = node_names(connection)
    labels, totals = schema.labels.c, schema.totals.c
    asked = select(labels.label, totals.verdict, totals.accesses, totals.state)
    by_name: dict[bytes, list[tuple[Verdict, int, State]]] = {}
    rows = connection.execute(asked.join_from(schema.labels, schema.totals, labels.id == totals.label))
    for label, verdict, accesses, state in rows:
        by_name.setdefault(group(label), []).append((VERDICTS[verdict], accesses, decode_state(state)))
    lost = losses(connection)
    return tuple(_summary(connection, name, by_name[name], nodes, lost) for name in sorted(by_name))


def _summary(
    connection: Connection,
    name: bytes,
    totals: list[tuple[Verdict, int, State]],
    nodes: dict[int, str],
    lost: tuple[Loss, ...],
) -> ProfileSummary:
    counts: dict[Verdict, tuple[int, int]] = {}
    whole = State()
    for verdict, accesses, state in totals:
        known = counts.get(verdict, (0, 0))
        counts[verdict] = (known[0] + accesses, known[1] + state.count)
        whole.add(state.count, state.first, state.last, state.trusted)
        whole.nodes |= state.nodes
    base = base_id(name)
    joined, _ = runs_of(connection, base, nodes)
    return ProfileSummary(
        name=name,
        verdicts=tuple((verdict, *counts[verdict]) for verdict in sorted(counts)),
        accesses=sum(accesses for accesses, _ in counts.values()),
        events=whole.count,
        first=whole.first,
        last=whole.last,
        runs=runs_in_all(connection, base, len(joined)),
        nodes=_names(whole.nodes, nodes),
        trusted=whole.trusted,
        losses=sum(loss.times for loss in _on(lost, whole.nodes, nodes) if loss.since(whole.first)),
    )


def _on(lost: Iterable[Loss], ids: Collection[int], nodes: dict[int, str]) -> list[Loss]:
    """Return the losses on these nodes. Of more nodes than are kept nobody knows which: then those on any."""
    called = canonical(nodes.values())
    names = {called[name] for name in _names(ids, nodes) if name in called}
    return [loss for loss in lost if len(ids) >= NODES_KEPT or called.get(loss.node, loss.node) in names]


def _names(ids: Iterable[int], nodes: dict[int, str]) -> tuple[str, ...]:
    return tuple(sorted(nodes.get(number, "?") for number in ids))


def accesses(connection: Connection, name: bytes, verdicts: Collection[Verdict] | None) -> tuple[Access, ...]:
    """Return the accesses of a profile with its children and hats, sorted."""
    base = base_id(name)
    nodes = node_names(connection)
    _, joined = runs_of(connection, base, nodes)
    gone = connection.execute(select(schema.forgotten.c.runs).where(schema.forgotten.c.base == base)).scalar() or 0
    known = frozenset(joined.values()) if gone else None
    labels, table = schema.labels.c, schema.accesses.c
    asked = select(labels.label, table.digest, table.need, table.state, table.sample)
    near = and_(table.digest >= labels.low, table.digest < labels.high)
    rows = connection.execute(asked.join_from(schema.labels, schema.accesses, near).where(labels.base == base))
    wanted = frozenset(Verdict if verdicts is None else verdicts)
    found = []
    for label, digest, need, state, sample in rows:
        event, owner = decode_need(label, need)
        if event.verdict in wanted:
            found.append(_access(access_id(digest), event, owner, decode_state(state), sample, nodes, joined, known))
    return tuple(sorted(found, key=lambda access: sort_key(access.event, access.owner)))


def _access(
    number: int,
    event: Event,
    owner: bool | None,
    state: State,
    sample: bytes,
    nodes: dict[int, str],
    joined: dict[int, int],
    known: frozenset[int] | None,
) -> Access:
    runs = {joined.get(run, run) for run in state.runs}
    if known is not None:  # whether those that are gone were one run or many can't be told: they count as one
        runs = (runs & known) | set(sorted(runs - known)[:1])
    return Access(
        id=number,
        event=event,
        owner=owner,
        count=state.count,
        first=state.first,
        last=state.last,
        programs=tuple(sorted(state.programs)),
        runs=tuple(sorted(runs)),
        # Beyond those kept the sketch counts stretches. Where some of those are one run, only what is known is said.
        run_count=state.run_count() if state.sketch and len(runs) == len(state.runs) else len(runs),
        nodes=_names(state.nodes, nodes),
        trusted=state.trusted,
        confirmed=state.trusted or state.partly,
        sample=sample,
    )


def names(connection: Connection) -> list[bytes]:
    """Return the names of all profiles."""
    return sorted({group(label) for label in connection.execute(select(schema.labels.c.label)).scalars()})


def nearest(connection: Connection, name: bytes) -> list[bytes]:
    """Return at most three names that look like it, best first."""
    known = {other.decode("latin-1"): other for other in names(connection)}
    wanted = name.decode("latin-1")
    close = difflib.get_close_matches(wanted, known, n=3, cutoff=0.5)
    close += [other for other in known if wanted and wanted in other and other not in close]
    return [known[other] for other in close[:3]]


def losses(connection: Connection) -> tuple[Loss, ...]:
    """Return all losses by time."""
    nodes = node_names(connection)
    table = schema.losses.c
    columns = (table.time, table.node, table.kind, table.amount, table.source, table.until, table.times)
    found = [
        Loss(at, nodes.get(node, "?"), to_str(kind), amount, to_str(source), 0 if until == at else until, times)
        for at, node, kind, amount, source, until, times in connection.execute(select(*columns))
    ]
    return tuple(sorted(found))


def losses_of(connection: Connection, name: bytes) -> tuple[Loss, ...]:
    """Return the losses on the nodes where a profile was seen, by time."""
    labels, totals = schema.labels.c, schema.totals.c
    asked = select(totals.state).join_from(schema.labels, schema.totals, labels.id == totals.label)
    ids: set[int] = set()
    for state in connection.execute(asked.where(labels.base == base_id(name))).scalars():
        ids |= decode_state(state).nodes
    return tuple(_on(losses(connection), ids, node_names(connection)))


def timeline(connection: Connection) -> tuple[Status, ...]:
    """Return all changes of policy by time."""
    nodes = node_names(connection)
    table = schema.timeline.c
    rows = connection.execute(select(table.time, table.node, table.operation, table.profile, table.mode))
    found = [
        Status(at, nodes.get(node, "?"), to_str(operation), profile, to_str(mode))
        for at, node, operation, profile, mode in rows
    ]
    return tuple(sorted(found))


def counters(connection: Connection) -> dict[str, int]:
    """Return all counters by name."""
    rows = connection.execute(select(schema.counters.c.name, schema.counters.c.value))
    return dict(sorted((to_str(name), value) for name, value in rows))


def positions(connection: Connection) -> dict[str, str]:
    """Return all positions by source."""
    rows = connection.execute(select(schema.positions.c.source, schema.positions.c.position))
    return dict(sorted((to_str(source), to_str(position)) for source, position in rows))


def decisions(connection: Connection, profile: bytes) -> tuple[Decision, ...]:
    """Return a profile's decisions, oldest first; of the same time, in the order taken."""
    table = schema.decisions.c
    rows = connection.execute(
        select(schema.decisions).where(table.base == base_id(profile)).order_by(table.at, table.id)
    )
    return tuple(
        Decision(row.at, to_str(row.rule), to_str(row.decision), to_str(row.who), to_str(row.why)) for row in rows
    )


def revisions(connection: Connection, profile: bytes) -> tuple[Revision, ...]:
    """Return a profile's revisions by number."""
    table = schema.revisions.c
    rows = connection.execute(select(schema.revisions).where(table.base == base_id(profile)).order_by(table.number))
    return tuple(
        Revision(row.number, row.at, *map(to_str, (row.author, row.reason, row.text, row.proof, row.detail)))
        for row in rows
    )


def steps(connection: Connection, profile: bytes) -> tuple[Step, ...]:
    """Return a profile's steps in the order taken."""
    table = schema.steps.c
    rows = connection.execute(select(schema.steps).where(table.base == base_id(profile)).order_by(table.number))
    return tuple(_step(row) for row in rows)


def stages(connection: Connection) -> dict[bytes, Step]:
    """Return the last step of each profile, by its name."""
    table = schema.steps.c
    last = select(table.base, func.max(table.number).label("number")).group_by(table.base).subquery()
    same = and_(table.base == last.c.base, table.number == last.c.number)
    rows = connection.execute(select(schema.steps).join(last, same))
    return dict(sorted((row.profile, _step(row)) for row in rows))


def _step(row: Row[Any]) -> Step:
    said = map(to_str, (row.who, row.reason, row.detail))
    return Step(row.number, row.at, to_str(row.state), row.revision, *said)
