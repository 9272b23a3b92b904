"""Which containers a person means: by a map, by name, the Pod level, or those that a profile is usually for. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from aalearn.kubernetes.annotate import POD, Wishes
from aalearn.kubernetes.manifests import TEMPLATED
from aalearn.kubernetes.mapping import Line, first
from aalearn.kubernetes.profiles import FIELD, PREFIX, Confinement
from aalearn.kubernetes.workloads import Workload, dict_at

_MAIN: Final = "containers"


@dataclass(frozen=True, slots=True)
class Choice:
    """What a person asked for.

    `profile` for `containers` (by name, of any list), for every container (`every`), for the Pod level (`pod`), or,
    with none of these, for the main containers. With `lines` (a map) each container gets its own. `remove`: nothing
    shall be said any more, of all containers and the Pod level unless some are named; with a `profile`, only where it
    stands.
    """

    profile: Confinement | None = None
    containers: frozenset[str] = frozenset()
    every: bool = False
    pod: bool = False
    remove: bool = False
    lines: Sequence[Line] = ()


def wishes(workload: Workload, choice: Choice) -> Wishes:
    """Return what the containers of a workload shall have. Empty: none of them is meant."""
    if choice.remove:
        found = _meant(workload, replace(choice, profile=None))
        return {name: None for name in found if choice.profile is None or _says(workload, name, choice.profile)}
    return _meant(workload, choice)


def _meant(workload: Workload, choice: Choice) -> Wishes:
    containers = [one for one in workload.containers() if one.name]
    if choice.lines:
        found = {one.name: line for one in containers if (line := first(choice.lines, workload, one)) is not None}
        return {name: line.profile for name, line in found.items() if line.profile is not None}
    if choice.containers:
        return {one.name: choice.profile for one in containers if one.name in choice.containers}
    if choice.pod:
        return {POD: choice.profile}
    if choice.remove:
        return {POD: None, **{one.name: None for one in containers}}
    if any(TEMPLATED in one.name for one in containers):
        return {POD: choice.profile}  # names that only rendering knows can't be written into a patch
    return {one.name: choice.profile for one in containers if choice.every or one.list == _MAIN}


def _says(workload: Workload, name: str, profile: Confinement) -> bool:
    """Return whether a container (or the Pod level) says, in any way, that `profile` shall confine it."""
    if name == POD:
        return dict_at(workload.pod, "securityContext").get(FIELD) == profile.field
    return workload.annotations.get(PREFIX + name) == profile.annotation or any(
        dict_at(one.value, "securityContext").get(FIELD) == profile.field
        for one in workload.containers()
        if one.name == name
    )
