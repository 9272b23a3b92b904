"""The store's face: open, commit, read. Everything SQL stands in the modules beside it."""

from collections.abc import Collection, Mapping
from types import TracebackType
from typing import Self

from aalearn.model.event import Access, Verdict
from aalearn.store.batch import Batch
from aalearn.store.ledger import Ledger
from aalearn.store.readings import Decision, Loss, ProfileSummary, Revision, Run, Status


class Store:
    """One open store. Use as a context manager, in one thread."""

    @classmethod
    def open(cls, url: str, *, readonly: bool = False) -> Self:
        """Open `sqlite:///PATH` or `postgresql+psycopg://…`; create and migrate it unless `readonly`.

        Raises UsageError for a URL that is none of these; StoreError, one line, for whatever else is wrong.
        """
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the writer's place and of the database. Uncommitted marks are dropped. May be called twice."""
        raise NotImplementedError

    # Writing. `ledger` and `commit` take the writer's place until `close`; decisions and revisions don't.

    def claim(self) -> None:
        """Take the writer's place now (PostgreSQL: see `ledger`). StoreError names the pid and host of who holds it."""
        raise NotImplementedError

    def ledger(self, node: str) -> Ledger:
        """Return the node's ledger of seen events; `commit` writes what is new in it. Claims the writer's place.

        On SQLite one writer holds the whole store; on PostgreSQL one writer a node, so that a fleet can share it.
        """
        raise NotImplementedError

    def commit(self, batch: Batch) -> None:
        """Write the batch and all ledgers in one transaction. On StoreError nothing was written and nothing is lost."""
        raise NotImplementedError

    def decide(self, profile: bytes, rule: str, decision: str, *, who: str, when: int, why: str) -> None:
        """Remember a person's decision on the rule with this text."""
        raise NotImplementedError

    def save_revision(self, profile: bytes, text: str, proof: str, *, author: str, reason: str, when: int) -> Revision:
        """Keep a text with its proof (JSON); return it with its number."""
        raise NotImplementedError

    # Reading. Works while a writer writes; each call sees one committed state.

    def profiles(self) -> tuple[ProfileSummary, ...]:
        """Return a summary of each profile, sorted by name."""
        raise NotImplementedError

    def accesses(self, name: bytes, *, verdicts: Collection[Verdict] | None = None) -> tuple[Access, ...]:
        """Return all accesses of the profile `name`, its `//null-` children and its hats, with `event.profile` as logged.

        Sorted by the event and owner alone. An unknown name gives ().
        """
        raise NotImplementedError

    def runs(self, name: bytes) -> tuple[Run, ...]:
        """Return the joined runs of a profile, sorted by start."""
        raise NotImplementedError

    def nearest(self, name: bytes) -> list[bytes]:
        """Return at most three known profile names that look like `name`, best first."""
        raise NotImplementedError

    def losses(self) -> tuple[Loss, ...]:
        """Return all known losses by time."""
        raise NotImplementedError

    def counters(self) -> Mapping[str, int]:
        """Return the counters, sorted by name."""
        raise NotImplementedError

    def timeline(self) -> tuple[Status, ...]:
        """Return the loads, replacements and removals of policy by time."""
        raise NotImplementedError

    def positions(self) -> Mapping[str, str]:
        """Return where each source was read to, sorted by source."""
        raise NotImplementedError

    def decisions(self, profile: bytes) -> tuple[Decision, ...]:
        """Return all decisions on a profile's rules, oldest first."""
        raise NotImplementedError

    def revisions(self, profile: bytes) -> tuple[Revision, ...]:
        """Return all revisions of a profile, oldest first."""
        raise NotImplementedError
