"""From a revision to an enforced profile on this machine: what has to change, and what is left afterwards.

Whose file it is decides how. A file that aalearn wrote is written as a whole. Another's is never: what it lacks goes to
its local include, or into it by the least edit; the file of a package is not edited at all. Mode: flags of our own and
of hand-written files; for a package's file only the documented link below force-complain is taken away.
"""

import difflib
import subprocess
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final

from aalearn.lifecycle.assigned import assigned
from aalearn.lifecycle.finding import Found, find
from aalearn.lifecycle.judge import Judge, Loaded
from aalearn.lifecycle.keeping import DRAFT
from aalearn.lifecycle.node import files
from aalearn.lifecycle.node.applier import Change, Done, apply
from aalearn.lifecycle.node.machine import Machine, is_of
from aalearn.lifecycle.node.records import Applied
from aalearn.lifecycle.node.tasks import Task, astray, tasks
from aalearn.lifecycle.node.texts import Whole, flagged, spelled, whole
from aalearn.lifecycle.past import detail_of
from aalearn.lifecycle.safeguards import unedited
from aalearn.lifecycle.stages import Stage
from aalearn.model.errors import PolicyError, UsageError
from aalearn.model.text import shown
from aalearn.policy.ask.subject import subject_of
from aalearn.policy.decoder import BinaryProfile, decode
from aalearn.policy.features import newest
from aalearn.policy.oracle import Oracle
from aalearn.store.readings import Revision

_RESTART_SECONDS: Final = 120.0
_SETTLE_SECONDS: Final = 10.0  # for the tasks of a restarted unit to be gone


@dataclass(frozen=True, slots=True)
class Part:
    """One file of a promotion: its place below the policy folder, and its content before (None: new) and after."""

    place: str
    before: bytes | None
    after: bytes


@dataclass(frozen=True, slots=True)
class Plan:
    """What has to change for a revision to be enforced.

    `parts` are applied as one change: the first is the revision's own file. `whole` is the whole text in
    enforce mode, `policy` what it compiles to, `refusal` why the target can't enforce a rule of it ("" where it can).
    `baseline` is the text on disk of a file that aalearn did not write: what that permits, others answer for.
    `seen` are the places that were read for it with the sha256 of what stood there, `last` is the number of the last
    entry of root's record (0: none; None: not known): where they differ once it is to be done, it is not done.
    """

    name: bytes
    revision: Revision
    parts: tuple[Part, ...]
    whole: Whole
    compiled: Loaded
    refusal: str
    links: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    baseline: str | None = None
    seen: tuple[tuple[str, str], ...] = ()
    last: int | None = None

    @property
    def policy(self) -> bytes:
        """The compiled policy."""
        if self.compiled.compiled is None:
            raise PolicyError("the text gives no policy")
        return self.compiled.compiled.blob

    def difference(self) -> str:
        """Return what changes on disk as a unified diff, safe to show; "" for nothing."""
        lines: list[str] = []
        for part in self.parts:
            before = (part.before or b"").decode("utf-8", "backslashreplace").splitlines()
            after = part.after.decode("utf-8", "backslashreplace").splitlines()
            old = part.place if part.before is not None else "/dev/null"
            lines += difflib.unified_diff(before, after, old, part.place, lineterm="")
        lines += [f"link {place}: removed" for place, target in self.links if not target]
        return "\n".join(shown(line) if not line.isprintable() else line for line in lines)


