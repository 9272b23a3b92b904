"""The store's face: open, commit, read. Everything SQL stands in the modules beside it."""

import gc
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self, TypeVar

from sqlalchemy import Connection, Engine, func, insert, select
from sqlalchemy import text as sql

from aalearn.model.errors import StoreError
from aalearn.model.event import Access, Verdict
from aalearn.store import engine as engines
from aalearn.store import exported, importing, latest, locks, migrate, portable, reading, retention, schema, upkeep
from aalearn.store.batch import Batch
from aalearn.store.codec import to_bytes
from aalearn.store.connecting import connect
from aalearn.store.faults import told
from aalearn.store.ledger import Ledger
from aalearn.store.readings import Decision, Latest, Loss, ProfileSummary, Retained, Revision, Run, Status, Step
from aalearn.store.statements import statements_of
from aalearn.store.writing import Commit, base_id, node_id

_MIGRATION_WAIT: Final = 10.0
_T = TypeVar("_T")


class Store:
    """One open store. Use as a context manager, in one thread.

    `ledger` and `commit` take the writer's place until `close`; decisions and revisions only need the database's own
    lock for a moment, so that a person can decide while the service runs. Readings work at any time.
    """

    def __init__(
        self, place: engines.Place, engine: Engine, connection: Connection, lock: locks.FileLock | None
    ) -> None:
        self._place = place
        self._engine = engine
        self._connection = connection
        self._lock = lock
        self._ledgers: dict[str, Ledger] = {}
        self._readonly = False
        self._number: int | None = None

    @classmethod
    def open(cls, url: str, *, readonly: bool = False) -> Self:
        """Open `sqlite:///PATH`, `sqlite://` (in memory) or `postgresql+psycopg://…`.

        The schema is made, or migrated, unless `readonly`; then nothing is written at all.

        Raises UsageError for a URL that is none of these; StoreError, one line, for whatever else is wrong.
        """
        place = engines.Place(url)
        lock = None
        if place.file is not None:
            engines.look_at(place.file, place.name, readonly=readonly)
            if not readonly:
                lock = locks.FileLock(place.file, place.name)
        with told(place.name):
            engine, connection = connect(place, readonly=readonly)
        store = cls(place, engine, connection, lock)
        try:
            with told(place.name):
                store._bring_up(readonly=readonly)
        except BaseException:
            store.close()
            raise
        return store

    def _bring_up(self, *, readonly: bool) -> None:
        """See to the schema: nothing when it is ours already, else migrate under the locks, or refuse."""
        self._readonly = readonly
        version = self._read(lambda connection: migrate.version_of(connection, self._place.name))
        if version == schema.HEAD:
            return
        if readonly:
            if version is None:
                raise StoreError(f"the store {self._place.name} is empty: run `aalearn ingest LOG…` first")
            raise StoreError(f"the store {self._place.name} has an older schema: run `aalearn ingest` once")
        if self._lock is not None:
            self._lock.take(_MIGRATION_WAIT)
        try:
            with self._writing(lasting=True) as connection:
                if migrate.version_of(connection, self._place.name) != schema.HEAD:
                    migrate.upgrade(connection)
        finally:
            if self._lock is not None:
                self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the writer's place and of the database. Uncommitted marks are dropped. May be called twice."""
        self._ledgers.clear()
        with told(self._place.name):
            self._connection.close()
            self._engine.dispose()
        if self._lock is not None:
            self._lock.release()

    @contextmanager
    def _writing(self, *, lasting: bool = False) -> Iterator[Connection]:
        """One writing transaction. `lasting`: what a person did must survive even a power cut."""
        if self._readonly:
            raise StoreError(f"the store {self._place.name} was opened for reading only")
        connection = engines.for_writing(self._connection, True)
        try:
            if lasting and self._place.is_sqlite:
                engines.pragma(connection, "PRAGMA synchronous = FULL")
            with connection.begin():
                if not self._place.is_sqlite:
                    locks.take_for_transaction(connection, b"commit")
                yield connection
        finally:
            engines.for_writing(self._connection, False)
            if lasting and self._place.is_sqlite and not connection.invalidated:
                engines.pragma(connection, "PRAGMA synchronous = NORMAL")

    def _read(self, read: Callable[[Connection], _T]) -> _T:
        """Read in one transaction, so from one state."""
        with told(self._place.name), self._connection.begin():
            if not self._place.is_sqlite:
                self._connection.execute(sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"))
            return read(self._connection)

    def claim(self) -> None:
        """Take the writer's place now (PostgreSQL: see `ledger`). StoreError names the pid and host of who holds it."""
        if self._lock is not None:
            self._lock.take()

    def ledger(self, node: str) -> Ledger:
        """Return the node's ledger of seen events; `commit` writes what is new in it. Claims the writer's place.

        On SQLite one writer holds the whole store; on PostgreSQL one writer a node, so that a fleet can share it.
        """
        known = self._ledgers.get(node)
        if known is not None:
            return known
        self.claim()
        number = node_id(node)
        if not self._place.is_sqlite:
            with told(self._place.name), self._connection.begin():
                locks.take_for_session(self._connection, self._place.name, b"ledger %d" % number)
        table = schema.ledger.c

        def load(block: int) -> bytes | None:
            asked = select(table.marks).where(table.node == number, table.block == block)
            return self._read(lambda connection: connection.execute(asked).scalar())

        made = self._ledgers[node] = Ledger(load, self._horizon(number))
        return made

    def spare_memory(self) -> None:
        """Keep the database's own cache small: it matters little, for the system caches the file too."""
        if self._place.is_sqlite:
            with told(self._place.name):
                engines.pragma(self._connection, "PRAGMA cache_size = -2048")

    def forget_ledger(self, node: str) -> None:
        """Let a node's ledger leave memory, if all of it is committed; `ledger` reads it again."""
        known = self._ledgers.get(node)
        if known is not None and known.settled:
            del self._ledgers[node]

    def commit(self, batch: Batch) -> None:
        """Write the batch and all ledgers in one transaction. On StoreError nothing was written and nothing is lost."""
        self.claim()
        with told(self._place.name), _no_collection(), self._writing() as connection:
            Commit(connection, statements_of(connection.dialect), self._own(connection)).write(batch, self._ledgers)
        for ledger in self._ledgers.values():
            ledger.settle()

    def retain(
        self, limit_bytes: int, now: int, *, ages: retention.Ages = retention.AGES, seconds: float = 0.5
    ) -> Retained:
        """Keep the store under `limit_bytes`; see `store/retention` for what goes first. `now` in ms.

        Small transactions, for about `seconds`; says whether there is more to do. Claims the writer's place.
        """
        self.claim()
        with told(self._place.name):
            made = retention.Keeper(self._writing, limit_bytes, now, ages, seconds).run()
        for node, ledger in self._ledgers.items():
            ledger.horizon = self._horizon(node_id(node))
        return made

    def _horizon(self, node: int) -> int:
        asked = select(schema.nodes.c.horizon).where(schema.nodes.c.id == node)
        return self._read(lambda connection: connection.execute(asked).scalar()) or 0

    def findings(self) -> list[str]:
        """Return what is wrong with the store, a line each; [] if it is sound."""
        return self._read(lambda connection: list(islice(upkeep.findings(connection), upkeep.MOST_FINDINGS)))

    def backup(self, target: Path, *, force: bool = False) -> int:
        """Copy the store (SQLite) as it is now, also while another process writes; return the copy's bytes.

        The file is whole or not there, mode 0600. Raises StoreError where it exists, unless `force`.
        """
        with told(self._place.name):
            return upkeep.copy(self._connection, target, force=force)

    def vacuum(self) -> tuple[int, int]:
        """Rewrite the database small; return its bytes before and after. Claims the writer's place."""
        self.claim()
        before = self._read(retention.file_bytes)
        with told(self._place.name):
            upkeep.vacuum(self._connection)
        return before, self._read(retention.file_bytes)

    def export_lines(self) -> Iterator[bytes]:
        """Yield the whole content, of one state, as `store/portable` describes it."""
        with told(self._place.name), self._connection.begin():
            if not self._place.is_sqlite:
                self._connection.execute(sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"))
            yield from portable.lines(self._connection)

    def import_lines(
        self, opened: Callable[[], AbstractContextManager[BinaryIO]], name: str, *, trusted: bool = False, now: int = 0
    ) -> tuple[int, int]:
        """Merge an export, all or nothing; return the number of its lines and of profiles whose steps were not taken.

        `opened` opens the file, which is read twice; `name` is fit to be shown. `trusted`: the file and the store that
        it is of could be written by nobody who is not trusted here. `now` in ms (0: the clock's). Claims the writer's
        place. Raises BadInput for what is no export, UsageError where records might count twice, or be lost; see
        `store/importing`.
        """
        self.claim()
        with told(self._place.name), self._writing(lasting=True) as connection:
            claims = importing.Claims(connection, now or time.time_ns() // 1_000_000, trusted=trusted)
            with opened() as stream:
                for kind, values in exported.rows(stream, name):
                    claims.see(kind, values)
            claims.settle()
            importer = importing.Importer(connection, statements_of(connection.dialect), trusted=trusted)
            lines = 0
            with opened() as stream:
                for kind, values in exported.rows(stream, name):
                    importer.take(kind, values)
                    lines += 1
            importer.finish()
        self._ledgers.clear()
        return lines, importer.skipped

    def decide(self, profile: bytes, rule: str, decision: str, *, who: str, when: int, why: str) -> None:
        """Remember a person's decision on the rule with this text."""
        row = {
            "base": base_id(profile),
            "profile": profile,
            "at": when,
            "rule": to_bytes(rule),
            "decision": to_bytes(decision),
            "who": to_bytes(who),
            "why": to_bytes(why),
        }
        with told(self._place.name), self._writing(lasting=True) as connection:
            connection.execute(insert(schema.decisions), row)

    def _own(self, connection: Connection) -> int:
        """Return this store's own number (see `schema.stores`)."""
        if self._number is None:
            table = schema.stores.c
            self._number = connection.execute(select(table.id).where(table.own)).scalar_one()
        return self._number

    def step(
        self, profile: bytes, state: str, *, revision: int, who: str, reason: str, when: int, detail: str = "{}"
    ) -> None:
        """Write down a step of a profile's life; `when` in ms, `detail` a JSON object, `revision` 0 for none."""
        table = schema.steps
        base = base_id(profile)
        with told(self._place.name), self._writing(lasting=True) as connection:
            last = connection.execute(select(func.max(table.c.number)).where(table.c.base == base)).scalar()
            row = {
                "base": base,
                "number": (last or 0) + 1,
                "profile": profile,
                "at": when,
                "state": to_bytes(state),
                "revision": revision,
                "who": to_bytes(who),
                "reason": to_bytes(reason),
                "detail": to_bytes(detail),
            }
            connection.execute(insert(table), row)

    def save_revision(
        self, profile: bytes, text: str, proof: str, *, author: str, reason: str, when: int, detail: str = "{}"
    ) -> Revision:
        """Keep a text with its proof (JSON) and `detail` (a JSON object); return it with its number."""
        table = schema.revisions
        base = base_id(profile)
        with told(self._place.name), self._writing(lasting=True) as connection:
            last = connection.execute(select(func.max(table.c.number)).where(table.c.base == base)).scalar()
            revision = Revision((last or 0) + 1, when, author, reason, text, proof, detail)
            row = {
                "base": base,
                "number": revision.number,
                "profile": profile,
                "at": when,
                "author": to_bytes(author),
                "reason": to_bytes(reason),
                "text": to_bytes(text),
                "proof": to_bytes(proof),
                "detail": to_bytes(detail),
            }
            connection.execute(insert(table), row)
        return revision

    def profiles(self) -> tuple[ProfileSummary, ...]:
        """Return a summary of each profile, sorted by name."""
        return self._read(reading.profiles)

    def accesses(self, name: bytes, *, verdicts: Collection[Verdict] | None = None) -> tuple[Access, ...]:
        """Return all accesses of a profile, its `//null-` children and its hats, with `event.profile` as logged.

        Sorted by the event and owner alone. An unknown name gives ().
        """
        return self._read(lambda connection: reading.accesses(connection, name, verdicts))

    def latest(
        self,
        name: bytes,
        verdicts: Collection[Verdict],
        since: int = 0,
        *,
        most: int = 2_000,
        room: int = 2 << 20,
        rows: int = 300_000,
        on: Callable[[str], bool] | None = None,
    ) -> Latest:
        """Return what of a profile was seen last, within bounds: see `store/latest`."""
        return self._read(
            lambda connection: latest.latest(connection, name, verdicts, since, most=most, room=room, rows=rows, on=on)
        )

    def runs(self, name: bytes) -> tuple[Run, ...]:
        """Return the joined runs of a profile, sorted by start."""
        return self._read(lambda connection: reading.runs(connection, name))

    def nearest(self, name: bytes) -> list[bytes]:
        """Return at most three known profile names that look like `name`, best first."""
        return self._read(lambda connection: reading.nearest(connection, name))

    def losses(self) -> tuple[Loss, ...]:
        """Return all known losses by time."""
        return self._read(reading.losses)

    def losses_of(self, name: bytes) -> tuple[Loss, ...]:
        """Return the known losses on the nodes where a profile was seen, whenever they happened, by time."""
        return self._read(lambda connection: reading.losses_of(connection, name))

    def counters(self) -> Mapping[str, int]:
        """Return the counters, sorted by name."""
        return self._read(reading.counters)

    def timeline(self) -> tuple[Status, ...]:
        """Return the loads, replacements and removals of policy by time."""
        return self._read(reading.timeline)

    def positions(self) -> Mapping[str, str]:
        """Return where each source was read to, sorted by source."""
        return self._read(reading.positions)

    def decisions(self, profile: bytes) -> tuple[Decision, ...]:
        """Return all decisions on a profile's rules, oldest first."""
        return self._read(lambda connection: reading.decisions(connection, profile))

    def revisions(self, profile: bytes) -> tuple[Revision, ...]:
        """Return all revisions of a profile, oldest first."""
        return self._read(lambda connection: reading.revisions(connection, profile))

    def steps(self, profile: bytes) -> tuple[Step, ...]:
        """Return all steps of a profile's life, oldest first."""
        return self._read(lambda connection: reading.steps(connection, profile))

    def stages(self) -> Mapping[bytes, Step]:
        """Return the last step of each profile that has one, sorted by the profile's name."""
        return self._read(reading.stages)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Keep the garbage collector from walking a batch's many objects over and over while rows are made of them."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
