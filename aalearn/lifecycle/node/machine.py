"""The places of one machine, all of them to be chosen, so that a test or a mounted host can stand in for this one."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from aalearn.lifecycle.judge import Judge
from aalearn.lifecycle.node.kernel import Kernel, RealKernel
from aalearn.model.errors import PolicyError
from aalearn.policy.compiler import Parser
from aalearn.policy.features import BASE
from aalearn.policy.loaded import NODE, Loaded

BACKUPS: Final = Path("/var/lib/aalearn-apply")  # root's alone at every level, so not below the service's own folder
OLD_BACKUPS: Final = Path("/var/lib/aalearn/backups")  # where they were first: the service could plant some there
PROC: Final = Path("/proc")


@dataclass(frozen=True, slots=True)
class Machine:
    """One machine.

    `profiles` is its policy folder, `securityfs` apparmor's folder of its securityfs, `backups` root's own folder of
    what was applied. `parser` is the apparmor_parser as a shell command (None: the installed one).
    """

    kernel: Kernel
    profiles: Path = BASE
    securityfs: Path = NODE
    proc: Path = PROC
    backups: Path = BACKUPS
    parser: str | None = None

    @classmethod
    def real(
        cls,
        profiles: Path = BASE,
        securityfs: Path = NODE,
        proc: Path = PROC,
        backups: Path = BACKUPS,
        parser: str | None = None,
    ) -> Self:
        """Return the machine with a real kernel. Raises PolicyError when there is no parser."""
        kernel = RealKernel(securityfs, Parser.find(parser).command)
        return cls(kernel, profiles, securityfs, proc, backups, parser)

    def judge(self) -> Judge:
        """Return what compiles for this very kernel; without AppArmor in it, for the least target.

        Raises PolicyError or UsageError as `Judge.find`.
        """
        features = self.securityfs / "features"
        return Judge.find(self.parser, features if features.exists() else None, self.profiles)

    def loaded(self, profile: bytes) -> tuple[Loaded, ...]:
        """Return the profile with its children and hats as they are loaded in the root namespace, parents first."""
        found = [one for one in self.kernel.loaded() if not one.namespace and _is_of(one.name, profile)]
        return tuple(sorted(found, key=lambda one: (one.name.count(b"//"), one.name)))

    def running(self, profile: bytes) -> bytes | None:
        """Return the policy that the kernel runs for the profile, as one load that would bring it back; None: none.

        Raises PolicyError where the kernel keeps no raw data.
        """
        parts: dict[str, bytes] = {}
        for one in self.loaded(profile):
            if one.blob is None:
                raise PolicyError("the kernel keeps no raw data (export_binary is off)")
            parts.setdefault(one.sha256, one.blob)
        return b"".join(parts.values()) or None


def _is_of(name: bytes, profile: bytes) -> bool:
    return (name == profile or name.startswith(profile + b"//")) and b"//null-" not in name
