"""What the kernel runs, what is on disk, what was written down: the differences, each with its mend. Pure.

Root's own record of what was applied on this machine (`node.records`) is the measure: it is written before and after
each change. The store may be another machine's as well, and disk and kernel change with packages, persons and reboots.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from aalearn.lifecycle.stages import Stage
from aalearn.model.text import shown


class Kind(StrEnum):
    """What differs."""

    INTERRUPTED = "interrupted"  # a change was begun, and neither done nor undone
    FILE_MISSING = "file-missing"
    FILE_EDITED = "file-edited"  # by somebody else than aalearn, or it is another's
    FILE_LEFT = "file-left"  # it should be gone
    LINK = "link"  # of force-complain or disable
    NOT_LOADED = "not-loaded"
    STILL_LOADED = "still-loaded"
    OTHER_POLICY = "other-policy"  # the kernel runs something that permits other things
    MODE = "mode"
    UNCOMPILABLE = "uncompilable"  # what is on disk gives no policy any more
    NOT_WRITTEN_DOWN = "not-written-down"  # it was applied, and the store does not know
    STORE_AHEAD = "store-ahead"  # the store tells of a step that was never done here
    ASTRAY = "astray"  # tasks that the profile does not confine until they are restarted


FIX: Final = "aalearn reconcile --fix"
_ON_NODE: Final = frozenset({Stage.LEARNING, Stage.CANARY, Stage.ENFORCED, Stage.REVERTED, Stage.RETIRED})
_ENFORCING: Final = frozenset({Stage.CANARY, Stage.ENFORCED})


@dataclass(frozen=True, slots=True)
class Expected:
    """What was applied last on this machine. `text` and `policy` are sha256, "" for none: the file shall be gone, or
    nothing be loaded. `links` are (place, where it leads) pairs, "" for no link. `when` in ms.
    """

    place: str
    text: str
    policy: str
    mode: str
    stage: str
    revision: int
    when: int
    links: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Noted:
    """The last step that the store knows and that changes a machine. `ready`: `ready` was written after it, by a
    promotion that then did not come to its end. `mode` is the one that it tells of, "" where it tells none.
    """

    stage: str
    revision: int
    when: int
    ready: bool = False
    mode: str = ""


@dataclass(frozen=True, slots=True)
class Running:
    """One profile, child or hat as the kernel has it. `same`: it permits what it should; None: that can't be said."""

    name: bytes
    mode: str
    same: bool | None


@dataclass(frozen=True, slots=True)
class Observed:
    """What is there. `file` is the digest of what stands at the place, "" for nothing; `names` those that should be
    loaded; `astray` are tasks in words; `trouble` says why the text on disk gives no policy, "" where it does.

    `lacking` are places of further files that are gone; `boot` is that of a file with a complain flag, "" for none: at
    the next boot the profile is not enforced, as it was applied. Of a profile that should be gone `others` says why
    what is there is not aalearn's to take away, "" where it is, and `users` are the tasks under it in words; `units`
    are theirs then.
    """

    file: str
    links: tuple[tuple[str, str], ...] = ()
    running: tuple[Running, ...] = ()
    names: tuple[bytes, ...] = ()
    astray: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    trouble: str = ""
    lacking: tuple[str, ...] = ()
    boot: str = ""
    others: str = ""
    users: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, order=True)
class Difference:
    """One difference: of which profile, what, and the command (or words) that mend it."""

    profile: bytes
    kind: Kind
    what: str
    mend: str

    @property
    def fixable(self) -> bool:
        """Whether `reconcile --fix` mends it."""
        return self.mend == FIX


def compare(
    profile: bytes, expected: Expected | None, noted: Noted | None, seen: Observed, folder: str = "/etc/apparmor.d"
) -> tuple[Difference, ...]:
    """Return how one profile differs, in the order of what comes first. `folder` is the policy folder, for words."""
    if expected is None:
        return tuple(_never_applied(profile, noted, seen))
    if _is_its_owner_s(expected):
        return tuple(_store(profile, expected, noted))
    if expected.policy:
        found = [*_disk(profile, expected, seen, folder)]
        if not any(one.kind is Kind.FILE_EDITED for one in found) or not seen.running:
            found += _kernel(profile, expected, seen, folder)
    else:
        found = [*_left(profile, expected, seen, folder), *_links(profile, expected, seen, folder)]
    found += _store(profile, expected, noted)
    if seen.astray and expected.mode == "enforce":
        more = f" and {len(seen.astray) - 1} more" if len(seen.astray) > 1 else ""
        units = " ".join(seen.units)
        mend = f"systemctl restart {units}" if units else "restart it"
        found.append(Difference(profile, Kind.ASTRAY, f"{seen.astray[0]}{more}: it is not confined by it", mend))
    return tuple(found)


def _is_its_owner_s(expected: Expected) -> bool:
    """Return whether the profile was retired and what was found here came back: whoever wrote it sees to it now."""
    switched_off = any(place.startswith("disable/") and target for place, target in expected.links)
    return expected.stage == Stage.RETIRED and bool(expected.policy or (expected.text and not switched_off))


def _never_applied(profile: bytes, noted: Noted | None, seen: Observed) -> list[Difference]:
    """Return what is wrong with a profile that the store knows and this machine does not: another's, perhaps."""
    if noted is None or noted.stage not in _ENFORCING:
        return []
    own = [one for one in seen.running if one.name == profile]
    if own and own[0].mode == "enforce":
        return []
    what = f"the store says {noted.stage}, revision {noted.revision}, and this machine "
    what += f"has it in {shown(own[0].mode)} mode" if own else "has not loaded it"
    return [Difference(profile, Kind.STORE_AHEAD, what, f"aalearn promote {shown(profile)}")]


