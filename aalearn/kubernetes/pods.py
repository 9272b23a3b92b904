"""Which Pods name which profile, whether it is loaded where they run or may run, and why a Pod does not start. Pure."""

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from aalearn.kubernetes import checks, nodes
from aalearn.kubernetes.annotate import effective
from aalearn.kubernetes.checks import Level
from aalearn.kubernetes.nodes import Node
from aalearn.kubernetes.profiles import FIELD, PREFIX, Confinement, from_annotation, from_field
from aalearn.kubernetes.symptoms import Cause, Symptom, symptoms
from aalearn.kubernetes.workloads import Container, Workload, dict_at, text_of, workloads
from aalearn.model.text import shown

NOT_LOADED: Final = "not loaded"
UNKNOWN: Final = "unknown"


@dataclass(frozen=True, slots=True)
class Row:
    """One container: what confines it, who says so, and the profile's state (a mode, NOT_LOADED, UNKNOWN, or "")."""

    workload: Workload
    container: Container
    node: str
    confinement: Confinement | None
    said_by: str
    state: str


@dataclass(frozen=True, slots=True)
class Trouble:
    """One finding: where, what (one line, safe for a terminal), and what to do about it."""

    level: Level
    code: str
    workload: Workload
    container: str
    node: str
    text: str
    mend: str


@dataclass(frozen=True, slots=True)
class Report:
    """What was found; `unknown` are the nodes that matter and of which it is not known what they have loaded."""

    rows: tuple[Row, ...]
    troubles: tuple[Trouble, ...]
    unknown: tuple[str, ...] = ()

    @property
    def errors(self) -> int:
        """How many findings are more than a warning."""
        return sum(one.level is Level.ERROR for one in self.troubles)


def check(
    values: Iterable[Any], known: Sequence[Node], here: Node | None = None, namespace: str | None = None
) -> Report:
    """Return what is found about the Pods and workloads in API objects; Nodes and RuntimeClasses among them are used.

    `known` are nodes of which it is known what is loaded; `here` is this machine, used where the objects name it as a
    node; `namespace` None looks at all.
    """
    objects = list(_flat(values))
    handlers = {
        text_of(dict_at(one, "metadata").get("name"), ""): text_of(one.get("handler"), "")
        for one in objects
        if one.get("kind") == "RuntimeClass"
    }
    named = {text_of(dict_at(one, "spec").get("nodeName"), "") for one in objects}
    named |= {text_of(dict_at(one, "metadata").get("name"), "") for one in objects if one.get("kind") == "Node"}
    places = _places(objects, [*known, here] if here is not None and here.name in named else known)
    rows: list[Row] = []
    troubles: list[Trouble] = []
    for one in objects:
        for workload in workloads(one):
            if namespace is None or workload.namespace in ("", namespace):
                own = list(_rows(workload, places))
                rows += own
                troubles += _troubles(workload, own, handlers)
    unknown = sorted({row.node for row in rows if row.state == UNKNOWN and row.node})
    return Report(tuple(rows), tuple(troubles), tuple(unknown))


def _flat(values: Iterable[Any]) -> Iterator[dict[str, Any]]:
    """Yield objects, those in lists too."""
    for value in values:
        if not isinstance(value, dict):
            continue
        kind, items = text_of(value.get("kind"), ""), value.get("items")
        if kind.endswith("List") and isinstance(items, list):
            given = {"kind": kind.removesuffix("List") or "List", "apiVersion": value.get("apiVersion")}
            yield from _flat({**(given if kind != "List" else {}), **item} for item in items if isinstance(item, dict))
        else:
            yield value


def _places(objects: Iterable[Mapping[str, Any]], known: Sequence[Node]) -> tuple[Node, ...]:
    loaded = {node.name: node.profiles for node in known}
    found: dict[str, Node] = {node.name: node for node in known}
    for one in objects:
        name = text_of(dict_at(one, "metadata").get("name"), "")
        if one.get("kind") == "Node" and name:
            found[name] = Node(name, loaded.get(name), one)
    return tuple(found[name] for name in sorted(found))


def _rows(workload: Workload, places: Sequence[Node]) -> Iterator[Row]:
    for container in workload.containers():
        said = effective(workload, container)
        by = _said_by(workload, container)
        candidates = nodes.may_run(workload.pod, places)
        if said is None or said.type != "Localhost":
            name = text_of(workload.pod.get("nodeName"), "")
            yield Row(workload, container, name, said, by, "")
            continue
        for node in candidates or (Node(""),):
            state = UNKNOWN if node.profiles is None else node.profiles.get(said.name, NOT_LOADED)
            yield Row(workload, container, node.name, said, by, state)


