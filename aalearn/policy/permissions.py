"""What a state of an automaton permits: accept tables and the permission table, as the kernel reads them.

Up to policy version 8 each state carries its permissions in the accept tables, in the layout of old kernels; since
version 9 a table of 14 words an entry may stand beside the automaton, whose accept words are then indices into it.
Both give the same modern bits (source: kernel security/apparmor/policy_compat.c, lib.c and include/perms.h;
apparmor_parser's libapparmor_re/policy_compat.cc). What a deny rule takes away is already gone from `allow`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from aalearn.model.errors import PolicyError
from aalearn.policy.automaton import TRAP, Dfa


class May:
    """The permission bits that all classes share, plain integers; each class gives a few of them its own meaning."""

    EXEC: Final = 1 << 0
    WRITE: Final = 1 << 1
    READ: Final = 1 << 2
    APPEND: Final = 1 << 3
    CREATE: Final = 1 << 4
    DELETE: Final = 1 << 5
    OPEN: Final = 1 << 6
    RENAME: Final = 1 << 7
    SETATTR: Final = 1 << 8
    GETATTR: Final = 1 << 9
    CHMOD: Final = 1 << 12
    CHOWN: Final = 1 << 13
    LOCK: Final = 1 << 15  # in the second half of a link pair: the subset test is on
    MMAP: Final = 1 << 16
    LINK: Final = 1 << 18
    CONTINUE: Final = 1 << 27  # a longer match may permit more
    ONEXEC: Final = 1 << 29
    CHANGE_PROFILE: Final = 1 << 30


# How an execution changes the profile (source: include/perms.h and file.h, AA_X_*).
X_INDEX: Final = 0x00FFFFFF
X_NAME: Final = 0x04000000
X_TABLE: Final = 0x08000000
X_UNSAFE: Final = 0x10000000
X_CHILD: Final = 0x20000000
X_INHERIT: Final = 0x40000000
X_UNCONFINED: Final = 0x80000000


@dataclass(frozen=True, slots=True)
class Perms:
    """What one state permits to one kind of subject: `May` bits, and the exec transition that goes with May.EXEC."""

    allow: int = 0
    xindex: int = 0
    audit: int = 0
    quiet: int = 0


NOTHING: Final = Perms()

# Columns of a row of the permission table, version 1 and 2 (14 words; source: policy_unpack.c unpack_perm).
_ALLOW, _DENY, _AUDIT, _QUIET, _XINDEX = 1, 2, 8, 9, 11
_COLUMNS: Final = 14


class Rights:
    """The permissions of all states of one automaton: `of(state, owner)`, remembered once computed.

    `table` is the permission table that stands beside the automaton (rows of 14 words), None where permissions are
    inline. `file` says that the automaton is of the file class, whose owner's and others' permissions differ. Raises
    PolicyError when the table does not fit the automaton.
    """

    __slots__ = ("_known", "_table", "dfa", "file")

    def __init__(self, dfa: Dfa, table: Sequence[Sequence[int]] | None, *, file: bool) -> None:
        self.dfa = dfa
        self.file = file
        self._table = table
        self._known: dict[tuple[int, bool], Perms] = {}
        if table is None:
            if dfa.accept2 is None:
                raise PolicyError("damaged policy: an automaton has neither inline permissions nor a permission table")
            return
        if dfa.accept2 is not None and any(dfa.accept2):
            raise PolicyError("unknown policy: an automaton has both a permission table and inline words beside it")
        if max(dfa.accept) + (1 if file else 0) >= len(table):
            raise PolicyError("damaged policy: a state's permissions lie beyond the permission table")
        if any(len(row) != _COLUMNS for row in table):
            raise PolicyError("damaged policy: a row of the permission table has a wrong length")

    def of(self, state: int, owner: bool = True) -> Perms:
        """Return the permissions in `state`; `owner` says whether the subject owns the file (file class only)."""
        key = (state, owner)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = self._read(state, owner)
        return known

    def allow(self, state: int, owner: bool = True) -> int:
        """Return the `May` bits of `state`."""
        return self.of(state, owner).allow

    def _read(self, state: int, owner: bool) -> Perms:
        if self._table is not None:
            row = self._table[self.dfa.accept[state] + (0 if owner or not self.file else 1)]
            return Perms(row[_ALLOW] & ~row[_DENY], row[_XINDEX], row[_AUDIT], row[_QUIET])
        accept2 = self.dfa.accept2
        assert accept2 is not None
        if self.file:
            return _file(self.dfa.accept[state], accept2[state], owner)
        return _policy(self.dfa.accept[state], accept2[state]) if state != TRAP else NOTHING


def _file(accept: int, accept2: int, owner: bool) -> Perms:
    """Return the file permissions of inline words. Even the trap permits to read attributes, as in the kernel."""
    half, half2 = (accept, accept2) if owner else (accept >> 14, accept2 >> 14)
    allow = _widen(half & 0x7F) | May.GETATTR
    if accept & 0x80000000:
        allow |= May.CHANGE_PROFILE
    if accept & 0x40000000:
        allow |= May.ONEXEC
    return Perms(allow, _transition(half & 0x3FFF), _widen(half2 & 0x7F), _widen(half2 >> 7 & 0x7F))


def _widen(old: int) -> int:
    """Return the modern bits of the seven old file bits (x w r a l k m)."""
    new = old & 0xF
    if old & May.READ:
        new |= May.GETATTR | May.OPEN
    if old & May.WRITE:
        new |= May.SETATTR | May.CREATE | May.DELETE | May.CHMOD | May.CHOWN | May.OPEN
    if old & 0x10:
        new |= May.LINK
    if old & 0x20:
        new |= May.LOCK
    if old & 0x40:
        new |= May.MMAP
    return new


def _transition(half: int) -> int:
    """Return the modern transition of the 14 old bits of one half."""
    index = half >> 10 & 0xF
    new = (X_UNSAFE if half & 0x100 else 0) | (X_INHERIT if half & 0x200 else 0) | (X_UNCONFINED if half & 0x80 else 0)
    if index == 1:
        return new | X_UNCONFINED
    if index == 2:
        return new | X_NAME
    if index == 3:
        return new | X_NAME | X_CHILD
    return new | (X_TABLE | index - 4) if index else new


def _policy(accept: int, accept2: int) -> Perms:
    """Return the permissions of inline words of the policy classes (versions 5 to 8)."""
    return Perms(
        accept & 0x7F | _spread(accept >> 14 & 0x7F) | May.LOCK | (May.CONTINUE if accept & May.CONTINUE << 1 else 0),
        0,
        accept2 & 0x7F | _spread(accept2 >> 14 & 0x7F),
        accept2 >> 7 & 0x7F | _spread(accept2 >> 21 & 0x7F),
    )


def _spread(bits: int) -> int:
    """Return the modern places of the bits that the old layout keeps in the half of "others"."""
    return (bits & 0x3) << 8 | (bits & 0x1C) << 18 | (bits & 0x60) << 19
