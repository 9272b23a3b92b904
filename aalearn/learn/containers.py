"""What is special about learning for a container: names of the host's trees, the runtime's signals, how it is told.

A record holds no container. Names of overlay file systems leak from the host's side (`…/snapshots/12/fs/etc/passwd`);
for a container's profile they become the container's own path. A host profile keeps them: a backup tool reads just
these. A process can write any such name by itself, but gains nothing: it could as well have used the path it means.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache, lru_cache
from re import DOTALL, VERBOSE
from re import Pattern as RegularExpression
from re import compile as regex

from aalearn.model.data import words
from aalearn.model.event import Access, Event
from aalearn.model.label import NULL
from aalearn.model.pattern import Pattern
from aalearn.rules.signal import SignalRule

_PATHS = ("name", "target", "srcname")
# What the profiles of all runtimes have, and what the records were made with: a file that was opened outside is named
# from its own mount's root, one that is deleted by its last name. Without them such files are denied when enforced.
FLAGS = ("attach_disconnected", "mediate_deleted")
RUNTIME = "added for every container: without it the runtime can't stop or kill the container"


@cache
def _trees() -> RegularExpression[bytes]:
    rows = "|".join(f"(?:{row['path']})" for row in words("containers")["tree"])
    return regex(rf"(?:{rows})(?P<inner>/.*)?".encode(), VERBOSE | DOTALL)


@lru_cache(maxsize=4096)
def inner_path(path: bytes) -> bytes | None:
    """Return the container's own path for a path in a runtime's tree on the host, None for every other path."""
    match = _trees().fullmatch(path)
    return None if match is None else match["inner"] or b"/"


def inside(access: Access) -> Access:
    """Return the access with the host's names of the container's files replaced by the container's own."""
    event = access.event
    changes: dict[str, bytes | None] = {}
    for key in _PATHS:
        value = event.get(key)
        if value is not None and (inner := inner_path(value)) is not None:
            changes[key] = inner
    if NULL in event.profile and (label := _label(event.profile)) != event.profile:
        changes["profile"] = label
    return replace(access, event=event.with_(**changes)) if changes else access


def _label(label: bytes) -> bytes:
    """Return a label with the programs of its generated children as the container names them."""
    first, *nulls = label.split(NULL)
    return NULL.join((first, *(inner_path(null) or null for null in nulls)))


def outside(accesses: Iterable[Access]) -> int:
    """Return how many events name a container's files by the host's tree."""
    return sum(access.count for access in accesses if inside(access) is not access)


def runtime_signals() -> tuple[SignalRule, ...]:
    """Return the rules by which any of the runtimes may signal the container, whatever profile it has itself.

    On nodes with AppArmor 4 runc and crun have profiles of their own, elsewhere they are unconfined; which node a Pod
    will run on is not known here. The templates of Docker and Podman hold the same rules.
    """
    receive = frozenset({"receive"})
    return tuple(
        SignalRule(receive, None, Pattern.literal(name.encode())) for name in words("containers")["runtime"]["labels"]
    )


def recognised(accesses: Sequence[Access], inside_runs: int, runs: int) -> str:
    """Return why this is taken for a container's profile, "" where it isn't: by the evidence, else because most of its
    `runs` were seen in containers (`inside_runs`).
    """
    if why := told(accesses):
        return why
    was = "was" if inside_runs == 1 else "were"
    some = f"{runs:,} {'run' if runs == 1 else 'runs'}"
    return f"{inside_runs:,} of {some} {was} seen in containers" if inside_runs * 2 > runs else ""


def told(accesses: Sequence[Access]) -> str:
    """Return by what the evidence tells that this is a container's profile, "" where it doesn't."""
    runtime = words("containers")["runtime"]
    senders = {name.encode() for name in runtime["senders"]}
    inits = {name.encode() for name in runtime["inits"]}
    for access in accesses:
        event = access.event
        if inits.intersection(access.programs):
            return f"{sorted(inits.intersection(access.programs))[0].decode()} ran under it"
        if _received(event) and senders.intersection(access.programs):
            return f"{sorted(senders.intersection(access.programs))[0].decode()} sent it signals"
    if outside(accesses):
        return "its files were named by a container's tree on the host"
    return ""


def _received(event: Event) -> bool:
    return event.operation == "signal" and event.text("requested_mask") == "receive"
