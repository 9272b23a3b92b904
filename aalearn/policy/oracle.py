"""Would this event be allowed? Asked of the compiled policy, class by class, as the kernel asks it in enforce mode."""

from collections.abc import Callable, Iterable
from typing import Final

from aalearn.model.event import Event
from aalearn.model.text import shown
from aalearn.policy.ask import buses, domains, files, labels, mounts, network
from aalearn.policy.ask.base import Answer, Subject, Verdict, unproved
from aalearn.policy.ask.subject import subject_of
from aalearn.policy.decoder import BinaryProfile
from aalearn.rules import kind_of

__all__ = ["Answer", "Oracle", "Verdict"]

Question = Callable[[Subject, Event, bool | None], Answer]

# The question for each rule kind (the registry of `aalearn.rules`); a test holds the two together.
QUESTIONS: Final[dict[str, Question]] = {
    "capability": domains.capability,
    "change_hat": domains.change_hat,
    "change_profile": domains.change_profile,
    "dbus": buses.dbus,
    "file": files.file,
    "io_uring": labels.io_uring,
    "link": files.link,
    "mount": mounts.mount,
    "mqueue": buses.mqueue,
    "network": network.network,
    "pivot_root": mounts.pivot_root,
    "ptrace": labels.ptrace,
    "remount": mounts.mount,
    "rlimit": domains.rlimit,
    "signal": labels.signal,
    "umount": mounts.umount,
    "unix": network.network,
    "userns": labels.userns,
}


class Oracle:
    """One compiled profile, ready to be asked. Its answers hold for enforce mode, whatever mode it was compiled in."""

    __slots__ = ("subject",)

    def __init__(
        self, profile: BinaryProfile, *, policy: Iterable[BinaryProfile] = (), fine_unix: bool | None = None
    ) -> None:
        """Take a profile, and the whole policy that it stands in, whose names its hats are looked up in.

        `fine_unix`: see `Subject`. Raises PolicyError when the permissions do not fit the automata.
        """
        self.subject = subject_of(profile, policy=policy, fine_unix=fine_unix)

    @classmethod
    def of(cls, subject: Subject) -> "Oracle":
        """Return the oracle of a profile that is in the form for questions already."""
        oracle = cls.__new__(cls)
        oracle.subject = subject
        return oracle

    def ask(self, event: Event, owner: bool | None) -> Answer:
        """Return whether the kernel would permit what `event` records, to a subject that owns the object or not.

        `owner` None means that it is not known; then the answer holds for both. Pure; never raises on any event.
        """
        question = QUESTIONS.get(kind_of(event) or "")
        if question is None:
            return unproved(f"the operation {shown(event.operation)!r} has no question")
        return question(self.subject, event, owner)

    def attaches(self, path: bytes) -> bool:
        """Return whether an unconfined process that executes `path` would come under this profile.

        Which profile wins where several attach is a matter of the longest match; extended attributes are not looked at.
        """
        return self.subject.attaches(path)