def plan(
    machine: Machine,
    judge: Judge,
    name: bytes,
    revision: Revision,
    entries: Sequence[Applied] | None = None,
    written: Collection[str] = (),
) -> Plan:
    """Return what has to change. `entries` are those of root's record (None: not known), `written` the sha256 of texts
    that aalearn wrote without loading them.

    Raises UsageError, with the mend, where the revision can't be enforced here that way; PolicyError when it does not
    compile.
    """
    found, skipped = find(name, machine.profiles, judge)
    form = str(detail_of(revision.detail).get("form", "")) or _guessed(revision, name)
    if form == DRAFT:
        raise UsageError(_again(name, f"revision {revision.number} is the learning profile"))
    parts, notes = _parts(machine, name, revision, found, form)
    if found is not None and found.ours and parts[0].before != parts[0].after:
        unedited(str(found.file), parts[0].place, parts[0].before, name, entries or (), written)
    own = parts[1].after if len(parts) > 1 else None  # the profile's own file, which includes the first part
    enforced = whole(judge, name, parts[0].place, parts[0].after, own)
    refusal, compiled = "", None
    if found is None or found.ours:
        try:
            compiled = judge.compile(enforced.text)
        except PolicyError as error:
            refusal = str(error)
    compiled = compiled or judge.compile(enforced.text, strict=False)
    if mode := machine.overruled():
        refusal = f"this kernel has every profile in {shown(mode)} mode (apparmor.mode of its command line)"
    _enforces(name, revision, compiled, found)
    return Plan(
        name=name,
        revision=revision,
        parts=parts,
        whole=enforced,
        compiled=compiled,
        refusal=refusal,
        links=_links(machine, enforced.place),
        notes=(*skipped, *notes),
        baseline=found.text if found is not None and not found.ours else None,
        seen=_seen(parts, found),
        last=None if entries is None else entries[-1].number if entries else 0,
    )


def _seen(parts: Sequence[Part], found: Found | None) -> tuple[tuple[str, str], ...]:
    """Return what was read: the files to write, and the profile's own, which a local addition is compiled with."""
    places = {found.file.name: files.digest(_encoded(found.text))} if found is not None else {}
    places |= {part.place: files.digest(part.before) for part in parts}
    return tuple(sorted(places.items()))


def _parts(
    machine: Machine, name: bytes, revision: Revision, found: Found | None, form: str
) -> tuple[tuple[Part, ...], tuple[str, ...]]:
    """Return the files to write, the revision's own first."""
    if found is None or found.ours:
        place = found.file.name if found is not None else files.file_name(name)
        before = files.read(machine.profiles, place)
        if found is None and before is not None:
            raise UsageError(f"{shown(str(machine.profiles / place))} is there and defines another profile")
        if form == "local":
            raise UsageError(
                _again(name, f"revision {revision.number} is the content of a local file, which is not there")
            )
        return (Part(place, before, _encoded(flagged(revision.text, name, complain=False))),), ()
    file = shown(str(found.file))
    if form == "whole":
        why = f"revision {revision.number} is a whole text, and {file} is not ours to write anew"
        raise UsageError(_again(name, why))
    package = files.package_of(found.file)
    complains = any("complain" in block.flags for block in found.block.walk())
    if package and complains:
        raise UsageError(
            f"the complain flag stands in {file}, which the package {package} brought and aalearn never edits: "
            f"`aa-enforce {file}` takes it out; then promote again"
        )
    own = _encoded(found.text)
    enforced = _encoded(flagged(found.text, name, complain=False)) if complains else own
    if form == "local":
        return _local(machine, name, revision, found, enforced), (() if not package else (f"{file} is of {package}",))
    if form == "edit":
        if package:
            raise UsageError(f"{file} is of the package {package} and includes no local file: it is never edited")
        after = _encoded(flagged(revision.text, name, complain=False))
        _unchanged(revision, own, after, found.file.name, name)
        return (Part(found.file.name, own, after),), ()
    return (Part(found.file.name, own, enforced),), ()


def _local(machine: Machine, name: bytes, revision: Revision, found: Found, enforced: bytes) -> tuple[Part, ...]:
    """Return the local file, and after it the profile's own file where its flags change."""
    place = f"{files.LOCAL}/{detail_of(revision.detail).get('file', '')}"
    if not any(include.local == place for include in found.block.includes):
        raise UsageError(_again(name, f"{shown(str(found.file))} does not include {shown(place)} any more"))
    before = files.read(machine.profiles, place)
    after = _encoded(revision.text)
    _unchanged(revision, before, after, place, name)
    part = Part(place, before, after)
    own = _encoded(found.text)
    return (part,) if enforced == own else (part, Part(found.file.name, own, enforced))


def _unchanged(revision: Revision, now: bytes | None, after: bytes, place: str, name: bytes) -> None:
    """Refuse a text that was made from another content of the file than it has now, unless it is in place already."""
    based = str(detail_of(revision.detail).get("based_on", ""))
    if now != after and files.digest(now) not in (based, revision.sha256):
        raise UsageError(_again(name, f"{shown(place)} was changed since revision {revision.number} was made"))


