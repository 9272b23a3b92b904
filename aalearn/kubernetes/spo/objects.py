"""SPO's objects for three generations of its API: what they hold, and what the API server would refuse.

Source: the operator's api/apparmorprofile and api/profilebinding. Up to 0.8.4 the object is namespaced and holds raw
text; 0.9 and 0.10 have the abstract form with `complainMode`; from 1.0 on `mode` and `state` say it, and an old
`complainMode` is pruned away, which means enforced.
"""

import json
import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Final

from aalearn.kubernetes.naming import SUBDOMAIN
from aalearn.kubernetes.spo.abstract import Abstract, Remark
from aalearn.model.errors import UsageError
from aalearn.model.text import shown

GROUP: Final = "security-profiles-operator.x-k8s.io"
KIND: Final = "AppArmorProfile"
LARGEST: Final = 1_500_000  # bytes: what etcd takes
LONGEST: Final = 252  # characters of the name and a node's name together (the operator joins them for a label)
NODE: Final = 63  # characters left for a node's name
LOST: Final = "aalearn/lost-rules"
WIDER: Final = "aalearn/wider-rules"
LEARNED: Final = "aalearn/learned-from"
_TOLD: Final = 100_000  # bytes of an annotation; all annotations together may have 256 KiB
_VERSION: Final = re.compile(r"v?([0-9]+)\.([0-9]+)(?:\.[0-9]+)?")


class Generation(StrEnum):
    """A generation of the operator's API, by the first release that has it."""

    RAW = "0.8"
    COMPLAIN_MODE = "0.9"
    MODE = "1.0"

    @classmethod
    def of(cls, version: str) -> "Generation":
        """Return the generation of a release such as 0.8.4, v0.10 or 1.2. Raises UsageError for what is no release."""
        match = _VERSION.fullmatch(version)
        if match is None:
            raise UsageError(f"--spo-version must be a release such as 0.8, 0.10 or 1.0: {shown(version)}")
        number = int(match[1]), int(match[2])
        if number < (0, 4):
            raise UsageError(f"SPO {shown(version)} knows no AppArmor profiles: they came with 0.4")
        return cls.RAW if number < (0, 9) else cls.COMPLAIN_MODE if number < (1, 0) else cls.MODE

    @property
    def api_version(self) -> str:
        """The objects' apiVersion."""
        return f"{GROUP}/{'v1' if self is Generation.MODE else 'v1alpha1'}"


def check_name(name: str) -> None:
    """Raise UsageError for a name that the operator or the API would refuse."""
    if not SUBDOMAIN.fullmatch(name) or len(name) + NODE > LONGEST:
        raise UsageError(
            f"{shown(name)} can't be an object's name: DNS names of at most {LONGEST - NODE} characters can"
        )


def profile_object(
    generation: Generation,
    name: str,
    spec: Abstract | str,
    *,
    enforce: bool,
    namespace: str = "",
    notes: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return an AppArmorProfile; `spec` is the raw text for the oldest generation, else the abstract form.

    Raises UsageError for a name or size that would be refused.
    """
    check_name(name)
    metadata: dict[str, Any] = {"name": name}
    if generation is Generation.RAW:
        metadata["namespace"] = namespace or "default"
    metadata["labels"] = {"app.kubernetes.io/managed-by": "aalearn"}
    if notes:
        metadata["annotations"] = dict(sorted(notes.items()))
    found = {
        "apiVersion": generation.api_version,
        "kind": KIND,
        "metadata": metadata,
        "spec": _spec(generation, spec, enforce),
    }
    size = len(json.dumps(found))
    if size > LARGEST:
        raise UsageError(f"the object {name} would have {size:,} bytes, and the API takes {LARGEST:,}: use configmap")
    return found


def _spec(generation: Generation, spec: Abstract | str, enforce: bool) -> dict[str, Any]:
    if isinstance(spec, str):
        if generation is not Generation.RAW:
            raise ValueError("only the oldest generation takes raw text")
        return {"policy": spec}
    if generation is Generation.COMPLAIN_MODE:
        return {"abstract": spec.to_json(), "complainMode": not enforce, "disabled": False}
    return {"abstract": spec.to_json(), "mode": "Enforce" if enforce else "Complain", "state": "Enabled"}


def binding_object(generation: Generation, name: str, image: str, namespace: str) -> dict[str, Any]:
    """Return a ProfileBinding: containers of this image get the profile in namespaces that are labelled for it.

    Raises UsageError for an image that is none.
    """
    if not image or any(char.isspace() or not char.isprintable() for char in image):
        raise UsageError(f"--binding must name an image: {shown(image)!r}")
    return {
        "apiVersion": generation.api_version,
        "kind": "ProfileBinding",
        "metadata": {"name": name, "namespace": namespace or "default"},
        "spec": {"image": image, "profileRef": {"kind": KIND, "name": name}},
    }


def told(remarks: Sequence[Remark]) -> str:
    """Return remarks as an annotation's text, one a line, cut with the number of those left out."""
    lines: list[str] = []
    size = 0
    for at, remark in enumerate(remarks):
        line = shown(str(remark))
        size += len(line.encode()) + 1
        if size > _TOLD:
            return "\n".join([*lines, f"and {len(remarks) - at} more"])
        lines.append(line)
    return "\n".join(lines)
