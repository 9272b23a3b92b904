"""What the API would refuse about profiles in a workload, and where a profile would not do what it seems to. Pure."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from aalearn.kubernetes.annotate import effective
from aalearn.kubernetes.profiles import CONTAINER_NAME, FIELD, PREFIX, field_problem, from_annotation, from_field
from aalearn.kubernetes.tree import Plain
from aalearn.kubernetes.workloads import Workload, dict_at, text_of
from aalearn.model.text import shown

# Handlers of sandboxed runtimes: gVisor's is runsc; Kata's installer names kata, kata-qemu, kata-fc, kata-clh, …
_SANDBOXES: Final = re.compile(r"(?:.*[-.])?(?P<what>gvisor|runsc|kata)(?:[-.].*|containers.*)?", re.IGNORECASE)
_SANDBOXED: Final = (
    "the profile would confine the sandbox on the node and not the program in it, which runs on a kernel of its own"
)
_PRIVILEGED: Final = "is privileged, and container runtimes ignore the profile of such a container"
_HOST_USERS: Final = (
    "hostUsers is false: owners and capabilities are those of a user namespace, so learn the profile with it too"
)
_HOST_PID: Final = (
    "with hostPID its signals and traces reach the node's programs: the profile must name their labels as peers"
)


class Level(StrEnum):
    """How weighty a finding is."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing about a workload: `code` for programs; `text` one line for people, safe for a terminal."""

    level: Level
    code: str
    container: str
    text: str


def findings(workload: Workload, handlers: Mapping[str, str]) -> tuple[Finding, ...]:
    """Return what is wrong or doubtful about a workload's profiles; `handlers` are known RuntimeClasses' handlers."""
    found = (_names(workload), _fields(workload), _annotations(workload), _place(workload), _run(workload, handlers))
    return tuple(one for part in found for one in part)


def sandbox(runtime_class: str, handlers: Mapping[str, str]) -> str:
    """Return the sandboxed runtime ("gVisor", "Kata Containers") behind a RuntimeClass, "" if it is none we know."""
    found = _SANDBOXES.fullmatch(handlers.get(runtime_class, runtime_class)) or _SANDBOXES.fullmatch(runtime_class)
    if found is None:
        return ""
    return "Kata Containers" if found["what"].casefold() == "kata" else "gVisor"


def _error(code: str, text: str, container: str = "") -> Finding:
    return Finding(Level.ERROR, code, container, text)


def _warning(code: str, text: str, container: str = "") -> Finding:
    return Finding(Level.WARNING, code, container, text)


def _names(workload: Workload) -> Iterator[Finding]:
    listed = workload.pod.get("containers")
    if not isinstance(listed, list) or not listed:
        yield _error("no-containers", "it has no list of containers")
    for name, count in Counter(one.name for one in workload.containers()).items():
        if not CONTAINER_NAME.fullmatch(name):
            yield _error("container-name", f"a container can't be named {shown(name) or 'nothing'}", name)
        elif count > 1:
            yield _error("container-name", f"two containers are named {name}", name)


def _fields(workload: Workload) -> Iterator[Finding]:
    places: list[tuple[str, str, Any]] = [("", "the Pod", workload.pod)]
    places += [(one.name, f"the {one.noun} {shown(one.name)}", one.value) for one in workload.containers()]
    for name, words, holder in places:
        there = dict_at(holder, "securityContext").get(FIELD)
        problem = "" if there is None else field_problem(there)
        if problem:
            yield _error("field", f"{FIELD} of {words}: {problem}", name)


def _annotations(workload: Workload) -> Iterator[Finding]:
    by_name = {one.name: one for one in workload.containers()}
    pod = from_field(dict_at(workload.pod, "securityContext").get(FIELD))
    for key, value in workload.annotations.items():
        name = key.removeprefix(PREFIX)
        if not key.startswith(PREFIX) or value == "":
            continue
        if name not in by_name:
            text = f"an annotation names the container {shown(name)}, and there is none"
            yield _error("annotation-container", text, name)
            continue
        said = from_annotation(value)
        if said is None:
            told = shown(value.text if isinstance(value, Plain) else str(value))[:80]
            text = f"the annotation of {name} is {told}: localhost/NAME, runtime/default or unconfined is allowed"
            yield _error("annotation", text, name)
            continue
        field = from_field(dict_at(by_name[name].value, "securityContext").get(FIELD)) or pod
        if field is not None and field != said:
            both = f"its annotation says {shown(str(said))} and its field {shown(str(field))}"
            yield _error("disagree", f"{name}: {both}, but they must agree", name)


def _place(workload: Workload) -> Iterator[Finding]:
    """Annotations where nothing reads them, as `kubectl annotate` writes them."""
    for key in dict_at(workload.value, "metadata", "annotations") if workload.kind.template else ():
        if key.startswith(PREFIX):
            name = key.removeprefix(PREFIX)
            text = (
                f"the annotation for {shown(name)} is on the {workload.kind.name}, not on its Pod template: no effect"
            )
            yield _warning("annotation-place", text, name)


def _run(workload: Workload, handlers: Mapping[str, str]) -> Iterator[Finding]:
    """Runtimes and settings with which a profile does not do what a reader expects."""
    local = []
    for one in workload.containers():
        said = effective(workload, one)
        if said is not None and said.type == "Unconfined":
            text = f"{shown(one.name)} is unconfined, which Pod Security (baseline and restricted) forbids"
            yield _warning("unconfined", text, one.name)
        if said is not None and said.type == "Localhost":
            local.append(one)
    if not local:
        return
    runtime = text_of(workload.pod.get("runtimeClassName"), "")
    if runtime and (what := sandbox(runtime, handlers)):
        yield _error("sandbox", f"the RuntimeClass {shown(runtime)} is {what}: {_SANDBOXED}")
    if dict_at(workload.pod, "os").get("name") == "windows":
        yield _error("windows", "the Pod is for Windows, where the API refuses a profile")
    for one in local:
        if _is(dict_at(one.value, "securityContext").get("privileged"), "true", "yes", "on", "y"):
            yield _warning("privileged", f"{shown(one.name)} {_PRIVILEGED}", one.name)
    if _is(workload.pod.get("hostUsers"), "false", "no", "off", "n"):
        yield _warning("host-users", _HOST_USERS)
    if _is(workload.pod.get("hostPID"), "true", "yes", "on", "y"):
        yield _warning("host-pid", _HOST_PID)


def _is(value: Any, *words: str) -> bool:
    """Return whether a boolean, of YAML or of JSON, is written as one of `words`, the first of which is JSON's."""
    return (isinstance(value, bool) and value == (words[0] == "true")) or (
        isinstance(value, Plain) and value.text.casefold() in words
    )