def _enforces(name: bytes, revision: Revision, compiled: Loaded, found: Found | None) -> None:
    """Refuse a text that leaves a block in another mode than enforce: nobody may call that enforced.

    Other profiles of another's file keep the mode that they have there.
    """
    theirs = {one.name: _mode(one) for one in found.loaded.profiles} if found is not None and not found.ours else {}
    for one in compiled.profiles:
        mode, before = _mode(one), theirs.get(one.name)
        if mode == "enforce" or (mode == before and not is_of(one.name, name)):
            continue
        why = f"it puts {shown(one.name)} into {mode} mode, and what is promoted is to be enforced"
        if found is not None and mode == before:
            raise UsageError(f"{shown(str(found.file))}: {why}: take the flag out of that file, then promote again")
        raise UsageError(_again(name, f"revision {revision.number}: {why}"))


def _mode(profile: BinaryProfile) -> str:
    return "complain" if profile.complain else profile.mode.name.lower()


def _again(name: bytes, why: str) -> str:
    return f"{why}: `aalearn suggest {shown(name)} --save` makes a new revision"


def _guessed(revision: Revision, name: bytes) -> str:
    """Return the form of a revision that an older aalearn kept without saying it."""
    try:
        spelled(revision.text, name)
    except UsageError:
        return "local"
    return "whole"


def _links(machine: Machine, place: str) -> tuple[tuple[str, str], ...]:
    """Return the links that keep the file from being enforced at boot, to be taken away."""
    places = (f"{files.COMPLAIN}/{place}", f"{files.DISABLE}/{place}")
    return tuple((link, "") for link in places if files.link_target(machine.profiles, link))


def carry_out(machine: Machine, made: Plan, stage: Stage, *, who: str, reason: str) -> Done:
    """Write, load and verify, all of it as one change. Raises as `applier.apply`; then the machine is as before."""
    part = made.parts[0]
    change = Change(
        profile=made.name,
        place=part.place,
        text=part.after,
        policy=made.policy,
        stage=stage,
        who=who,
        links=made.links,
        revision=made.revision.number,
        reason=reason,
        origin=made.revision.sha256,
        more=tuple((one.place, one.after) for one in made.parts[1:]),
        expected=made.seen,
        last=made.last,
        anew=True,
    )
    return apply(machine, change)


def out_of_reach(machine: Machine, name: bytes, policy: bytes, *, loaded: bool = True) -> tuple[Task, ...]:
    """Return the tasks that the profile does not confine until they are restarted, once or before it is `loaded`."""
    found = tasks(machine.proc, scripts=True)
    started = [unit for unit, profile in assigned(found).items() if profile == name]
    return astray(found, name, attaches_by(policy, name), loaded=loaded, units=started)


def attaches_by(policy: bytes, name: bytes) -> Callable[[bytes], bool]:
    """Return whether an unconfined process that executes a path would come under the profile of this policy."""
    profiles = decode(policy)
    top = next((one for one in profiles if one.name == name), None)
    if top is None:
        return lambda _: False
    return Oracle.of(subject_of(top, policy=profiles)).attaches


def restart(units: Sequence[str], left: Callable[[], Sequence[Task]]) -> tuple[Task, ...]:
    """Restart systemd units and return the tasks that are still out of reach after a while.

    Raises PolicyError with systemctl's words when a unit does not come up.
    """
    for unit in units:
        try:
            done = subprocess.run(
                ["systemctl", "restart", "--", unit], capture_output=True, check=False, timeout=_RESTART_SECONDS
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise PolicyError(f"{shown(unit)} could not be restarted: {shown(str(error))}") from error
        if done.returncode:
            told = shown(done.stderr.decode("utf-8", "replace").strip().replace("\n", "; "))
            raise PolicyError(f"{shown(unit)} was not restarted: {told or f'exit status {done.returncode}'}")
    end = time.monotonic() + _SETTLE_SECONDS
    while True:
        found = tuple(left())
        if not found or time.monotonic() > end:
            return found
        time.sleep(0.2)


def mediates(judge: Judge, abi: str) -> frozenset[str]:
    """Return the kinds of rules that the judge's kernel enforces for a text with that abi line ("" for none)."""
    version = judge.parser.version
    try:
        return judge.features.target(version, abi or newest(version)).mediates
    except PolicyError:  # an abi of the admin's own: what the kernel can is what counts
        return judge.features.target(version, abi, judge.features).mediates


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
