"""Keeping the store small: what goes, in which order, in small transactions, so that ingestion is never held up.

Always, whatever the size: losses older than `detail_days`, and all but the newest LOSSES_KEPT, are summed up by node,
kind and day (a window over such a day stays incomplete); loads of policy that old, and all but the newest
STATUSES_KEPT, go, but for the last one of each node and profile; labels without accesses go.

Only while the store is larger than its limit, in this order, each as far as needed:

1. raw samples of accesses, the accesses that were met first going first;
2. old runs, the RUNS_ALWAYS newest of each profile staying. Their number goes on counting, and of an access all runs
   that are gone count as one;
3. blocks of the ledger whose events are all older than `ledger_days`. From then on the node has a *horizon*: a record
   that is no newer than the newest forgotten event is never counted, for it might have been counted before.

Accesses with their counts, totals, decisions, revisions and steps never go. Where that is more than the limit,
`Retained.over` says by how much.
"""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import Connection, and_, bindparam, delete, func, select, tuple_, update
from sqlalchemy import text as sql

from aalearn.store import engine as engines
from aalearn.store import reading, schema
from aalearn.store.codec import name_id
from aalearn.store.readings import Retained

DAY_MS: Final = 86_400_000
LOSSES_KEPT: Final = 10_000
STATUSES_KEPT: Final = 20_000
RUNS_ALWAYS: Final = 100
_SAMPLES_A_STEP: Final = 2_000
_RUNS_A_STEP: Final = 5_000
_BLOCKS_A_STEP: Final = 200
_PAGES_A_STEP: Final = 512
# Trimming goes on to this share of the limit, so that it isn't called for again at once.
_TARGET: Final = 0.95

Writing = Callable[[], AbstractContextManager[Connection]]


@dataclass(frozen=True, slots=True)
class Ages:
    """How old (days) what must be to be summed up or forgotten; see the module."""

    detail_days: int = 90
    ledger_days: int = 180


AGES: Final = Ages()


def used_bytes(connection: Connection) -> int:
    """Return how many bytes the store's content takes. PostgreSQL's tables don't shrink: there live rows are summed."""
    if connection.dialect.name == "sqlite":
        pages, free, size = (_pragma(connection, name) for name in ("page_count", "freelist_count", "page_size"))
        return (pages - free) * size
    total = 0
    for name in schema.metadata.tables:
        rows = connection.execute(sql(f"SELECT coalesce(sum(pg_column_size(t.*)), 0) FROM {name} t"))  # noqa: S608 - ours
        total += int(rows.scalar_one())
    return total


def file_bytes(connection: Connection) -> int:
    """Return how many bytes the store takes on its disk, without SQLite's WAL."""
    if connection.dialect.name == "sqlite":
        return _pragma(connection, "page_count") * _pragma(connection, "page_size")
    tables = ", ".join(f"'{name}'" for name in schema.metadata.tables)
    asked = f"SELECT sum(pg_total_relation_size(t::regclass)) FROM unnest(ARRAY[{tables}]) t"  # noqa: S608 - ours
    return int(connection.execute(sql(asked)).scalar_one())


def _pragma(connection: Connection, name: str) -> int:
    return int(connection.exec_driver_sql(f"PRAGMA {name}").scalar_one())


