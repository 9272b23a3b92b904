"""Mending what `reconcile` found: interrupted changes are ended, what was applied is applied again, steps written down.

A file that a person edited is never overwritten, and no task is restarted.
"""

import contextlib
import json
from collections.abc import Sequence
from typing import Any

from aalearn.lifecycle.node import files
from aalearn.lifecycle.node.applier import Change, apply, finish, undo
from aalearn.lifecycle.node.entries import found_of, promoted_since
from aalearn.lifecycle.node.machine import Machine
from aalearn.lifecycle.node.records import Applied, File, Intent, Records
from aalearn.lifecycle.node.tasks import tasks, under
from aalearn.lifecycle.observing import another_s, compiled, links_now, missing
from aalearn.lifecycle.reconcile import Difference, Kind
from aalearn.lifecycle.stages import Stage
from aalearn.model.errors import PolicyError, UsageError
from aalearn.model.text import shown
from aalearn.store import Store

_APPLIED_AGAIN = frozenset(
    {
        Kind.FILE_MISSING, Kind.FILE_LEFT, Kind.LINK, Kind.NOT_LOADED,
        Kind.STILL_LOADED, Kind.OTHER_POLICY, Kind.MODE,
    }
)  # fmt: skip
_BACKWARDS = frozenset({Stage.REVERTED, Stage.RETIRED})


def ends(machine: Machine, intent: Intent) -> str:
    """Return how an interrupted change should end, "finish" or "undo".

    A way back is always gone to its end. A change forward is, where the kernel runs it already; else it is taken back.
    So is a removal under whose profile tasks run: they are confined still, and would not be. And so is what can't be
    finished, because a backup is missing. Raises PolicyError where one is missing that both ways need.
    """
    if _finishes(machine, intent):
        with contextlib.suppress(PolicyError):  # what can't be finished is taken back
            _readable(machine, intent, back=False)
            return "finish"
    _readable(machine, intent, back=True)
    return "undo"


def _finishes(machine: Machine, intent: Intent) -> bool:
    if intent.stage in _BACKWARDS:
        return not (not intent.new_policy and machine.loaded(intent.name) and under(tasks(machine.proc), intent.name))
    return _runs(machine, intent)


def _readable(machine: Machine, intent: Intent, *, back: bool) -> None:
    """Do nothing where all backups are there that an end needs. Raises PolicyError."""
    kept = (intent.old_text, intent.old_policy) if back else (intent.new_text,)
    with Records.open(machine.backups) as records:
        for digest in (*kept, intent.new_policy, *(file.old if back else file.new for file in intent.more)):
            records.get(digest)


def _runs(machine: Machine, intent: Intent) -> bool:
    running = machine.loaded(intent.name)
    if not intent.new_policy:
        return not running
    with Records.open(machine.backups) as records:
        policy = records.get(intent.new_policy)
    return policy is not None and bool(running) and all(one.is_made_of(policy) for one in running)


def edited(machine: Machine, intent: Intent) -> str:
    """Return the first file of an interrupted change that somebody wrote since, "" for none: it is never overwritten.

    A file that is gone loses nothing. Raises UsageError for a link.
    """
    for file in (File(intent.place, intent.old_text, intent.new_text), *intent.more):
        if files.digest(files.read(machine.profiles, file.place)) not in ("", file.old, file.new):
            return shown(str(machine.profiles / file.place))
    return ""


def end(machine: Machine, intent: Intent) -> str:
    """End an interrupted change; return what was done, in words. Raises PolicyError, UsageError, OSError."""
    way = ends(machine, intent)
    if way == "finish":
        finish(machine, intent)
        return f"the interrupted change of {shown(intent.name)} to {shown(intent.stage)} was finished"
    undo(machine, intent)
    return f"the interrupted change of {shown(intent.name)} to {shown(intent.stage)} was taken back"


def again(machine: Machine, profile: bytes, entries: Sequence[Applied]) -> None:
    """Apply again what was applied last: files, links and kernel. `entries` are those that were looked at.

    Raises UsageError where a file is not what was applied, another change came meanwhile, or tasks would go on
    unconfined; PolicyError as `apply`.
    """
    last = entries[-1]
    content = files.read(machine.profiles, last.place)
    lacking = missing(machine, entries)
    with Records.open(machine.backups) as records:
        text, policy = records.get(last.text), records.get(last.policy)
        more = tuple((place, records.get(digest)) for place, digest in sorted(lacking.items()))
    if policy is None:
        _nothing_of_others(machine, profile, entries)
        text = content if last.text else None  # a package's that is switched off: its file stays as it is
    elif content is not None and files.digest(content) != last.text:
        raise UsageError(
            f"{shown(str(machine.profiles / last.place))} is not what was applied: nothing is done over it"
        )
    elif not lacking and (text is not None or last.place.startswith(f"{files.LOCAL}/")):
        policy = compiled(machine, profile, entries, text or b"")  # by the features of the kernel that runs now
    change = Change(
        profile=profile,
        place=last.place,
        text=text,
        policy=policy,
        stage=last.stage,
        who=last.who,
        links=tuple(sorted(links_now(entries).items())),
        revision=last.revision,
        reason=last.reason,
        before=last.before,
        origin=last.origin,
        asked=last.asked,
        more=more,
        expected=((last.place, files.digest(content)), *((place, "") for place in sorted(lacking))),
        last=last.number,
    )
    apply(machine, change)


def _nothing_of_others(machine: Machine, profile: bytes, entries: Sequence[Applied]) -> None:
    """Refuse to take a retired profile away where it is another's by now, or confines something."""
    running = machine.loaded(profile)
    if not entries[-1].text and (why := another_s(machine, profile, entries, running)):
        raise UsageError(f"{why}: it is left alone")
    reached = under(tasks(machine.proc), profile) if running else ()
    if reached:
        raise UsageError(f"{reached[0]}: without the profile it would go on unconfined")


def mend(machine: Machine, profile: bytes, entries: Sequence[Applied], found: Sequence[Difference]) -> str:
    """Bring file, links and kernel of one profile back to what was applied; return what was done, "" for nothing.

    Raises PolicyError or UsageError where that fails; all is then as it was.
    """
    kinds = {one.kind for one in found}
    name = shown(profile)
    if not entries or not kinds & _APPLIED_AGAIN:
        return ""
    if Kind.FILE_EDITED in kinds:
        raise PolicyError(f"{name}: its file was edited by somebody else, so nothing is loaded over it")
    again(machine, profile, entries)
    return f"{name}: what was applied last ({entries[-1].stage or 'found here'}) is in force again"


def write_down(store: Store, profile: bytes, entries: Sequence[Applied], node: str = "") -> str:
    """Write the step of the last entry into the store, as one of `node`; return what was done, in words.

    Raises StoreError.
    """
    last = entries[-1]
    before = next((one.revision for one in reversed(entries[:-1]) if one.revision), 0)
    detail: dict[str, Any] = {
        "mode": last.mode,
        "from": before,
        "text_sha256": last.text,
        "written_by": "reconcile",
        **({"node": node} if node else {}),
    }
    if last.stage in (Stage.CANARY, Stage.ENFORCED) and (since := promoted_since(entries)) is not None:
        before_us = found_of(entries)
        detail |= {"since": since, "found": before_us.mode if before_us else ""}
    store.step(
        profile,
        last.stage,
        revision=last.revision,
        who=last.who,
        reason=last.reason,
        when=last.when,
        detail=json.dumps(detail, sort_keys=True),
    )
    return f"{shown(profile)}: {last.stage} is written down"