def _left(profile: bytes, expected: Expected, seen: Observed, folder: str) -> list[Difference]:
    """Return what is still there of a profile that should be gone (or switched off, where its file is a package's)."""
    name, there = shown(profile), seen.file and not expected.text
    if seen.others and (there or seen.running):
        kind = Kind.FILE_EDITED if there else Kind.STILL_LOADED
        mend = f"it is left alone; `aalearn retire {name}` takes it away"
        return [Difference(profile, kind, f"it was retired, and {seen.others}", mend)]
    found, mend, under = [], FIX, ""
    if seen.users:
        more = f" and {len(seen.users) - 1} more" if len(seen.users) > 1 else ""
        under = f": {seen.users[0]}{more}, which would go on unconfined"
        mend = f"systemctl stop {' '.join(seen.units)}" if seen.units else "end it"
        mend += f", and then `{FIX}`"
    if there:
        what = f"{folder}/{shown(expected.place)} is there, and should be gone"
        found.append(Difference(profile, Kind.FILE_LEFT, what, mend))
    if seen.running:
        left = ", ".join(shown(one.name) for one in sorted(seen.running, key=lambda one: one.name)[:3])
        found.append(Difference(profile, Kind.STILL_LOADED, f"the kernel still has {left}{under}", mend))
    return found


def _disk(profile: bytes, expected: Expected, seen: Observed, folder: str) -> list[Difference]:
    file = f"{folder}/{shown(expected.place)}"
    name = shown(profile)
    missing = [place for place in (expected.place,) if expected.text and not seen.file]
    found = [
        Difference(profile, Kind.FILE_MISSING, f"{folder}/{shown(place)} is gone", FIX)
        for place in (*missing, *seen.lacking)
    ]
    if not missing and expected.text != seen.file:
        what = f"{file} is not what was applied (sha256 {expected.text[:16] or 'of no file'})"
        of_revision = f"aalearn history {name} --show {expected.revision} | diff - {file}"
        hint = of_revision if expected.revision else f"look at {file}"
        mend = f"{hint}; keep it by `apparmor_parser -r {file}`, or remove it and run `{FIX}`"
        found.append(Difference(profile, Kind.FILE_EDITED, what, mend))
    if seen.boot:
        mend = f"take it out and run `{FIX}`, or `aalearn rollback {name} --complain`"
        still = any(one.name == profile and one.mode == expected.mode for one in seen.running)
        what = f"{folder}/{shown(seen.boot)} has a complain flag again"
        when = f"at the next boot {name} is not enforced" if still else f"{name} is not enforced"
        found.append(Difference(profile, Kind.FILE_EDITED, f"{what}: {when}", mend))
    return [*found, *_links(profile, expected, seen, folder)]


def _links(profile: bytes, expected: Expected, seen: Observed, folder: str) -> list[Difference]:
    there = dict(seen.links)
    found = []
    for place, target in expected.links:
        if there.get(place, "") != target:
            what = f"the link {folder}/{shown(place)} is {'missing' if target else 'there'}"
            found.append(Difference(profile, Kind.LINK, what, FIX))
    return found


def _kernel(profile: bytes, expected: Expected, seen: Observed, folder: str) -> list[Difference]:
    running = {one.name: one for one in seen.running}
    if seen.trouble:
        file = f"{folder}/{shown(expected.place)}"
        mend = f"look at it: apparmor_parser -Q {file}"
        return [Difference(profile, Kind.UNCOMPILABLE, f"{file} does not compile: {seen.trouble}", mend)]
    found = []
    missing = [name for name in seen.names or (profile,) if name not in running]
    if missing:
        what = f"{', '.join(map(shown, missing[:3]))} is not loaded: programs start without it"
        found.append(Difference(profile, Kind.NOT_LOADED, what, FIX))
    for name, one in sorted(running.items()):
        own = name == profile or (name in seen.names and name.startswith(profile + b"//"))
        if own and expected.mode and one.mode != expected.mode:
            what = f"{shown(name)} is in {shown(one.mode)} mode, and was applied in {expected.mode} mode"
            found.append(Difference(profile, Kind.MODE, what, FIX))
        elif one.same is False:
            what = f"the kernel runs another policy for {shown(name)} than was applied"
            found.append(Difference(profile, Kind.OTHER_POLICY, what, FIX))
    return found


def _tells(noted: Noted, expected: Expected) -> bool:
    """Return whether a step is that of what was applied. Taken back to a revision or to complain mode is one stage."""
    same_mode = not (noted.mode and expected.mode) or noted.mode == expected.mode
    return same_mode and (noted.stage, noted.revision) == (expected.stage, expected.revision)


def _store(profile: bytes, expected: Expected, noted: Noted | None) -> list[Difference]:
    if expected.stage not in _ON_NODE:  # what was found here before aalearn: no step tells of it
        return []
    if noted is not None and _tells(noted, expected):
        if not (noted.ready and expected.stage in _ENFORCING):
            return []
        what = f"it is {expected.stage} here, and the store's last word is a promotion that was never ended"
        return [Difference(profile, Kind.NOT_WRITTEN_DOWN, what, FIX)]
    of = f", revision {expected.revision}" if expected.revision else ""
    of += f", in {expected.mode} mode" if noted is not None and noted.stage == expected.stage and expected.mode else ""
    if noted is None or noted.when <= expected.when:
        what = f"it is {expected.stage}{of} here, and the store does not know"
        return [Difference(profile, Kind.NOT_WRITTEN_DOWN, what, FIX)]
    what = f"the store says {noted.stage}, revision {noted.revision}, and it is {expected.stage}{of} here"
    mend = f"`aalearn promote {shown(profile)}` or `aalearn rollback {shown(profile)}`, as it should be"
    return [Difference(profile, Kind.STORE_AHEAD, what, mend)]