class Keeper:
    """One call of `Store.retain`. Each step is one short transaction; `run` ends when the time is up or all is done."""

    def __init__(self, writing: Writing, limit: int, now: int, ages: Ages, seconds: float) -> None:
        self._writing = writing
        self._limit = limit
        self._now = now
        self._ages = ages
        self._end = time.monotonic() + seconds
        self._made = Retained()

    def run(self) -> Retained:
        """Do what is to do, as far as the time allows."""
        done = self._small() and self._large() and self._give_back()
        with self._writing() as connection:
            size = file_bytes(connection)
            used = size if size <= self._limit else used_bytes(connection)
        return replace(self._made, size=size, used=used, over=max(0, used - self._limit) if done else 0, done=done)

    def _late(self) -> bool:
        return time.monotonic() >= self._end

    def _step(self, step: Callable[[Connection], int], name: str) -> bool:
        """Take a step in its own transaction; True if it found something to do."""
        with self._writing() as connection:
            found = step(connection)
        self._made = replace(self._made, **{name: getattr(self._made, name) + found})
        return found > 0

    def _small(self) -> bool:
        """Do what is done whatever the size."""
        old = self._now - self._ages.detail_days * DAY_MS
        for step, name in (
            (lambda connection: sum_up_losses(connection, old), "losses"),
            (lambda connection: forget_statuses(connection, old), "statuses"),
            (forget_labels, "labels"),
        ):
            self._step(step, name)
            if self._late():
                return False
        return True

    def _large(self) -> bool:
        """Trim until the content is small enough, or nothing more may go."""
        with self._writing() as connection:
            if file_bytes(connection) <= self._limit or used_bytes(connection) <= self._limit:
                return True
        old = self._now - self._ages.ledger_days * DAY_MS
        steps: list[tuple[Callable[[Connection], int], str]] = [
            (forget_samples, "samples"),
            (forget_runs, "runs"),
            (lambda connection: forget_blocks(connection, old), "blocks"),
        ]
        for step, name in steps:
            while self._step(step, name):
                with self._writing() as connection:
                    if used_bytes(connection) <= self._limit * _TARGET:
                        return True
                if self._late():
                    return False
        return True

    def _give_back(self) -> bool:
        """Shorten SQLite's file by its free pages, a few at a time (in a store made by today's aalearn)."""
        while True:
            with self._writing() as connection:
                if connection.dialect.name != "sqlite" or _pragma(connection, "auto_vacuum") != 2:
                    return True
                if file_bytes(connection) <= self._limit * _TARGET or not _pragma(connection, "freelist_count"):
                    return True
            engines.give_pages_back(connection, _PAGES_A_STEP)
            if self._late():
                return False


