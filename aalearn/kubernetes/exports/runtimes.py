"""What the formats of single runtimes share: the profile, and the exact words that make a runtime use it."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Final

from aalearn.kubernetes.exports.base import Choice, Exported, Exporter, File, Outgoing, Report

FOLDER: Final = "/etc/apparmor.d"


def load_command(name: str) -> str:
    """Return the command by which root puts a profile's file in its place and loads it."""
    return f"install -m 0644 {name} {FOLDER}/{name} && apparmor_parser --replace {FOLDER}/{name}"


def report(one: Outgoing, *how: str) -> Report:
    """Return the report on one profile, with how to load and to use it."""
    return Report(one.learned, one.name, notes=(f"as root on each node: {load_command(one.name)}", *how))


class Runtime(Exporter):
    """A profile's file, a file of the runtime's own configuration, and the commands."""

    def export(self, profiles: Sequence[Outgoing], _choice: Choice) -> Exported:
        files: list[File] = []
        for one in profiles:
            files += [File(one.name, one.text), self.configuration(one.name)]
        return Exported(tuple(files), tuple(report(one, *self.commands(one.name)) for one in profiles))

    @abstractmethod
    def configuration(self, name: str) -> File:
        """Return the runtime's own file that names the profile."""

    @abstractmethod
    def commands(self, name: str) -> tuple[str, ...]:
        """Return how to use the profile, one line each."""
