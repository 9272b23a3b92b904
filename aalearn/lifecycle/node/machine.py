"""The places of one machine, all of them to be chosen, so that a test or a mounted host can stand in for this one."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from aalearn.lifecycle.judge import Judge
from aalearn.lifecycle.node.kernel import Kernel, RealKernel
from aalearn.model.errors import PolicyError
from aalearn.policy.compiler import Parser
from aalearn.policy.decoder import pieces
from aalearn.policy.features import BASE
from aalearn.policy.loaded import NODE, Loaded

BACKUPS: Final = Path("/var/lib/aalearn-apply")  # root's alone at every level, so not below the service's own folder
OLD_BACKUPS: Final = Path("/var/lib/aalearn/backups")  # where they were first: the service could plant some there
PROC: Final = Path("/proc")
PARAMETERS: Final = Path("/sys/module/apparmor/parameters")


@dataclass(frozen=True, slots=True)
class Machine:
    """One machine.

    `profiles` is its policy folder, `securityfs` apparmor's folder of its securityfs, `backups` root's own folder of
    what was applied. `parser` is the apparmor_parser as a shell command (None: the installed one). `parameters` is the
    folder of AppArmor's module parameters.
    """

    kernel: Kernel
    profiles: Path = BASE
    securityfs: Path = NODE
    proc: Path = PROC
    backups: Path = BACKUPS
    parser: str | None = None
    parameters: Path = PARAMETERS

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

    def overruled(self) -> str:
        """Return the mode that every profile has whatever it says (`apparmor.mode=` of the kernel's command line).

        "" for enforce, that is, each its own, and where it can't be read.
        """
        try:
            mode = (self.parameters / "mode").read_text("ascii", "replace").strip()
        except OSError:
            return ""
        return "" if mode == "enforce" else mode

    def loaded(self, *profiles: bytes) -> tuple[Loaded, ...]:
        """Return profiles with their children and hats as they are loaded in the root namespace, parents first."""
        there = [one for one in self.kernel.loaded() if not one.namespace]
        found = [one for one in there if any(is_of(one.name, profile) for profile in profiles)]
        return tuple(sorted(found, key=lambda one: (one.name.count(b"//"), one.name)))

    def running(self, *profiles: bytes) -> bytes | None:
        """Return the policy that the kernel runs for profiles, as one load that would bring them back; None: none.

        Raises PolicyError where the kernel keeps no raw data.
        """
        parts: dict[str, bytes] = {}
        there = self.loaded(*profiles)
        names = {one.name for one in there}
        for one in there:
            if one.blob is None:
                raise PolicyError("the kernel keeps no raw data (export_binary is off)")
            if {name for name, _ in pieces(one.blob)} <= names:
                parts.setdefault(one.sha256, one.blob)
            else:  # others came with it, and may have been replaced since
                parts[one.name.decode("utf-8", "surrogateescape")] = _piece(one.blob, one.name)
        return b"".join(parts.values()) or None


def _piece(blob: bytes, name: bytes) -> bytes:
    return next((part for found, part in pieces(blob) if found == name), b"")


def is_of(name: bytes, profile: bytes) -> bool:
    """Return whether a loaded profile is the one of that name, or a child or hat of it."""
    return (name == profile or name.startswith(profile + b"//")) and b"//null-" not in name
