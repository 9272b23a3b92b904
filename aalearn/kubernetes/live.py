"""A workload of a cluster gets its profiles: asked of the server first, applied, watched, undone when Pods fail.

Server-side apply with the field manager aalearn: the body holds all that aalearn manages in the object, nothing else,
so another manager's fields are never touched and a disagreement is a conflict. What others wrote can't be removed by
applying; where that is wanted the whole goes as one JSON patch, so that there is one rollout. The undo puts the former
template back, if nobody has changed it since.
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

from aalearn.kubernetes import annotate, checks, symptoms
from aalearn.kubernetes.annotate import Plan, Wishes
from aalearn.kubernetes.choice import Choice, wishes
from aalearn.kubernetes.cluster import MANAGER, Refused, Unreachable
from aalearn.kubernetes.edits import Path, applied
from aalearn.kubernetes.patches import json_patch, pointer
from aalearn.kubernetes.profiles import FIELD, PREFIX, Style, from_field
from aalearn.kubernetes.rollout import progress
from aalearn.kubernetes.workloads import KINDS, Kind, Workload, dict_at, text_of, workloads
from aalearn.model.errors import AalearnError, UsageError
from aalearn.model.text import shown

_Answer = TypeVar("_Answer")
_FORBIDDEN: Final = 403
_PAUSE = 1.0  # seconds between two looks at a rollout
_FIXED: Final = {
    "Pod": "a running Pod's profiles can't be changed: annotate its manifest, delete it and create it anew",
    "Job": "a Job's template can't be changed: annotate its manifest, delete it and create it anew",
}


class Api(Protocol):
    """What is asked of a cluster; `cluster.Cluster` is the real one."""

    def get(self, kind: Kind, name: str, namespace: str) -> dict[str, Any]: ...

    def apply(
        self, kind: Kind, name: str, namespace: str, body: Mapping[str, Any], *, force: bool, dry_run: bool
    ) -> dict[str, Any]: ...

    def change(
        self, kind: Kind, name: str, namespace: str, patch: list[dict[str, Any]], *, dry_run: bool
    ) -> dict[str, Any]: ...

    def pods(self, namespace: str | None, selector: Mapping[str, str] | None = None) -> list[dict[str, Any]]: ...


@dataclass(frozen=True, slots=True)
class Options:
    """`timeout` in seconds for each rollout; `force` takes over fields of other managers; `dry_run` only asks."""

    style: Style
    timeout: float = 300
    force: bool = False
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one workload: `state` is unchanged, refused, would-change, applied, undone or stuck."""

    workload: Workload
    plan: Plan
    state: str
    told: str
    findings: tuple[checks.Finding, ...] = ()

    @property
    def fine(self) -> bool:
        """Whether it is as was wished (or would be)."""
        return self.state in ("unchanged", "would-change", "applied")


def annotate_live(
    api: Api, kind: Kind, name: str, namespace: str, choice: Choice, options: Options, say: Callable[[str], None]
) -> Outcome:
    """Give one workload of a cluster its profiles; `say` is told how the rollout goes. Raises UsageError, Refused."""
    if kind.name in _FIXED:
        raise UsageError(f"{kind.name} {shown(namespace)}/{shown(name)}: {_FIXED[kind.name]}")
    before = _workload(api.get(kind, name, namespace), kind)
    wanted = wishes(before, choice)
    if not wanted and (choice.lines or choice.remove):
        nothing = annotate.plan(before, {}, options.style)
        return Outcome(before, nothing, "unchanged", "nothing is meant for it")
    if not wanted:
        names = ", ".join(shown(one.name) for one in before.containers())
        raise UsageError(f"{shown(before.title)} has no such container: there are {names}")
    plan = annotate.plan(before, wanted, options.style)
    findings = checks.findings(_workload(applied(before.value, plan.changes), kind), {})
    refused = [one for one in findings if one.level is checks.Level.ERROR]
    if refused:
        return Outcome(before, plan, "refused", "; ".join(one.text for one in refused), findings)
    if not plan.changes:
        return Outcome(before, plan, "unchanged", "it has them already", findings)
    job = _Job(api, before, plan, options, say)
    job.send(dry_run=True)
    if options.dry_run:
        return Outcome(before, plan, "would-change", "the server accepts it", findings)
    after = job.send(dry_run=False)
    state, told = job.watch(after)
    return Outcome(before, plan, state, told, findings)


