"""What a record says once it is understood, and what the store remembers of many such records."""

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """The word after `apparmor=` (source: kernel security/apparmor/audit.c, aa_audit_type_names)."""

    ALLOWED = "ALLOWED"
    DENIED = "DENIED"
    AUDIT = "AUDIT"
    STATUS = "STATUS"
    HINT = "HINT"
    ERROR = "ERROR"
    KILLED = "KILLED"
    AUTO = "AUTO"


@dataclass(frozen=True, slots=True)
class Event:
    """A record understood: everything it says but the moment (time, serial) and the process (pid), which are a
    sighting's.

    `profile` is the subject's label as logged, decoded: it may hold `//null-`, `//&` or `:ns:`. dbus records name it
    `label`; here it is always `profile`. `fields` holds every other key with its decoded bytes, sorted by key, one
    entry a key: `class`, `name`, `denied_mask`, `comm`, `fsuid`, … as the kernel spells them. Values stay bytes: file
    names need not be UTF-8. Enrichment after 0x1d is not part of an event.
    """

    verdict: Verdict
    operation: str
    profile: bytes
    fields: tuple[tuple[str, bytes], ...]

    def get(self, key: str) -> bytes | None:
        """Return the decoded value of `key`, or None when the record has no such key."""
        for name, value in self.fields:
            if name == key:
                return value
        return None

    def text(self, key: str) -> str:
        """Return the value of a key whose words are the kernel's own (masks, families, …) as ASCII text, "" when
        absent.
        """
        return (self.get(key) or b"").decode("ascii", "backslashreplace")

    def with_(self, **changes: bytes | None) -> "Event":
        """Return a copy with some fields set (or, by None, removed). `profile=` sets the subject."""
        changes = dict(changes)
        profile = changes.pop("profile", self.profile)
        merged: dict[str, bytes | None] = {**dict(self.fields), **changes}
        fields = tuple(sorted((key, value) for key, value in merged.items() if value is not None))
        return Event(self.verdict, self.operation, profile if profile is not None else b"", fields)


# Fields that say who did it and not what was needed. An access leaves them out: `comm` and `exe` become its programs,
# `fsuid` and `ouid` its owner. One table, because store, grammar and tests must agree on it.
WHO_FIELDS = frozenset({"comm", "exe", "fsuid", "ouid", "pid", "sauid", "uid", "auid", "ses", "hostname", "terminal"})


@dataclass(frozen=True, slots=True)
class Access:
    """One need of one profile, however often it was seen: the store's row as a value.

    `event` is without WHO_FIELDS. `owner` is True where fsuid == ouid in each of its records, False where they
    differ, None where the record has neither (accesses that differ in it are separate). Times are milliseconds since
    the epoch (UTC). `programs` are the `comm` values seen (bounded, see the store), `runs` the ids of the runs that
    needed it (bounded; ids are unique in the store), `run_count` how many runs there were in all. `trusted` is True
    only if every sighting came from a source that programs can't forge, `confirmed` where at least one did, or such a
    source told the same record again. `sample` is one raw record, as read.
    """

    id: int
    event: Event
    owner: bool | None
    count: int
    first: int
    last: int
    programs: tuple[bytes, ...] = ()
    runs: tuple[int, ...] = ()
    run_count: int = 0
    nodes: tuple[str, ...] = ()
    trusted: bool = False
    sample: bytes = b""
    confirmed: bool = False

    @property
    def believed(self) -> bool:
        """Whether a source that programs can't forge told of it, whatever others told besides."""
        return self.trusted or self.confirmed
