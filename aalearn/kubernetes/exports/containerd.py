"""`containerd`: the profile with what ctr, nerdctl and the CRI need to use it.

Sources: ctr and nerdctl run, the CRI's api.proto (LinuxContainerSecurityContext).
"""

import json
from typing import ClassVar

from aalearn.kubernetes.exports.base import File, register
from aalearn.kubernetes.exports.runtimes import Runtime


@register
class Containerd(Runtime):
    """ctr run, nerdctl, and the CRI's container configuration (for crictl)."""

    format: ClassVar[str] = "containerd"
    help: ClassVar[str] = "the profile, and the part of a CRI container configuration that uses it"

    def configuration(self, name: str) -> File:
        apparmor = {"profile_type": 2, "localhost_ref": name}  # SecurityProfile.ProfileType Localhost
        part = {"linux": {"security_context": {"apparmor": apparmor, "apparmor_profile": f"localhost/{name}"}}}
        return File(f"{name}.container.json", json.dumps(part, indent=2) + "\n")

    def commands(self, name: str) -> tuple[str, ...]:
        return (
            f"ctr run --apparmor-profile {name} IMAGE ID",
            f"nerdctl run --security-opt apparmor={name} IMAGE",
            f"crictl: merge {name}.container.json into the container's configuration",
        )
