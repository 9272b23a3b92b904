"""`docker`: the profile with what docker run and Compose need to use it.

Sources: docker run, the Compose specification (`security_opt`).
"""

from typing import ClassVar

from aalearn.kubernetes.exports.base import File, register
from aalearn.kubernetes.exports.runtimes import Runtime
from aalearn.kubernetes.exports.yaml import dump


@register
class Docker(Runtime):
    """docker run, and a Compose service."""

    format: ClassVar[str] = "docker"
    help: ClassVar[str] = "the profile, and a Compose file that uses it"

    def configuration(self, name: str) -> File:
        service = {"services": {"app": {"security_opt": [f"apparmor={name}"]}}}
        return File(
            f"{name}.compose.yaml",
            "# docker compose -f compose.yaml -f THIS up; app is the service\n" + dump([service]),
        )

    def commands(self, name: str) -> tuple[str, ...]:
        return (f"docker run --security-opt apparmor={name} IMAGE",)
