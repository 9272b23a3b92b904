"""Which part of a program an event belongs to: `//null-` children and hats as a path of steps below the profile.

An event's label `P//null-/usr/bin/a//null-/usr/bin/b` becomes the context (exec a, exec b) of profile P; what becomes
of each step (the same profile, a child profile, another profile) is decided in `transitions`.
"""

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from aalearn.model.label import Label


class Way(StrEnum):
    """How a step was taken."""

    EXEC = "exec"  # a generated child: the program that was run
    HAT = "hat"  # change_hat to a hat, or a change to a profile, that did not exist
    INNER = "inner"  # a hat or child profile that the text already had


@dataclass(frozen=True, slots=True, order=True)
class Step:
    """One step below a profile: an exec'd path, or the name of a hat or child."""

    way: Way
    name: bytes


Context = tuple[Step, ...]
HERE: Context = ()


@lru_cache(maxsize=4096)
def context(profile: bytes, label: bytes) -> Context | None:
    """Return the context of `label` below `profile`, or None when the label is not the profile's own.

    Of a stack the member that is `profile` (or below it) counts. A profile of
    a namespace is named with it (`:ns:p`): it is another one than `p`.
    """
    parsed = Label.parse(label)
    for member in (parsed, *parsed.stacked):
        base = bytes(Label(member.base, (), member.namespace))
        if base == profile:
            return tuple(_null(name) for name in member.nulls)
        if base.startswith(profile + b"//"):
            inner = base[len(profile) + 2 :].split(b"//")
            return (*(Step(Way.INNER, name) for name in inner), *(_null(name) for name in member.nulls))
    return None


def _null(name: bytes) -> Step:
    return Step(Way.EXEC if name.startswith(b"/") else Way.HAT, name)