def _said_by(workload: Workload, container: Container) -> str:
    if from_field(dict_at(container.value, "securityContext").get(FIELD)) is not None:
        return "field"
    if from_annotation(workload.annotations.get(PREFIX + container.name)) is not None:
        return "annotation"
    return "Pod's field" if from_field(dict_at(workload.pod, "securityContext").get(FIELD)) is not None else "default"


def _troubles(workload: Workload, rows: Sequence[Row], handlers: Mapping[str, str]) -> Iterator[Trouble]:
    where = text_of(workload.pod.get("nodeName"), "")
    for finding in checks.findings(workload, handlers):
        yield Trouble(
            finding.level, finding.code, workload, finding.container, where, finding.text, _MENDS.get(finding.code, "")
        )
    told: set[tuple[str, str]] = set()
    if workload.kind.name == "Pod":
        for symptom in symptoms(workload.value):
            trouble = _symptom(workload, symptom, rows, where)
            told.add((trouble.container, where))
            yield trouble
    for row in rows:
        if row.state == NOT_LOADED and not {(row.container.name, row.node), ("", row.node)} & told:
            yield _not_loaded(row, bool(where))


_MENDS: Final = {
    "sandbox": "take the profile out (aalearn annotate --remove), or run it with a RuntimeClass that is no sandbox",
    "disagree": "aalearn annotate writes both alike",
    "annotation-place": "aalearn annotate writes it onto the Pod template",
    "privileged": "drop privileged, which makes the profile count",
}


def _not_loaded(row: Row, runs: bool) -> Trouble:
    name = row.confinement.name if row.confinement is not None else ""
    state = _state_of(row)
    text = f"the profile {shown(name)} is not loaded on the node {shown(row.node)}"
    if not runs:
        text += ", where it may run"
    elif state == "running":
        text += ": the container runs on, but would not start again"
    return Trouble(Level.ERROR, "not-loaded", row.workload, row.container.name, row.node, text, _load(name, row.node))


def _state_of(row: Row) -> str:
    """Return "running", "waiting" or "terminated" for a Pod's container, "" where nothing is known."""
    for name in ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"):
        listed = dict_at(row.workload.value, "status").get(name)
        for one in listed if isinstance(listed, list) else ():
            if dict_at(one).get("name") == row.container.name:
                return next(iter(dict_at(one, "state")), "")
    return ""


def _load(name: str, node: str) -> str:
    """Return what to do for a profile that is not loaded."""
    quoted = shown(shlex.quote(name))
    return f"on {shown(node) or 'the node'}: aalearn promote {quoted}, or apparmor_parser -r of its file"


def _symptom(workload: Workload, symptom: Symptom, rows: Sequence[Row], where: str) -> Trouble:
    """Return what a Pod's status says of AppArmor: the cause in words and the mend."""
    own = [row for row in rows if row.container.name == symptom.container] or list(rows)
    local = [row for row in own if row.confinement is not None and row.confinement.type == "Localhost"]
    name = symptom.profile or next((row.confinement.name for row in local if row.confinement), "")
    state = next((row.state for row in local if row.confinement and row.confinement.name == name), UNKNOWN)
    again = "; the kubelet tries again by itself"
    if symptom.final:
        namespace = f" -n {shlex.quote(workload.namespace)}" if workload.namespace else ""
        name_of_pod = shown(shlex.quote(workload.name))
        again = f"; then kubectl delete pod{shown(namespace)} {name_of_pod}, since it is not tried again"
    node = shown(where) or "its node"
    if symptom.cause is Cause.NOT_LOADED and state not in (NOT_LOADED, UNKNOWN):
        text, mend = f"{shown(name)} was not loaded on {node} when it started, and is by now ({state})", again[2:]
    elif symptom.cause is Cause.NOT_LOADED:
        text, mend = f"the profile {shown(name) or '?'} is not loaded on {node}", _load(name, where) + again
    elif symptom.cause is Cause.OFF:
        text = f"AppArmor is off on {node}, or its container runtime is built without it"
        mend = f"on {node}: aalearn doctor; boot with apparmor=1 security=apparmor, or keep the Pod off it{again}"
    elif symptom.cause is Cause.INVALID:
        text, mend = f"{shown(name) or 'the name'} is no name of a profile to the kubelet", "write localhost/NAME"
    else:
        text = f"the container runtime may not change to {shown(name) or 'the profile'}: a profile confines the runtime"
        mend = f"allow change_profile -> {shown(name) or 'NAME'} in the runtime's own profile{again}"
    text += f" ({symptom.speaker}: {shown(symptom.message.strip())})" if symptom.message else f" ({symptom.reason})"
    return Trouble(Level.ERROR, str(symptom.cause), workload, symptom.container, where, text, mend)
