"""What a policy brings that no saved rule can pay for: reasons against it, in words. Pure."""

from dataclasses import replace
from typing import Final

from aalearn.policy.ask.base import Subject
from aalearn.policy.compare import beside_files, more_of_classes, witness_text
from aalearn.policy.decoder import BinaryProfile
from aalearn.policy.sensitive import watched
from aalearn.policy.walks import SIDES, Grants

_TOLD: Final = 3  # grants of one sort that a reason names
_BY_OBJECT: Final = {"capability": 64, "network": 12}  # sorts that are named by the object alone, and then so many


def objections(subject: Subject, before: Subject) -> tuple[str, ...]:
    """Return what `subject` permits that can't be counted or must not be bought, and `before` does not permit."""
    reasons: list[str] = []
    if subject.file is not None:
        grants = Grants(subject.file, baseline=before.file)
        reasons += _sensitive(grants)
        reasons += written_and_run(subject, before)
        reasons += [f"executes what was never executed ({witness_text(one)})" for one in grants.executables(1)]
    return (*reasons, *_beside_files(subject, before))


def written_and_run(subject: Subject, before: Subject) -> tuple[str, ...]:
    """Return a reason where `subject` may write and run what `before` may not both write and run."""
    if subject.file is None:
        return ()
    pairs = Grants(subject.file, baseline=before.file).write_execute(1)
    return tuple(f"may write and then execute ({witness_text(one)})" for one in pairs)


def denies(compiled: BinaryProfile, subject: Subject) -> bool:
    """Return whether compiled policy silences anything, which only deny rules do."""
    machines = [machine for machine in (subject.file, subject.policy) if machine is not None]
    return bool(compiled.capabilities.quiet) or any(
        machine.rights.of(state, owner).quiet
        for machine in machines
        for state in range(machine.dfa.size)
        for owner in SIDES
    )


def _sensitive(grants: Grants) -> list[str]:
    """Return a reason a sensitive set that is opened, the worst sets first, and one that counts the rest."""
    sets = watched()
    first: dict[str, str] = {}
    for witness in grants.sensitive(sets):
        first.setdefault(witness.what, witness_text(replace(witness, what="")))
    found = [f"opens {watch.name} ({first[watch.name]})" for watch in sets if watch.name in first]
    if len(found) > _TOLD:
        return [*found[:_TOLD], f"and {len(found) - _TOLD} more sensitive sets"]
    return found


def _beside_files(subject: Subject, before: Subject) -> list[str]:
    """Return what an abstraction permits beside files, by kind: none of it can be counted, so none of it is bought."""
    more: dict[str, dict[str, None]] = {}
    for grant in beside_files(subject, before):
        what = grant.object if grant.kind in _BY_OBJECT else f"{grant.permissions} {grant.object}".strip()
        more.setdefault(grant.kind, {})[what] = None
    found = []
    for kind, grants in sorted(more.items()):
        told = list(grants)[: _BY_OBJECT.get(kind, _TOLD)]
        rest = f" and {len(grants) - len(told)} more" if len(grants) > len(told) else ""
        found.append(f"brings {kind} {', '.join(told)}{rest}")
    if not found and more_of_classes(subject, before):
        found.append("brings sockets by address or label that nothing used")
    return found
