"""Workloads: which kinds of objects hold a Pod template, where, and the containers in it.

Source: the API reference (apps/v1, batch/v1, core/v1). CronJob holds its template one level deeper; PodTemplate at the
top; List and every FOOList hold objects in `items`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from aalearn.kubernetes.edits import Path
from aalearn.kubernetes.tree import Plain


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind with a Pod template: its API groups, the plural in URLs, and the path to the template."""

    name: str
    groups: frozenset[str]
    plural: str
    template: Path


_APPS: Final = frozenset({"apps", "extensions"})
_TEMPLATE: Final[Path] = ("spec", "template")
KINDS: Final = {
    kind.name: kind
    for kind in (
        Kind("Pod", frozenset({""}), "pods", ()),
        Kind("Deployment", _APPS, "deployments", _TEMPLATE),
        Kind("StatefulSet", _APPS, "statefulsets", _TEMPLATE),
        Kind("DaemonSet", _APPS, "daemonsets", _TEMPLATE),
        Kind("ReplicaSet", _APPS, "replicasets", _TEMPLATE),
        Kind("ReplicationController", frozenset({""}), "replicationcontrollers", _TEMPLATE),
        Kind("Job", frozenset({"batch"}), "jobs", _TEMPLATE),
        Kind("CronJob", frozenset({"batch"}), "cronjobs", ("spec", "jobTemplate", "spec", "template")),
        Kind("PodTemplate", frozenset({""}), "podtemplates", ("template",)),
    )
}
# The groups in which containers may stand, and the words for them in messages.
LISTS: Final = {
    "containers": "container",
    "initContainers": "init container",
    "ephemeralContainers": "ephemeral container",
}


@dataclass(frozen=True, slots=True)
class Container:
    """A container of a Pod template: the list in which it stands, its place there, its path in the document."""

    name: str
    list: str
    index: int
    path: Path
    value: dict[str, Any] = field(repr=False, compare=False)

    @property
    def noun(self) -> str:
        """What it is, for people: "container", "init container" or "ephemeral container"."""
        return LISTS[self.list]


@dataclass(frozen=True, slots=True)
class Workload:
    """An object with a Pod template. `root` is its path in the document (not empty within a List)."""

    kind: Kind
    api_version: str
    namespace: str
    name: str
    root: Path
    value: dict[str, Any] = field(repr=False, compare=False)

    @property
    def title(self) -> str:
        """The object for people: `Deployment prod/web`; names are as written, so show them through `shown`."""
        name = self.name or text_of(dict_at(self.value, "metadata").get("generateName"), "") + "…"
        return f"{self.kind.name} {self.namespace + '/' if self.namespace else ''}{name}"

    @property
    def template_path(self) -> Path:
        """The path of the template in the document: what holds `metadata` and `spec`."""
        return (*self.root, *self.kind.template)

    @property
    def template(self) -> dict[str, Any]:
        """The template's value; {} where it is missing."""
        return dict_at(self.value, *self.kind.template)

    @property
    def pod(self) -> dict[str, Any]:
        """The template's `spec`."""
        return dict_at(self.template, "spec")

    @property
    def annotations(self) -> dict[str, Any]:
        """The template's annotations."""
        return dict_at(self.template, "metadata", "annotations")

    def containers(self) -> tuple[Container, ...]:
        """Return all containers in the order of LISTS; one without a name has ""."""
        found = []
        for name in LISTS:
            listed = self.pod.get(name)
            for index, value in enumerate(listed if isinstance(listed, list) else ()):
                if isinstance(value, dict):
                    path = (*self.template_path, "spec", name, index)
                    found.append(Container(text_of(value.get("name"), ""), name, index, path, value))
        return tuple(found)


def workloads(value: Any, root: Path = ()) -> Iterator[Workload]:
    """Yield the workloads of a document's plain value, those in lists too."""
    if not isinstance(value, dict):
        return
    kind, version = text_of(value.get("kind"), ""), text_of(value.get("apiVersion"), "")
    items = value.get("items")
    if kind.endswith("List") and isinstance(items, list) and len(root) < 8:
        for index, item in enumerate(items):
            yield from workloads(_typed(item, kind, version), (*root, "items", index))
        return
    known = KINDS.get(kind)
    if known is None or group(version) not in known.groups:
        return
    metadata = dict_at(value, "metadata")
    namespace, name = text_of(metadata.get("namespace"), ""), text_of(metadata.get("name"), "")
    yield Workload(known, version, namespace, name, root, value)


def _typed(item: Any, kind: str, version: str) -> Any:
    """Return an item with the kind that its list (PodList, …) gives where it names none."""
    if isinstance(item, dict) and "kind" not in item and kind != "List":
        return {"kind": kind.removesuffix("List"), "apiVersion": version, **item}
    return item


def group(api_version: str) -> str:
    """Return the group of an apiVersion: "" for `v1`."""
    return api_version.rpartition("/")[0]


def dict_at(value: Any, *path: str | int) -> dict[str, Any]:
    """Return the mapping at a path, {} where there is none."""
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def text_of(value: Any, default: str) -> str:
    """Return a string (or the text of what YAML may take for a number); `default` for anything else."""
    if isinstance(value, Plain):
        return value.text
    return value if isinstance(value, str) else default
