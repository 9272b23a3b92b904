"""Which changes give the containers of a workload their profiles, and what they had before. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from aalearn.kubernetes.edits import Change, Path
from aalearn.kubernetes.profiles import FIELD, PREFIX, Confinement, Style, from_annotation, from_field
from aalearn.kubernetes.workloads import Container, Workload, dict_at

POD: Final = ""  # the key of the Pod level among containers' names
Wishes = Mapping[str, Confinement | None]
"""For a container's name (POD for the Pod level) what shall confine it; None: nothing shall be said of it."""


@dataclass(frozen=True, slots=True)
class Effect:
    """What one container (or POD) had and gets; None where nothing is said."""

    container: str
    noun: str
    before: Confinement | None
    after: Confinement | None


@dataclass(frozen=True, slots=True)
class Plan:
    """The changes of one workload. No changes: everything is as wished already."""

    workload: Workload
    changes: tuple[Change, ...]
    effects: tuple[Effect, ...]


def plan(workload: Workload, wishes: Wishes, style: Style) -> Plan:
    """Return what must change so that each container of `wishes` is confined as wished, said in this style only.

    Whatever another style says of those containers is removed: the API refuses an annotation and a field that disagree.
    At the Pod level the annotations of all containers without a field of their own follow, since there is none for the
    Pod.
    """
    changes: list[Change] = []
    effects: list[Effect] = []
    containers = workload.containers()
    pod_path = (*workload.template_path, "spec")
    if POD in wishes:
        wish = wishes[POD]
        effects.append(Effect(POD, "Pod", from_field(dict_at(workload.pod, "securityContext").get(FIELD)), wish))
        changes += _field(pod_path, workload.pod, wish if style.field else None)
    for container in containers:
        if container.name in wishes:
            wish = wishes[container.name]
            effects.append(Effect(container.name, container.noun, effective(workload, container), wish))
            changes += _field(container.path, container.value, wish if style.field else None)
            changes += _annotation(workload, container.name, wish if style.annotation else None)
        elif POD in wishes and from_field(dict_at(container.value, "securityContext").get(FIELD)) is None:
            changes += _annotation(workload, container.name, wishes[POD] if style.annotation else None)
    return Plan(workload, tuple(changes), tuple(effects))


def effective(workload: Workload, container: Container) -> Confinement | None:
    """Return what confines a container: its field, else its annotation, else the Pod's field; None: the default."""
    own = from_field(dict_at(container.value, "securityContext").get(FIELD))
    annotated = from_annotation(workload.annotations.get(PREFIX + container.name))
    return own or annotated or from_field(dict_at(workload.pod, "securityContext").get(FIELD))


def _field(path: Path, holder: Mapping[str, Any], wish: Confinement | None) -> Sequence[Change]:
    there = dict_at(holder, "securityContext").get(FIELD)
    where = (*path, "securityContext", FIELD)
    if wish is None:
        return [Change(where, None)] if FIELD in dict_at(holder, "securityContext") else []
    if there is not None and not isinstance(there, dict):
        return [Change((*where, "type"), wish.type)]  # told as unsafe by the editor
    have = there or {}
    changes = [Change((*where, key), text) for key, text in wish.field.items() if have.get(key) != text]
    return changes + [Change((*where, key), None) for key in have if key not in wish.field]


def _annotation(workload: Workload, name: str, wish: Confinement | None) -> Sequence[Change]:
    key = PREFIX + name
    where = (*workload.template_path, "metadata", "annotations", key)
    if wish is None:
        return [Change(where, None)] if key in workload.annotations else []
    return [] if workload.annotations.get(key) == wish.annotation else [Change(where, wish.annotation)]
