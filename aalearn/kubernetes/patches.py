"""Plans as patches: strategic merge, JSON (RFC 6902), and a kustomization of them. Pure.

A strategic patch names containers, so it holds when their order changes; a JSON patch counts them, and tests each name
before it changes anything there.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from aalearn.kubernetes.annotate import Plan
from aalearn.kubernetes.edits import Change, Path
from aalearn.kubernetes.manifests import TEMPLATED
from aalearn.kubernetes.spelling import bare
from aalearn.kubernetes.workloads import Workload, group

_ANY_NAME: Final = "any"  # kustomize asks for a name in a patch and, with a target, does not look at it

_BLOCK: Final = re.compile(r"[!-~][ -~\n]*[!-~]\n")  # what a literal block scalar surely gives back as it is


def strategic(plan: Plan, *, annotations_too: bool = True) -> dict[str, Any]:
    """Return the strategic merge patch of a plan, with the object's identity.

    All containers of a list that changes are named, in their order, which kustomize would not keep otherwise. Without
    `annotations_too` the removal of annotations is left out.
    """
    workload = plan.workload
    metadata = {"name": workload.name} if workload.name else {}
    if workload.namespace:
        metadata["namespace"] = workload.namespace
    patch: dict[str, Any] = {"apiVersion": workload.api_version, "kind": workload.kind.name, "metadata": metadata}
    names = {one.path: one.name for one in workload.containers() if one.name and TEMPLATED not in one.name}
    for change in plan.changes:
        if annotations_too or not _removes_annotation(change):
            _put(patch, workload.root, change.path, change.value, names)
    return patch


def _removes_annotation(change: Change) -> bool:
    return change.value is None and change.path[-2:-1] == ("annotations",)


def _put(patch: dict[str, Any], root: Path, path: Path, value: str | None, names: Mapping[Path, str]) -> None:
    at: Any = patch
    below = path[len(root) :]
    for depth, key in enumerate(below[:-1]):
        if isinstance(key, int):
            name = names[(*root, *below[: depth + 1])]
            at = next(one for one in at if one["name"] == name)
        elif isinstance(below[depth + 1], int):
            whole = (*root, *below[: depth + 1])
            at = at.setdefault(key, [{"name": name} for one, name in names.items() if one[:-1] == whole])
        else:
            at = at.setdefault(key, {})
    at[below[-1]] = value


def json_patch(plan: Plan) -> list[dict[str, Any]]:
    """Return the RFC 6902 patch of a plan, relative to its object."""
    root = plan.workload.root
    current: Any = plan.workload.value
    done: list[dict[str, Any]] = []
    tested: set[Path] = set()
    for change in plan.changes:
        path = change.path[len(root) :]
        for container in plan.workload.containers():
            own = container.path[len(root) :]
            if path[: len(own)] == own and own not in tested:
                tested.add(own)
                done.append({"op": "test", "path": pointer((*own, "name")), "value": container.name})
        if change.value is None:
            done.append({"op": "remove", "path": pointer(path)})
        else:
            _add(done, current, path, change.value)
    return done


def _add(done: list[dict[str, Any]], current: Any, path: Path, value: str) -> None:
    """Append the operation that sets a string; what is missing above it comes in the same operation."""
    for depth, key in enumerate(path):
        if isinstance(current, dict) and (key not in current or (current[key] is None and depth < len(path) - 1)):
            break
        current = current[key]
    else:
        done.append({"op": "replace", "path": pointer(path), "value": value})
        return
    where, below = pointer(path[: depth + 1]), path[depth + 1 :]
    if below:
        held = next((one for one in done if one["op"] == "add" and one["path"] == where), None)
        if held is None:
            held = {"op": "add", "path": where, "value": {}}
            done.append(held)
        inner = held["value"]
        for key in below[:-1]:
            inner = inner.setdefault(key, {})
        inner[below[-1]] = value
    else:
        done.append({"op": "add", "path": where, "value": value})


def pointer(path: Path) -> str:
    """Return a JSON pointer (RFC 6901)."""
    return "".join("/" + str(key).replace("~", "~0").replace("/", "~1") for key in path)


def kustomization(plans: Iterable[Plan], resources: Sequence[str]) -> str:
    """Return a kustomization.yaml with strategic patches; `resources` are the manifests that it changes."""
    document: dict[str, Any] = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}
    if resources:
        document["resources"] = list(resources)
    patches = []
    for plan in plans:
        cut = [change for change in plan.changes if _removes_annotation(change)]
        if len(cut) < len(plan.changes):
            body = strategic(plan, annotations_too=False)
            body["metadata"] = {"name": plan.workload.name or _ANY_NAME, **body["metadata"]}
            patches.append({"target": target(plan.workload), "patch": yaml(body)})
        if cut:  # kustomize makes the text "null" of an annotation that a strategic patch removes
            operations = json_patch(replace(plan, changes=tuple(cut)))
            patches.append({"target": target(plan.workload), "patch": yaml(operations)})
    document["patches"] = patches
    return yaml(document)


def target(workload: Workload) -> dict[str, str]:
    """Return what a kustomize patch is for; without a name (a template's is not known) all objects of the kind."""
    found = {"kind": workload.kind.name}
    if group(workload.api_version):
        found = {"group": group(workload.api_version), **found}
    if workload.name:
        found["name"] = workload.name
    if workload.namespace:
        found["namespace"] = workload.namespace
    return found


def yaml(value: Any) -> str:
    """Return a value of mappings, lists, strings, None and numbers as block YAML; strings of lines as block scalars."""
    return "\n".join(_yaml(value, 0)) + "\n"


def _yaml(value: Any, indent: int) -> list[str]:
    blanks = " " * indent
    lines: list[str] = []
    if isinstance(value, dict):
        for key, inner in value.items():
            head = f"{blanks}{bare(key)}:"
            lines += _entry(head, inner, indent + 2 if isinstance(inner, dict) else indent)
    elif isinstance(value, list):
        for inner in value:
            if isinstance(inner, dict) and inner:
                first, *rest = _yaml(inner, indent + 2)
                lines += [f"{blanks}- {first[indent + 2 :]}", *rest]
            else:
                lines += _entry(f"{blanks}-", inner, indent + 2)
    return lines


def _entry(head: str, inner: Any, indent: int) -> list[str]:
    if isinstance(inner, (dict, list)) and inner:
        return [head, *_yaml(inner, indent)]
    if isinstance(inner, str) and _BLOCK.fullmatch(inner):
        return [f"{head} |", *(" " * (indent + 2) + line if line else "" for line in inner[:-1].split("\n"))]
    if isinstance(inner, str):
        return [f"{head} {bare(inner)}"]
    return [f"{head} {getattr(inner, 'text', None) or json.dumps(inner)}"]
