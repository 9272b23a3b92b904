"""The mapping file of `annotate --map`: which container of which workload gets which profile, for a whole repository.

YAML; keys are patterns with `*`, `?` and `[…]` for each part, values are profiles; the first pattern that fits wins,
and null lets a container alone:

    web/nginx: web-nginx                       # NAME/CONTAINER
    statefulset/db-*/postgres: postgres        # KIND/NAME/CONTAINER
    prod/deployment/api/*: api-prod            # NAMESPACE/KIND/NAME/CONTAINER
    "*/istio-proxy": null
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from aalearn.kubernetes import tree
from aalearn.kubernetes.profiles import Confinement
from aalearn.kubernetes.workloads import Container, Workload
from aalearn.model.errors import BadInput, UsageError
from aalearn.model.text import shown

_LARGEST: Final = 1 << 20  # bytes
_PARTS: Final = (2, 3, 4)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a mapping; empty patterns were not given and fit all."""

    text: str
    namespace: str
    kind: str
    name: str
    container: str
    profile: Confinement | None

    def fits(self, workload: Workload, container: Container) -> bool:
        """Return whether the line is for this container. An object without a namespace is in `default` too."""
        namespaces = (workload.namespace, workload.namespace or "default")
        return (
            (not self.namespace or any(fnmatchcase(one, self.namespace) for one in namespaces))
            and (not self.kind or fnmatchcase(workload.kind.name.lower(), self.kind.lower()))
            and fnmatchcase(workload.name, self.name)
            and fnmatchcase(container.name, self.container)
        )


def first(lines: Sequence[Line], workload: Workload, container: Container) -> Line | None:
    """Return the first line that fits a container, None without one."""
    return next((line for line in lines if line.fits(workload, container)), None)


def read(path: Path) -> tuple[Line, ...]:
    """Return a mapping file's lines. Raises UsageError or BadInput, with the line's number."""
    name = shown(str(path))
    try:
        with path.open("rb") as file:
            raw = file.read(_LARGEST + 1)
        text = raw.decode("utf-8")
    except OSError as error:
        raise UsageError(f"can't read the map {name}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise BadInput(f"the map {name} is not UTF-8 text") from None
    if len(raw) > _LARGEST:
        raise BadInput(f"the map {name} is larger than {_LARGEST >> 20} MiB")
    return parse(text, name)


def parse(text: str, name: str) -> tuple[Line, ...]:
    """Return the lines of a mapping file's text."""
    place = tree.Place(name)
    root = tree.parse(text, place)
    if not isinstance(root, tree.Mapping):
        raise BadInput(f"the map {name} holds no lines of the form NAME/CONTAINER: PROFILE")
    lines = []
    for key, node in root.entries:
        parts = key.text.split("/")
        value = tree.value(node)
        if len(parts) not in _PARTS or not all(parts):
            told = "write NAME/CONTAINER, KIND/NAME/CONTAINER or NAMESPACE/KIND/NAME/CONTAINER"
            raise place.bad(text, key.start, f"{key.text} is no pattern; {told}")
        if isinstance(value, tree.Plain):
            value = value.text
        if value is not None and not isinstance(value, str):
            raise place.bad(text, key.start, f"{key.text} needs the name of a profile, or null")
        try:
            profile = None if value is None else Confinement.parse(value)
        except UsageError as error:
            raise place.bad(text, key.start, str(error)) from None
        namespace, kind, workload, container = ["", "", *parts][-4:]
        lines.append(Line(key.text, namespace, kind, workload, container, profile))
    return tuple(lines)
