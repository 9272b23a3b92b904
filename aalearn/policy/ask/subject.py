"""From a decoded profile to the form that questions need."""

from collections.abc import Iterable
from typing import Final

from aalearn.policy.ask.base import Machine, Subject
from aalearn.policy.automaton import START
from aalearn.policy.decoder import BinaryProfile, PolicyDb
from aalearn.policy.permissions import Rights

_CONNECT_PATH: Final = 0x4  # of path_flags: flags=(attach_disconnected); source: kernel include/path.h


def subject_of(
    profile: BinaryProfile, *, policy: Iterable[BinaryProfile] = (), fine_unix: bool | None = None
) -> Subject:
    """Return `profile` for questions; `policy` are the profiles that it was compiled with, whose names it may refer to.

    Raises PolicyError when its permissions do not fit its automata.
    """
    limits = profile.rlimits
    return Subject(
        name=profile.name,
        names=frozenset(other.name for other in policy),
        file=_machine(profile.file, file=True),
        policy=_machine(profile.policy, file=False),
        xmatch=_machine(profile.xmatch, file=False),
        capabilities=profile.capabilities.allow,
        attach_disconnected=bool((profile.path_flags or 0) & _CONNECT_PATH),
        transitions=() if profile.file is None else profile.file.table or (),
        rlimits={}
        if limits is None
        else {number: value for number, value in enumerate(limits.values) if limits.mask >> number & 1},
        fine_unix=fine_unix,
    )


def _machine(found: PolicyDb | None, *, file: bool) -> Machine | None:
    if found is None:
        return None
    start = (found.file_start if file else found.start) or START
    return Machine(Rights(found.dfa, found.perms, file=file), start)
