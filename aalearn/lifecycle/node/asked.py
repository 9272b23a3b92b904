"""What root lets the service take back, whatever the service says. By root's own records, clock and settings alone.

The service reads hostile logs, and may be another's by now. So what it asks for is done

- only within the probation after a promotion by a person, and once for each promotion;
- only to the revision that was enforced before it, or what stood before it;
- never to something weaker than what was enforced before: where that was a revision, or what was here before the first
  promotion, it is gone back to, and complain mode is not opened. Only root's own configuration (`revert_to`) can say
  that complain mode is wanted although a revision was enforced.
"""

import time

from aalearn.lifecycle.node.applier import applied, finish, open_change
from aalearn.lifecycle.node.entries import ENFORCING, enforced_before, found_of, promoted_since, stood_before
from aalearn.lifecycle.node.machine import Machine
from aalearn.lifecycle.node.records import Applied
from aalearn.lifecycle.node.requests import Reverted, complain, revert
from aalearn.lifecycle.node.wire import Request
from aalearn.lifecycle.stages import Stage
from aalearn.model.errors import UsageError
from aalearn.model.text import shown

_REASON = "asked over the socket"


def take_back(
    machine: Machine, request: Request, *, who: str, probation: float, complain_wanted: bool = False
) -> Reverted:
    """Do what a request asks for, within the limits. `probation` in seconds; `complain_wanted` is what root's
    configuration says of the way back.

    Raises UsageError where it is not allowed or nothing is there to go back to, PolicyError as `revert`.
    """
    _ended(machine, request.name)
    entries = applied(machine, request.name)
    done = _done_already(request, entries, complain_wanted=complain_wanted)
    if done is not None:  # by a service that was killed before it could write that down
        return Reverted(done, ("it was taken back already",))
    _allowed(request.name, entries, probation)
    enforced = _enforced(entries, complain_wanted=complain_wanted)
    if request.do == "complain":
        if enforced is None:
            return complain(machine, request.name, who=who, reason=_REASON, asked=True)
        target = enforced
    else:
        target = _target(request, entries, enforced)
    return revert(machine, request.name, number=target.number, who=who, reason=_REASON, asked=True)


def _ended(machine: Machine, name: bytes) -> None:
    """Go an earlier way back to its end: the applier was killed on it, and root had granted it."""
    begun = open_change(machine, name)
    if begun is not None and begun.asked and begun.stage == Stage.REVERTED:
        finish(machine, begun)


def _enforced(entries: tuple[Applied, ...], *, complain_wanted: bool) -> Applied | None:
    """Return what was enforced before the promotion, below which nothing leads; None where nothing was."""
    previous = None if complain_wanted else enforced_before(entries)
    found = found_of(entries)
    return previous or (found if found is not None and found.mode in ENFORCING else None)


def _done_already(request: Request, entries: tuple[Applied, ...], *, complain_wanted: bool) -> Applied | None:
    """Return the last entry where it is what this request has led to already."""
    last = entries[-1] if entries else None
    if last is None or last.stage != Stage.REVERTED or not last.asked:
        return None
    if request.do == "complain":
        target = _enforced(entries[:-1], complain_wanted=complain_wanted)
        return last if last.mode == "complain" or (target is not None and last.text == target.text) else None
    return last if not request.sha256 or request.sha256 in (last.text, last.origin) else None


def _allowed(name: bytes, entries: tuple[Applied, ...], probation: float) -> None:
    if not entries:
        raise UsageError(f"nothing was applied to {shown(name)} on this node by aalearn")
    since = promoted_since(entries)
    if since is None:
        again = entries[-1].stage == Stage.REVERTED
        why = "was taken back already: once for each promotion" if again else "is at no promotion here"
        raise UsageError(f"{shown(name)} {why}; a person may go on with `aalearn rollback`")
    if time.time() * 1000 > since + probation * 1000:
        raise UsageError(f"the probation of {shown(name)} is over: a person may run `aalearn rollback`")


def _target(request: Request, entries: tuple[Applied, ...], enforced: Applied | None) -> Applied:
    """Return the entry to go back to: the revision that was enforced before, or what stood before. UsageError else."""
    before = stood_before(entries)
    target = before
    if request.sha256:
        may = [one for one in (enforced_before(entries), before) if one is not None]
        target = next((one for one in may if request.sha256 in (one.text, one.origin)), None)
    if target is not None and target.mode not in ENFORCING and enforced is not None:
        target = enforced
    name = shown(request.name)
    if target is None and request.sha256:
        raise UsageError(f"the text {request.sha256[:16]} is not what stood before the promotion of {name}")
    if target is None:
        raise UsageError(f"nothing of {name} stood here before its promotion: ask for complain mode")
    return target
