"""The service's loop: one thread that counts, commits, tells and watches; one more for each source that reads.

Nothing is lost: what was read and not committed is read again, because positions are committed together with what was
counted. Nothing is doubled: the same transaction. While the store can't be written the batch stays in memory, the queue
fills, and the sources wait; those that can't wait count what they lose.
"""

import gc
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import monotonic, sleep, time
from typing import Final

from aalearn import __version__
from aalearn.intake import Intake, Limits, Options
from aalearn.intake.engine import without_collector
from aalearn.intake.runs import Origins
from aalearn.model.errors import AalearnError, StoreError, UsageError
from aalearn.model.text import shown
from aalearn.service.crew import Crew
from aalearn.service.figures import Figures, sentence
from aalearn.service.follower import Follower
from aalearn.service.metrics import Metrics, Rows
from aalearn.service.notify import Notifier
from aalearn.service.options import ServiceOptions
from aalearn.service.profiles import Profiles
from aalearn.service.queue import ByteQueue, Item
from aalearn.service.reader import Say
from aalearn.service.signals import Signals
from aalearn.sources.live import LiveSource
from aalearn.store import Store
from aalearn.store.batch import Batch, LossRow

Chosen = tuple[Sequence[LiveSource], Sequence[str]]
"""The sources to read, and what to say of the choice."""
Choose = Callable[[ServiceOptions], Chosen]

LIMITS: Final = Limits(rows=3_000, size=1 << 20, lines=50_000, cache=3_000, marks=16_000, nodes=32, runs=3_000)
"""Small batches and caches: the service must stay under 100 MiB."""
DRAIN_S: Final = 2.5
"""After a signal to end: how long what was read already is still counted (seconds)…"""
END_S: Final = 4.5
"""…and until when the last commit must be done."""
_START_S: Final = 10.0
_WAIT_S: Final = 0.25
_TICK_S: Final = 1.0
_STATUS_S: Final = 5.0
_COLLECT_S: Final = 10.0
_FIRST_PAUSE_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 30.0
_HANGS_S: Final = 30.0


def run(
    options: ServiceOptions,
    reload: Callable[[], ServiceOptions],
    *,
    store: Store,
    choose: Choose,
    say: Say,
    followers: Sequence[Follower] = (),
    origins: Origins | None = None,
    rows: Sequence[Rows] = (),
    notifier: Notifier | None = None,
    finished: Callable[[Figures], None] = lambda _: None,
) -> int:
    """Serve until a signal ends it; return the exit code: 0, or 3 when no source was left or not all was stored.

    `store` is open for writing. `followers` are called by the loop, `rows` gives metrics that they keep, `finished` is
    shown the figures at the end. Raises StoreError that names who holds it, UsageError for a source or an address that
    can't be.
    """
    service = Service(options, store, choose, say, followers, origins, rows, notifier or Notifier())
    with Signals() as signals, without_collector():
        try:
            code = service.serve(signals, reload)
            finished(service.figures)
            return code
        finally:
            service.close()