def sum_up_losses(connection: Connection, old: int) -> int:
    """Sum up the losses before `old` (ms) and all but the newest LOSSES_KEPT; return how many rows that saved."""
    table = schema.losses.c
    count = connection.execute(select(func.count()).select_from(schema.losses)).scalar_one()
    saved = 0
    for day in (DAY_MS, 0):
        cut = old
        if count - saved > LOSSES_KEPT:
            newest = select(table.time).order_by(table.time.desc()).offset(LOSSES_KEPT // 2).limit(1)
            cut = max(cut, connection.execute(newest).scalar_one())
        elif day == 0:
            break
        rows = connection.execute(select(schema.losses).where(table.time < cut, table.time > 0)).all()
        saved += _sum_up(connection, rows, day)
    return saved


def _sum_up(connection: Connection, rows: Any, day: int) -> int:
    groups: dict[tuple[int, bytes, int], list[Any]] = {}
    for row in rows:
        groups.setdefault((row.node, row.kind, row.time // day if day else -1), []).append(row)
    gone: list[int] = []
    made: list[dict[str, Any]] = []
    for (node, kind, part), members in groups.items():
        if len(members) < 2:
            continue
        gone += [row.id for row in members]
        made.append(
            {
                "id": name_id(b"losses", b"%d %d" % (node, part), kind),
                "node": node,
                "time": min(row.time for row in members),
                "kind": kind,
                "amount": sum(row.amount for row in members),
                "source": min(row.source for row in members),
                "until": max(row.until for row in members),
                "times": sum(row.times for row in members),
            }
        )
    _delete(connection, schema.losses, gone)
    if made:
        connection.execute(schema.losses.insert(), made)
    return len(gone) - len(made)


def _delete(connection: Connection, table: Any, ids: list[int]) -> None:
    if ids:
        connection.execute(delete(table).where(table.c.id == bindparam("gone")), [{"gone": number} for number in ids])


def forget_statuses(connection: Connection, old: int) -> int:
    """Drop loads of policy before `old` but the last one of each node and profile, and beyond STATUSES_KEPT any."""
    table = schema.timeline.c
    count = connection.execute(select(func.count()).select_from(schema.timeline)).scalar_one()
    cut = old
    if count > STATUSES_KEPT:
        newest = select(table.time).order_by(table.time.desc()).offset(STATUSES_KEPT // 2).limit(1)
        cut = max(cut, connection.execute(newest).scalar_one())
    rows = connection.execute(select(table.id, table.node, table.time, table.profile).where(table.time < cut)).all()
    if not rows:
        return 0
    after = select(table.node, table.profile).where(table.time >= cut).distinct()
    covered = {(node, profile) for node, profile in connection.execute(after)}
    gone = []
    for row in sorted(rows, key=lambda row: (-row.time, row.id)):
        if (row.node, row.profile) in covered:
            gone.append(row.id)
        covered.add((row.node, row.profile))
    if count - len(gone) > STATUSES_KEPT:  # made-up names: none of them may fill the store
        gone = [row.id for row in rows]
    _delete(connection, schema.timeline, gone)
    return len(gone)


def forget_labels(connection: Connection) -> int:
    """Drop labels that have no accesses."""
    labels, totals = schema.labels.c, schema.totals.c
    none = ~select(totals.label).where(totals.label == labels.id).exists()
    return connection.execute(delete(schema.labels).where(none)).rowcount


def forget_samples(connection: Connection) -> int:
    """Drop the raw records of the accesses that were met first.

    SQLite would leave their pages half empty, so there the rows are written anew at the end; old pages become free.
    """
    table = schema.accesses.c
    some = select(table.id, table.digest, table.need, table.state).where(func.length(table.sample) > 0)
    rows = connection.execute(some.order_by(table.id).limit(_SAMPLES_A_STEP)).all()
    if not rows:
        return 0
    if connection.dialect.name == "sqlite":
        _delete(connection, schema.accesses, [row.id for row in rows])
        made = [{"digest": row.digest, "need": row.need, "state": row.state, "sample": b""} for row in rows]
        connection.execute(schema.accesses.insert(), made)
    else:
        mine = table.id == bindparam("number")
        connection.execute(update(schema.accesses).where(mine).values(sample=b""), [{"number": row.id} for row in rows])
    return len(rows)


def forget_runs(connection: Connection) -> int:
    """Drop the runs that ended first, but the newest of each profile; the number of runs stays in `forgotten`."""
    table = schema.runs.c
    oldest = select(table.base, table.id, table.end).order_by(table.end, table.id)
    ranks = func.row_number().over(partition_by=table.base, order_by=(table.end.desc(), table.id.desc()))
    ranked = select(table.id, ranks.label("rank")).subquery()
    oldest = oldest.join(ranked, ranked.c.id == table.id).where(ranked.c.rank > RUNS_ALWAYS).limit(_RUNS_A_STEP)
    by_base: dict[int, list[int]] = {}
    for base, number, _ in connection.execute(oldest):
        by_base.setdefault(base, []).append(number)
    gone = schema.forgotten
    for base, ids in by_base.items():
        before = _runs(connection, base)
        _delete(connection, schema.runs, ids)
        more = before - _runs(connection, base)
        known = connection.execute(select(gone.c.runs).where(gone.c.base == base)).scalar()
        if known is None:
            connection.execute(gone.insert(), {"base": base, "runs": more})
        else:
            connection.execute(update(gone).where(gone.c.base == base).values(runs=known + more))
    return sum(map(len, by_base.values()))


def _runs(connection: Connection, base: int) -> int:
    joined, _ = reading.runs_of(connection, base, {})
    return reading.runs_in_all(connection, base, len(joined))


def forget_blocks(connection: Connection, old: int) -> int:
    """Drop blocks of the ledger without an event since `old` (ms), oldest first, and set the nodes' horizons."""
    table, nodes = schema.ledger.c, schema.nodes
    asked = select(table.node, table.block, table.newest).where(table.newest < old)
    rows = connection.execute(asked.order_by(table.newest, table.node, table.block).limit(_BLOCKS_A_STEP)).all()
    if not rows:
        return 0
    horizons: dict[int, int] = {}
    for row in rows:
        horizons[row.node] = max(horizons.get(row.node, 0), row.newest)
    keys = [(row.node, row.block) for row in rows]
    connection.execute(delete(schema.ledger).where(tuple_(table.node, table.block).in_(keys)))
    for node, horizon in horizons.items():
        later = and_(nodes.c.id == node, nodes.c.horizon < horizon)
        connection.execute(update(nodes).where(later).values(horizon=horizon))
    return len(keys)
