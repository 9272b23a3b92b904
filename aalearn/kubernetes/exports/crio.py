"""`crio`: the profile with the drop-in that makes CRI-O use it for containers that name none.

Source: crio.conf(5).
"""

from typing import ClassVar

from aalearn.kubernetes.exports.base import File, register
from aalearn.kubernetes.exports.runtimes import Runtime


@register
class Crio(Runtime):
    """CRI-O's drop-in, which makes the profile that of every container without one of its own."""

    format: ClassVar[str] = "crio"
    help: ClassVar[str] = "the profile, and a drop-in that makes it the default of the node"

    def configuration(self, name: str) -> File:
        head = (
            "# /etc/crio/crio.conf.d/10-apparmor.conf: for every container that names no profile; then restart crio\n"
        )
        return File(f"{name}.crio.conf", f'{head}[crio.runtime]\napparmor_profile = "{name}"\n')

    def commands(self, name: str) -> tuple[str, ...]:
        return (f"a Pod names it by appArmorProfile: {{type: Localhost, localhostProfile: {name}}}",)