class Service:
    """One run of the service."""

    def __init__(
        self,
        options: ServiceOptions,
        store: Store,
        choose: Choose,
        say: Say,
        followers: Sequence[Follower],
        origins: Origins | None,
        rows: Sequence[Rows],
        notifier: Notifier,
    ) -> None:
        self._options = options
        self._store = store
        self._choose = choose
        self._say = say
        self._followers = followers
        self._notifier = notifier
        self._file = _file_of(options.db)
        self._inode = _inode(self._file)
        self._intake = Intake(store, Options(options.node), on_commit=self._committed, origins=origins, limits=LIMITS)
        self._queue = ByteQueue(options.queue_bytes)
        self.figures = Figures(__version__, time(), self._intake.totals, self._queue)
        self._metrics = Metrics(self.figures, rows)
        self._profiles = Profiles(self.figures, options, say)
        self._crew = Crew((), {}, self._queue, say)
        self._signals = Signals()
        self._deadline = 0.0  # when ending: until when the last commit must be done
        self._told: set[str] = set()
        now = monotonic()
        self._last_commit = self._ticked = self._shown = self._collected = self._rated = now
        self._written = 0.0
        self._rated_lines = 0
        self._rate = 0.0

    # --- from begin to end ---------------------------------------------------------------------------------------

    def serve(self, signals: Signals, reload: Callable[[], ServiceOptions]) -> int:
        """See `run`."""
        self._signals = signals
        self._store.spare_memory()
        self._store.ledger(self._options.node)  # the writer's place, or the one line that says who has it
        if self._options.listen and not self._options.once:
            self._listen(self._options)
        sources, told = self._choose(self._options)
        self._begin(sources, told, self._saved())
        if not self._crew.start(_START_S):
            self._say("no source can be read: see the lines above; `aalearn doctor` tells what is missing")
            return 3
        self._notifier.ready(sentence(self.figures, 0.0))
        while not signals.stop:
            if signals.reload:
                signals.reload = False
                self._reload(reload)
                continue
            self._step(_WAIT_S)
            if self._options.once and self._crew.ended and not self._queue.size:
                return self._end_of_once()
            if self._crew.lost() and not self._queue.size:
                self._say("no source is left that can be read")
                self._finish()
                return 3
        return self._finish()

    def close(self) -> None:
        """Give back all but the store."""
        self._crew.stop()
        self._queue.close()
        self._crew.join(1.0)
        self._profiles.stop()
        self._metrics.close()
        self._notifier.close()

    def _saved(self) -> dict[str, str]:
        """Return the saved positions of this node's sources, by source."""
        head = f"{self._options.node}:"
        return {name.removeprefix(head): at for name, at in self._store.positions().items() if name.startswith(head)}

    def _begin(self, sources: Sequence[LiveSource], told: Sequence[str], positions: dict[str, str]) -> None:
        for line in told:
            self._say(line)
        if not sources:
            raise UsageError("no source to read: name one, e.g. `aalearn run --source /var/log/audit/audit.log`")
        self._crew = Crew(sources, positions, self._queue, self._say, once=self._options.once)
        self.figures.readers = self._crew.readers

    def _step(self, wait: float) -> None:
        """Count the next item, commit when it is time, and look after the rest."""
        item = self._queue.get(wait)
        if item is not None:
            self._count(item)
        if self._intake.full or monotonic() - self._last_commit >= self._options.commit_seconds:
            self._commit()
        self._look_after()

    def _count(self, item: Item) -> None:
        if not self._stored(partial(self._intake.count, item.chunk)):
            self._leave([item])  # the time to end is over: it is not marked as reached, and will be read again
        elif item.position is not None:
            self._intake.reached(f"{self._options.node}:{item.source}", item.position)

    def _commit(self) -> bool:
        """Commit if there is something to; False if it could not be done in the time that was left."""
        self._last_commit = monotonic()
        if self._intake.empty:
            return True
        return self._stored(self._timed_commit)

    def _timed_commit(self) -> None:
        begun = monotonic()
        self._intake.commit()
        self._last_commit = monotonic()
        self.figures.commits.see(self._last_commit - begun)

    def _committed(self, batch: Batch) -> None:
        self.figures.committed(batch, time())
        for follower in self._followers:
            self._follow(partial(follower.committed, batch, self._store))

    def _stored(self, act: Callable[[], None]) -> bool:
        """Do something with the store, again and again until it goes well. False: the time to end is over."""
        pause = _FIRST_PAUSE_S
        while True:
            try:
                act()
            except StoreError as error:
                if self._options.once:
                    raise
                self.figures.commit_failures += 1
                if str(error) != self.figures.trouble:
                    self._say(f"{error}; what was read is kept, and tried again")
                self.figures.trouble = str(error)
                if self._deadline and monotonic() + pause > self._deadline:
                    return False
                self._rest(pause)
                pause = min(pause * 2, _LONGEST_PAUSE_S)
            else:
                if self.figures.trouble:
                    self._say("the store can be written again")
                    self.figures.trouble = ""
                return True

    def _rest(self, seconds: float) -> None:
        """Wait, but look after everything else; a signal to end makes it short."""
        end = monotonic() + seconds
        while monotonic() < end:
            if self._signals.stop and not self._deadline:
                self._deadline = monotonic() + END_S
                return
            sleep(min(_WAIT_S, max(0.0, end - monotonic())))
            self._look_after()

    # --- the end ---------------------------------------------------------------------------------------------------

    def _finish(self) -> int:
        """Read no more, count what was read, commit; all within END_S."""
        begun = monotonic()
        self._deadline = self._deadline or begun + END_S
        self._notifier.stopping("committing what was read")
        self._crew.stop()
        first = self._signals.stop
        while not (self._crew.ended and not self._queue.size):
            if monotonic() - begun > DRAIN_S or self._signals.stop > max(1, first) or self.figures.trouble:
                break
            item = self._queue.get(0.05)
            if item is not None:
                self._count(item)
                if self._intake.full:
                    self._commit()
        self._leave(self._queue.close())
        stored = self._commit()
        if not stored:
            self._say("not all could be stored; what is missing will be read again")
        return 0 if stored else 3

    def _leave(self, left: Sequence[Item]) -> None:
        """What a source can't give a second time, and was not counted, is lost, and that is said."""
        now = int(time() * 1000)
        lost: dict[str, int] = {}
        for item in left:
            if not item.resumable:
                lost[item.source] = lost.get(item.source, 0) + item.chunk.data.count(b"\n") + 1
        for source, amount in sorted(lost.items()):
            self._intake.lost(LossRow(self._options.node, source, now, "stopped", amount))

    def _end_of_once(self) -> int:
        self._commit()
        failed = [reader for reader in self._crew.readers if reader.trouble or reader.died]
        return 3 if failed else 0

    # --- what is done now and then ---------------------------------------------------------------------------------

    def _look_after(self) -> None:
        """Do what comes once a second, and less often."""
        now = monotonic()
        if now - self._ticked < _TICK_S:
            return
        self._ticked = now
        self._crew.revive()
        self.figures.readers = self._crew.readers
        if self._crew.moving(max(_HANGS_S, self._notifier.watchdog)):
            self._notifier.alive()
        if not self._options.once:
            at = int(time() * 1000)
            for follower in self._followers:
                self._follow(partial(follower.tick, at, self._store))
            self._profiles.tick()
        self._check_file()
        if now - self._shown >= _STATUS_S:
            lines = self._intake.totals.get("lines", 0)
            self._rate = (lines - self._rated_lines) / (now - self._rated)
            self._shown = self._rated = now
            self._rated_lines = lines
            self._notifier.status(sentence(self.figures, self._rate))
        if self._options.textfile is not None and now - self._written >= self._options.metrics_seconds:
            self._written = now
            self._write(self._options.textfile)
        if now - self._collected >= _COLLECT_S:
            self._collected = now
            gc.collect()

    def _follow(self, call: Callable[[], None]) -> None:
        try:
            call()
        except AalearnError as error:
            self.figures.follower_failures += 1
            self._say_once(str(error))

    def _write(self, path: Path) -> None:
        self.figures.store_bytes = _size(self._file)
        try:
            self._metrics.write(path)
        except OSError as error:
            self._say_once(f"metrics can't be written to {shown(str(path))}: {error.strerror or error}")

    def _say_once(self, text: str) -> None:
        if text not in self._told:
            if len(self._told) > 100:
                self._told.clear()
            self._told.add(text)
            self._say(text)

    def _check_file(self) -> None:
        """SQLite goes on writing to a file that was moved or deleted: then it is better to end and begin anew."""
        if self._inode is not None and _inode(self._file) != self._inode:
            raise StoreError(f"the store {shown(str(self._file))} was moved or deleted while the service ran")

    # --- the configuration -----------------------------------------------------------------------------------------

    def _listen(self, options: ServiceOptions) -> None:
        port = self._metrics.listen(options.listen, anywhere=options.anywhere)
        self._say(f"metrics are served at {shown(options.listen)} (port {port})")

    def _reload(self, reload: Callable[[], ServiceOptions]) -> None:
        """Take a new configuration if all of it is good; otherwise all of the old one stays."""
        self._notifier.reloading()
        try:
            new = reload()
            if changed := _fixed(self._options, new):
                self._say(f"{' and '.join(changed)}: changed, but that takes a restart; till then the old ones hold")
            old = self._options
            new = replace(new, db=old.db, node=old.node, fixed=old.fixed)
            sources, told = self._choose(new)
            if not sources:
                raise UsageError("no source to read")
            if (new.listen, new.anywhere) != (self._options.listen, self._options.anywhere):
                self._listen_anew(new)
        except AalearnError as error:
            self.figures.bad_reloads += 1
            self._say(f"the configuration was not taken, the old one stays: {error}")
        else:
            self._take(new, sources, told)
        self._notifier.ready(sentence(self.figures, self._rate))

    def _listen_anew(self, new: ServiceOptions) -> None:
        self._metrics.close()
        try:
            if new.listen:
                self._listen(new)
        except UsageError:
            if self._options.listen:
                self._listen(self._options)
            raise

    def _take(self, new: ServiceOptions, sources: Sequence[LiveSource], told: Sequence[str]) -> None:
        """Go over to new options: the old readers end, what they read is counted, and the new ones go on there."""
        old = self._crew
        old.stop()
        while not (old.ended and not self._queue.size):
            self._step(0.05)
            if self._signals.stop:  # then it ends as it is
                return
        self._commit()
        positions = {**self._saved(), **old.positions()}
        self._options = self._profiles.options = new
        self._queue.limit = new.queue_bytes
        self._written = 0.0
        self._begin(sources, told, positions)
        self._crew.start(_START_S)
        self.figures.reloads += 1
        self._say("the configuration was read again")


def _fixed(old: ServiceOptions, new: ServiceOptions) -> list[str]:
    """Return the names of the settings that differ but can't change while the service runs."""
    before, now = (dict((("db", one.db), ("node", one.node), *one.fixed)) for one in (old, new))
    return [name for name in before if now.get(name) != before[name]]


def _file_of(url: str) -> Path | None:
    """Return the file of an SQLite store."""
    name = url.removeprefix("sqlite:///") if url.startswith("sqlite:///") else ""
    return Path(name).absolute() if name and name != ":memory:" else None


def _inode(file: Path | None) -> tuple[int, int] | None:
    try:
        found = file.stat() if file is not None else None
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if found is not None else None


def _size(file: Path | None) -> int:
    """Return the bytes of a store's files (0 for a server's)."""
    total = 0
    if file is not None:
        for name in (file, file.with_name(file.name + "-wal")):
            try:
                total += name.stat().st_size
            except OSError:
                continue
    return total