def _workload(value: Any, kind: Kind) -> Workload:
    found = next(iter(workloads(value)), None)
    if found is None:
        raise AalearnError(f"the cluster's answer is no {kind.name}")
    return found


class _Job:
    """One workload's change."""

    def __init__(self, api: Api, before: Workload, plan: Plan, options: Options, say: Callable[[str], None]) -> None:
        self._api, self._before, self._plan, self._options, self._say = api, before, plan, options, say
        self._kind, self._name, self._namespace = before.kind, before.name, before.namespace
        self._template = before.kind.template
        self._said: set[str] = set()

    def send(self, *, dry_run: bool) -> dict[str, Any]:
        """Change the object, or ask the server whether it would, and make sure that it took all of it."""
        owned = _owned(self._before)
        foreign = any(
            change.value is None and not _is_owned(change.path, self._before, owned) for change in self._plan.changes
        )
        if foreign:
            done = self._api.change(self._kind, self._name, self._namespace, json_patch(self._plan), dry_run=dry_run)
        else:
            body = _body(self._before, self._plan, owned)
            force = self._options.force
            done = self._api.apply(self._kind, self._name, self._namespace, body, force=force, dry_run=dry_run)
        wanted = {effect.container: effect.after for effect in self._plan.effects}
        if annotate.plan(_workload(done, self._kind), wanted, self._options.style).changes:
            hint = "a server before 1.30 has no field (--style annotation), and an admission webhook may change Pods"
            raise AalearnError(f"the cluster does not keep what was set of {shown(self._before.title)}: {hint}")
        return done

    def watch(self, after: dict[str, Any]) -> tuple[str, str]:
        """Wait for the rollout; undo it when Pods fail or time is over. Returns the state and what to tell."""
        try:
            failed, told = self._wait(after, self._options.timeout)
        except KeyboardInterrupt:
            self._say(f"{shown(self._before.title)}: no longer watched; its rollout goes on")
            raise
        if not failed:
            return "applied", told
        self._say(f"{shown(self._before.title)}: {failed}; the former template is put back")
        back = [
            {"op": "test", "path": pointer(self._template), "value": _at(after, self._template)},
            {"op": "replace", "path": pointer(self._template), "value": _at(self._before.value, self._template)},
        ]
        try:
            undone = self._api.change(self._kind, self._name, self._namespace, back, dry_run=False)
        except (Refused, Unreachable) as error:
            return "stuck", f"{failed}; it was not undone: {error}"
        again, _ = self._wait(undone, self._options.timeout, new=False)
        if again:
            return "stuck", f"{failed}; the former template is back, but {again}"
        return "undone", f"{failed}; the former template is back and runs"

    def _wait(self, value: dict[str, Any], seconds: float, *, new: bool = True) -> tuple[str, str]:
        """Wait until a rollout is done; return why it failed ("" if it did not) and how it stands."""
        end = time.monotonic() + seconds
        told = ""
        while True:
            now = progress(value)
            if now.told != told:
                told = now.told
                self._say(f"{shown(self._before.title)}: {told}")
            if now.failed:
                return now.failed, told
            trouble = self._trouble() if new and not now.done else ""
            if trouble or now.done:
                return trouble, told
            if time.monotonic() >= end:
                return f"after {seconds:g} seconds: {told}", told
            time.sleep(min(_PAUSE, max(end - time.monotonic(), 0)))
            value = self._again(lambda: self._api.get(self._kind, self._name, self._namespace), value)

    def _again(self, ask: Callable[[], _Answer], otherwise: _Answer) -> _Answer:
        """Return an answer, or what stands in for it while the cluster can't be asked: a rollout outlives a hiccup."""
        try:
            return ask()
        except Unreachable as error:
            self._once(str(error))
        except Refused as error:
            if not error.passing and error.status != _FORBIDDEN:
                raise
            self._once(str(error))
        return otherwise

    def _once(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self._say(text)

    def _trouble(self) -> str:
        """Return why new Pods fail, "" as long as none does. Only Pods that have what was set are looked at."""
        selector = dict_at(self._before.value, "spec", "selector", "matchLabels")
        wanted = {effect.container: effect.after for effect in self._plan.effects}
        labels = {key: text_of(one, "") for key, one in selector.items()}
        none: list[dict[str, Any]] = []
        for pod in self._again(lambda: self._api.pods(self._namespace, labels), none):
            value = {"apiVersion": "v1", "kind": "Pod", **pod}
            if not _confined(_workload(value, KINDS["Pod"]), wanted):
                continue
            name = shown(text_of(dict_at(pod, "metadata").get("name"), "?"))
            for one in symptoms.symptoms(pod):
                return f"Pod {name}: {shown(one.message)}"
            container = symptoms.crashing(pod)
            if container:
                return f"Pod {name}: the container {shown(container)} crashes again and again"
        return ""


def _confined(pod: Workload, wanted: Wishes) -> bool:
    """Return whether a Pod is confined as was wished, in whatever way it says so: the API adds the field itself."""
    held = {one.name: annotate.effective(pod, one) for one in pod.containers()}
    held[annotate.POD] = from_field(dict_at(pod.pod, "securityContext").get(FIELD))
    return all(held.get(name) == wish for name, wish in wanted.items())


def _at(value: Any, path: Path) -> Any:
    for key in path:
        value = value[key]
    return value


@dataclass(frozen=True, slots=True)
class _Owned:
    """What the field manager aalearn has of an object: annotations, fields of containers (list, name), the Pod's."""

    annotations: frozenset[str]
    containers: frozenset[tuple[str, str]]
    pod: bool


def _owned(workload: Workload) -> _Owned:
    """Read `managedFields` (source: structured-merge-diff's FieldsV1) for what was applied by aalearn."""
    annotations, containers, pod = set(), set(), False
    listed = dict_at(workload.value, "metadata").get("managedFields")
    for entry in listed if isinstance(listed, list) else ():
        if dict_at(entry).get("manager") != MANAGER or dict_at(entry).get("operation") != "Apply":
            continue
        template = dict_at(entry, "fieldsV1", *(f"f:{key}" for key in workload.kind.template))
        annotations |= {key[2:] for key in dict_at(template, "f:metadata", "f:annotations") if key.startswith("f:")}
        spec = dict_at(template, "f:spec")
        pod = pod or f"f:{FIELD}" in dict_at(spec, "f:securityContext")
        for name in ("containers", "initContainers", "ephemeralContainers"):
            for key in dict_at(spec, f"f:{name}"):
                if key.startswith("k:") and f"f:{FIELD}" in dict_at(spec, f"f:{name}", key, "f:securityContext"):
                    containers.add((name, str(json.loads(key[2:]).get("name"))))
    return _Owned(frozenset(annotations), frozenset(containers), pod)


def _is_owned(path: Path, workload: Workload, owned: _Owned) -> bool:
    below = path[len(workload.template_path) :]
    if below[:2] == ("metadata", "annotations"):
        return below[2] in owned.annotations
    if below[:2] == ("spec", "securityContext"):
        return owned.pod
    name = next(one.name for one in workload.containers() if one.path == path[: len(one.path)])
    return (str(below[1]), name) in owned.containers


def _body(before: Workload, plan: Plan, owned: _Owned) -> dict[str, Any]:
    """Return what to apply: all that aalearn manages in the object afterwards, and nothing else."""
    changed = {change.path for change in plan.changes}
    after = _workload(applied(before.value, plan.changes), before.kind)
    template: dict[str, Any] = {}
    for key, value in after.annotations.items():
        path = (*after.template_path, "metadata", "annotations", key)
        if key.startswith(PREFIX) and (path in changed or key in owned.annotations):
            template.setdefault("metadata", {}).setdefault("annotations", {})[key] = value
    spec: dict[str, Any] = {}
    field = dict_at(after.pod, "securityContext").get(FIELD)
    if field is not None and (owned.pod or _touched(changed, (*after.template_path, "spec", "securityContext"))):
        spec["securityContext"] = {FIELD: field}
    for one in after.containers():
        field = dict_at(one.value, "securityContext").get(FIELD)
        if field is not None and ((one.list, one.name) in owned.containers or _touched(changed, one.path)):
            spec.setdefault(one.list, []).append({"name": one.name, "securityContext": {FIELD: field}})
    if spec:
        template["spec"] = spec
    metadata = {"name": before.name, "namespace": before.namespace}
    body: dict[str, Any] = {"apiVersion": before.api_version, "kind": before.kind.name, "metadata": metadata}
    if not template:
        return body  # nothing is managed any more
    at: dict[str, Any] = body
    for step in before.kind.template[:-1]:
        at = at.setdefault(str(step), {})
    at[str(before.kind.template[-1])] = template
    return body


def _touched(changed: set[Path], above: Path) -> bool:
    return any(path[: len(above)] == above for path in changed)
