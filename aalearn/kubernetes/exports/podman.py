"""`podman`: the profile with what podman run and Quadlet need to use it.

Sources: podman-run(1), podman-systemd.unit(5).
"""

from typing import ClassVar

from aalearn.kubernetes.exports.base import File, register
from aalearn.kubernetes.exports.runtimes import Runtime


@register
class Podman(Runtime):
    """podman run, and a Quadlet drop-in. Rootless podman can't use profiles."""

    format: ClassVar[str] = "podman"
    help: ClassVar[str] = "the profile, and a Quadlet drop-in that uses it"

    def configuration(self, name: str) -> File:
        where = "# /etc/containers/systemd/APP.container.d/apparmor.conf"
        text = f"{where}\n[Container]\nPodmanArgs=--security-opt=apparmor={name}\n"
        return File(f"{name}.conf", text)

    def commands(self, name: str) -> tuple[str, ...]:
        return (
            f"podman run --security-opt apparmor={name} IMAGE",
            "rootless podman applies no profile: run it as root",
        )
