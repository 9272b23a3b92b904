"""What SPO's `spec.abstract` can say, as a value."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, order=True)
class Remark:
    """A rule (its exact text) with what became of it, one sentence without a final stop."""

    rule: str
    why: str

    def __str__(self) -> str:
        return f"{self.rule} ({self.why})"


@dataclass(frozen=True, slots=True)
class Abstract:
    """The abstract form. Every list is a set: sorted, nothing twice (the schema's `listType: set`)."""

    executables: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()
    read_only: tuple[str, ...] = ()
    write_only: tuple[str, ...] = ()
    read_write: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    tcp: bool = False
    udp: bool = False
    raw: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return `spec.abstract` as plain values, without what is empty.

        `allowRaw` is left out where it isn't needed: false would deny nothing that is not denied already.
        """
        protocols = {key: True for key, wanted in (("allowTcp", self.tcp), ("allowUdp", self.udp)) if wanted}
        network: dict[str, Any] = {"allowRaw": True} if self.raw else {}
        parts: dict[str, dict[str, Any]] = {
            "capability": {"allowedCapabilities": self.capabilities},
            "executable": {"allowedExecutables": self.executables, "allowedLibraries": self.libraries},
            "filesystem": {
                "readOnlyPaths": self.read_only,
                "readWritePaths": self.read_write,
                "writeOnlyPaths": self.write_only,
            },
            "network": network | ({"allowedProtocols": protocols} if protocols else {}),
        }
        found = {}
        for name, part in parts.items():
            kept = {key: list(value) if isinstance(value, tuple) else value for key, value in part.items() if value}
            if kept:
                found[name] = kept
        return found


@dataclass(frozen=True, slots=True)
class Shaped:
    """The abstract form of a profile, the rules that it can't say, and those that it says more widely."""

    abstract: Abstract
    lost: tuple[Remark, ...] = ()
    widened: tuple[Remark, ...] = ()
