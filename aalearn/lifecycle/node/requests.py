"""What an unprivileged service may have done: an earlier text of a profile again, or complain mode. Never a new text.

The service reads hostile logs. So a request names a profile, and at most the sha256 of a text that was applied here
before; the text itself comes from root's own backups. An edit by a person in between is never overwritten. What of it
the service may have, and when, `asked` says; a person's rollback comes here too.
"""

from dataclasses import dataclass

from aalearn.grammar.profiles import read_profiles
from aalearn.lifecycle.node import files
from aalearn.lifecycle.node.applier import Change, Done, applied, apply, open_change
from aalearn.lifecycle.node.entries import files_at, links_at, stood_before
from aalearn.lifecycle.node.machine import Machine
from aalearn.lifecycle.node.records import Applied, Records
from aalearn.lifecycle.node.texts import flagged, spelled, whole
from aalearn.lifecycle.stages import Stage
from aalearn.model.errors import PolicyError, UsageError
from aalearn.model.text import shown


@dataclass(frozen=True, slots=True)
class Reverted:
    """What was taken back to: the entry that was recorded, and what is worth telling."""

    applied: Applied
    notes: tuple[str, ...] = ()


def previous(machine: Machine, profile: bytes) -> Applied | None:
    """Return the entry that a revert of the profile leads to, None when nothing was here before. Only root may ask."""
    return stood_before(applied(machine, profile))


def revert(
    machine: Machine,
    profile: bytes,
    *,
    sha256: str = "",
    number: int = 0,
    who: str,
    reason: str,
    asked: bool = True,
) -> Reverted:
    """Apply again what was applied here before the last change, or the text of that sha256, or the entry of that
    number. Of several entries with the same text one in enforce mode is meant.

    Raises UsageError when nothing was applied here, or the file was edited since; PolicyError when it can't be applied
    (all is then as it was).
    """
    entries = applied(machine, profile)
    last = _last(machine, profile, entries)
    if sha256:
        of_text = [one for one in reversed(entries) if sha256 in (one.text, one.origin)]
        target = min(of_text, key=lambda one: (one.mode != "enforce", one.text != sha256), default=None)
    elif number:
        target = next((one for one in entries if one.number == number), None)
    else:
        target = stood_before(entries)
    if target is None or not (target.text or (target.policy and target.place.startswith(f"{files.LOCAL}/"))):
        what = f"no text {shown(sha256[:16])} was" if sha256 else "nothing else was"
        raise UsageError(f"{what} applied to {shown(profile)} on this node before: ask for complain mode instead")
    if target.place != last.place:
        raise UsageError(
            f"{shown(profile)} stood in {shown(target.place)} before and stands in {shown(last.place)} now: "
            "move it by hand"
        )
    with Records.open(machine.backups) as records:
        text = records.get(target.text)  # None: there was no local file
        more = changed_files(machine, records, entries, target)
    judge = machine.judge()
    links = links_at(entries, target)
    own = next((content for _, content in more), None)
    written = whole(judge, profile, target.place, text or b"", own)
    policy = written.as_applied(judge, profile, dict(links), target.mode)
    change = Change(
        profile=profile,
        place=target.place,
        text=text,
        policy=policy,
        stage=Stage.REVERTED,
        who=who,
        links=links,
        revision=target.revision,
        reason=reason,
        before=target.before,
        origin=target.origin,
        asked=asked,
        more=more,
        expected=((last.place, last.text), *_as_applied(entries, more)),
        last=last.number,
    )
    return _reverted(apply(machine, change))


def changed_files(
    machine: Machine, records: Records, entries: tuple[Applied, ...], target: Applied
) -> tuple[tuple[str, bytes | None], ...]:
    """Return the further files that have to change for `target`. Raises UsageError where a person changed one."""
    now, then = files_at(entries, entries[-1]), files_at(entries, target)
    places = sorted(place for place in then if then[place] != now[place])
    for place in places:
        content = files.read(machine.profiles, place)
        if files.digest(content) != now[place]:
            raise UsageError(f"{shown(str(machine.profiles / place))} was changed since aalearn applied it: look at it")
    return tuple((place, records.get(then[place])) for place in places)


def _as_applied(
    entries: tuple[Applied, ...], more: tuple[tuple[str, bytes | None], ...]
) -> tuple[tuple[str, str], ...]:
    now = files_at(entries, entries[-1])
    return tuple((place, now[place]) for place, _ in more)


def complain(machine: Machine, profile: bytes, *, who: str, reason: str, asked: bool = True) -> Reverted:
    """Put what was applied last into complain mode: by its flags, or where its file is another's, by the link.

    Raises as `revert`.
    """
    entries = applied(machine, profile)
    last = _last(machine, profile, entries)
    content = files.read(machine.profiles, last.place)
    if content is None:
        raise UsageError(f"{shown(last.place)} is missing from {shown(str(machine.profiles))}")
    judge = machine.judge()
    there = whole(judge, profile, last.place, content)
    text, links = content, tuple((link.place, link.new) for link in last.links)
    if last.place == there.place:
        there = there.in_mode(profile, complain=True)
        text = flagged(content.decode("utf-8", "surrogateescape"), profile, complain=True).encode(
            "utf-8", "surrogateescape"
        )
    else:
        place = f"{files.COMPLAIN}/{there.place}"
        others = [one.path for one in read_profiles(there.text).profiles if one.path != spelled(there.text, profile)]
        if others and not dict(links_at(entries, entries[0])).get(place):
            named = ", ".join(map(shown, others[:3]))
            why = f"complain mode of {shown(there.place)} would open {named} too"
            raise UsageError(f"{why}: go back to what stood before")
        there = there.all_in_complain_mode()
        links = (*(one for one in links if one[0] != place), (place, f"../{there.place}"))
    change = Change(
        profile=profile,
        place=last.place,
        text=text,
        policy=there.policy(judge),
        stage=Stage.REVERTED,
        who=who,
        links=links,
        revision=last.revision,
        reason=reason,
        origin=last.origin,
        asked=asked,
        expected=((last.place, last.text),),
        last=last.number,
    )
    return _reverted(apply(machine, change))


def _reverted(done: Done) -> Reverted:
    if done.applied is None:
        raise PolicyError("nothing was recorded")
    return Reverted(done.applied, done.notes)


def _last(machine: Machine, profile: bytes, entries: tuple[Applied, ...]) -> Applied:
    """Return the last entry, whose text is the one on disk. Raises UsageError."""
    begun = open_change(machine, profile)
    if begun is not None:
        what = f"the change of {shown(profile)} to {shown(begun.stage)} was interrupted"
        raise UsageError(f"{what}: run `aalearn reconcile --fix` first")
    if not entries:
        raise UsageError(f"nothing was applied to {shown(profile)} on this node by aalearn")
    last = entries[-1]
    if last.stage == Stage.RETIRED:
        raise UsageError(f"{shown(profile)} was retired here: nothing of it is brought back on request")
    content = files.read(machine.profiles, last.place)
    if files.digest(content) != last.text:
        raise UsageError(
            f"{shown(str(machine.profiles / last.place))} was changed since aalearn applied it at step "
            f"{shown(last.stage)}: look at it and run `aalearn reconcile`"
        )
    return last
