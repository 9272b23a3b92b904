"""The words of Kubernetes for a profile: the annotation and the field `appArmorProfile`, and what the API accepts.

Source: core/v1 AppArmorProfile, pkg/apis/core/validation (ValidateAppArmorProfileField,
ValidateAppArmorPodAnnotations), pkg/security/apparmor. The field exists since
1.30; the annotation since 1.4.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Self

from aalearn.kubernetes.tree import Plain
from aalearn.model.errors import UsageError
from aalearn.model.text import shown

PREFIX: Final = "container.apparmor.security.beta.kubernetes.io/"
FIELD: Final = "appArmorProfile"
FIELD_SINCE: Final = (1, 30)
LONGEST: Final = 4095  # bytes of a name
LOCALHOST: Final = "localhost/"
CONTAINER_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


class Style(StrEnum):
    """Where the profile is named."""

    BOTH = "both"
    FIELD = "field"
    ANNOTATION = "annotation"

    @property
    def field(self) -> bool:
        """Whether the field is set."""
        return self is not Style.ANNOTATION

    @property
    def annotation(self) -> bool:
        """Whether the annotation is set."""
        return self is not Style.FIELD


def style_for(version: str) -> Style:
    """Return the style for a Kubernetes version such as `1.29`, `v1.31.2`. Raises UsageError for anything else."""
    found = re.fullmatch(r"v?(\d+)\.(\d+)(?:\.\d+)?(?:[-+].*)?", version)
    if found is None:
        raise UsageError(f"not a version of Kubernetes: {shown(version)}; write for instance --kube-version 1.31")
    return Style.FIELD if (int(found[1]), int(found[2])) >= FIELD_SINCE else Style.ANNOTATION


@dataclass(frozen=True, slots=True, order=True)
class Confinement:
    """What confines a container: `type` is Localhost, RuntimeDefault or Unconfined; `name` for Localhost, else ""."""

    type: str
    name: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return what a person means by `NAME`, `localhost/NAME`, `runtime/default` or `unconfined`.

        Raises UsageError for a name that the API or AppArmor would refuse.
        """
        if text == "runtime/default":
            return cls("RuntimeDefault")
        if text == "unconfined":
            return cls("Unconfined")
        name = text.removeprefix(LOCALHOST)
        problem = name_problem(name)
        if problem:
            raise UsageError(f"{shown(name)[:80] or 'an empty name'} can't be the name of a profile here: {problem}")
        return cls("Localhost", name)

    @property
    def annotation(self) -> str:
        """The value of the annotation."""
        return {"Localhost": LOCALHOST + self.name, "RuntimeDefault": "runtime/default"}.get(self.type, "unconfined")

    @property
    def field(self) -> dict[str, str]:
        """The value of the field."""
        return {"type": self.type, "localhostProfile": self.name} if self.type == "Localhost" else {"type": self.type}

    def __str__(self) -> str:
        """Return the annotation's spelling, which is the shorter."""
        return self.annotation


def name_problem(name: str) -> str:
    """Return why a name can't be a Localhost profile's, "" if it can."""
    if not name:
        return "it is empty"
    if name != name.strip():
        return "it begins or ends with a blank"
    if not name.isprintable():
        return "it holds a character that does not print"
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        return "it is not UTF-8"
    if size > LONGEST:
        return f"it has {size:,} bytes, and {LONGEST:,} are allowed"
    return ""


def from_annotation(value: Any) -> Confinement | None:
    """Return what an annotation's value says; None for a value that the API refuses, or an empty one (no wish)."""
    if value == "runtime/default":
        return Confinement("RuntimeDefault")
    if value == "unconfined":
        return Confinement("Unconfined")
    if isinstance(value, str) and value.startswith(LOCALHOST) and not name_problem(value.removeprefix(LOCALHOST)):
        return Confinement("Localhost", value.removeprefix(LOCALHOST))
    return None


def from_field(value: Any) -> Confinement | None:
    """Return what a field's value says; None for no field or one that the API refuses (see `field_problem`)."""
    if value is None or field_problem(value):
        return None
    return Confinement(value["type"], value.get("localhostProfile") or "")


def field_problem(value: Any) -> str:
    """Return why the API would refuse the value of `appArmorProfile`, "" if it would not."""
    if not isinstance(value, dict):
        return "it is no mapping"
    kind, name = value.get("type"), value.get("localhostProfile")
    unknown = sorted(set(value) - {"type", "localhostProfile"})
    if unknown:
        return f"there is no field {shown(unknown[0])} in it"
    if kind not in ("Localhost", "RuntimeDefault", "Unconfined"):
        told = kind.text if isinstance(kind, Plain) else kind
        return (
            "it has no type"
            if kind is None
            else f"its type {shown(str(told))} is none of Localhost, RuntimeDefault, Unconfined"
        )
    if kind != "Localhost":
        return f"localhostProfile is forbidden with the type {kind}" if name is not None else ""
    if name is None:
        return "the type Localhost needs a localhostProfile"
    if not isinstance(name, str):
        return f"localhostProfile {shown(getattr(name, 'text', str(name)))} is no string to YAML: put it in quotes"
    problem = name_problem(name)
    return f"localhostProfile can't be the name of a profile: {problem}" if problem else ""
