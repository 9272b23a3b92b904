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
    FILE_EDITED = "file-edited"  # by somebody else than aalearn
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


FIXED_HERE: Final = frozenset(Kind) - {Kind.FILE_EDITED, Kind.UNCOMPILABLE, Kind.STORE_AHEAD, Kind.ASTRAY}
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
    """The last step that the store knows and that changes a machine."""

    stage: str
    revision: int
    when: int


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
    """

    file: str
    links: tuple[tuple[str, str], ...] = ()
    running: tuple[Running, ...] = ()
    names: tuple[bytes, ...] = ()
    astray: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    trouble: str = ""


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
        return self.kind in FIXED_HERE


_FIX: Final = "aalearn reconcile --fix"


def compare(
    profile: bytes, expected: Expected | None, noted: Noted | None, seen: Observed, folder: str = "/etc/apparmor.d"
) -> tuple[Difference, ...]:
    """Return how one profile differs, in the order of what comes first. `folder` is the policy folder, for words."""
    if expected is None:
        return tuple(_never_applied(profile, noted, seen))
    found = [*_disk(profile, expected, seen, folder)]
    if not any(one.kind is Kind.FILE_EDITED for one in found) or not seen.running:
        found += _kernel(profile, expected, seen, folder)
    found += _store(profile, expected, noted)
    if seen.astray and expected.mode == "enforce":
        more = f" and {len(seen.astray) - 1} more" if len(seen.astray) > 1 else ""
        units = " ".join(seen.units)
        mend = f"systemctl restart {units}" if units else "restart it"
        found.append(Difference(profile, Kind.ASTRAY, f"{seen.astray[0]}{more}: it is not confined by it", mend))
    return tuple(found)


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


def _disk(profile: bytes, expected: Expected, seen: Observed, folder: str) -> list[Difference]:
    file = f"{folder}/{shown(expected.place)}"
    found = []
    if expected.text and not seen.file:
        found.append(Difference(profile, Kind.FILE_MISSING, f"{file} is gone", _FIX))
    elif not expected.text and seen.file and not expected.policy:
        found.append(Difference(profile, Kind.FILE_LEFT, f"{file} is there, and should be gone", _FIX))
    elif expected.text != seen.file:
        what = f"{file} is not what was applied (sha256 {expected.text[:16] or 'of no file'})"
        name = shown(profile)
        of_revision = f"aalearn history {name} --show {expected.revision} | diff - {file}"
        hint = of_revision if expected.revision else f"look at {file}"
        mend = f"{hint}; keep it by `apparmor_parser -r {file}`, or remove it and run `{_FIX}`"
        found.append(Difference(profile, Kind.FILE_EDITED, what, mend))
    there = dict(seen.links)
    for place, target in expected.links:
        if there.get(place, "") != target:
            what = f"the link {folder}/{shown(place)} is {'missing' if target else 'there'}"
            found.append(Difference(profile, Kind.LINK, what, _FIX))
    return found


def _kernel(profile: bytes, expected: Expected, seen: Observed, folder: str) -> list[Difference]:
    running = {one.name: one for one in seen.running}
    if not expected.policy:
        left = [shown(name) for name in sorted(running)]
        what = f"the kernel still has {', '.join(left[:3])}"
        return [Difference(profile, Kind.STILL_LOADED, what, _FIX)] if left else []
    if seen.trouble:
        file = f"{folder}/{shown(expected.place)}"
        mend = f"look at it: apparmor_parser -Q {file}"
        return [Difference(profile, Kind.UNCOMPILABLE, f"{file} does not compile: {seen.trouble}", mend)]
    found = []
    missing = [name for name in seen.names or (profile,) if name not in running]
    if missing:
        what = f"{', '.join(map(shown, missing[:3]))} is not loaded: programs start without it"
        found.append(Difference(profile, Kind.NOT_LOADED, what, _FIX))
    for name, one in sorted(running.items()):
        own = name == profile or (name in seen.names and name.startswith(profile + b"//"))
        if own and expected.mode and one.mode != expected.mode:
            what = f"{shown(name)} is in {shown(one.mode)} mode, and was applied in {expected.mode} mode"
            found.append(Difference(profile, Kind.MODE, what, _FIX))
        elif one.same is False:
            what = f"the kernel runs another policy for {shown(name)} than was applied"
            found.append(Difference(profile, Kind.OTHER_POLICY, what, _FIX))
    return found


def _store(profile: bytes, expected: Expected, noted: Noted | None) -> list[Difference]:
    if expected.stage not in _ON_NODE:  # what was found here before aalearn: no step tells of it
        return []
    if noted is not None and (noted.stage, noted.revision) == (expected.stage, expected.revision):
        return []
    of = f", revision {expected.revision}" if expected.revision else ""
    if noted is None or noted.when <= expected.when:
        what = f"it is {expected.stage}{of} here, and the store does not know"
        return [Difference(profile, Kind.NOT_WRITTEN_DOWN, what, _FIX)]
    what = f"the store says {noted.stage}, revision {noted.revision}, and it is {expected.stage}{of} here"
    mend = f"`aalearn promote {shown(profile)}` or `aalearn rollback {shown(profile)}`, as it should be"
    return [Difference(profile, Kind.STORE_AHEAD, what, mend)]
