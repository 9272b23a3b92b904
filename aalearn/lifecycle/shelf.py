"""The abstractions of a base folder, compiled; and rules compiled one by one, to be compared with them."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Final

from aalearn.grammar.writer import write, write_block
from aalearn.lifecycle.judge import Judge
from aalearn.model.errors import NotExpressible, PolicyError
from aalearn.model.profile import Document, Line, Profile
from aalearn.model.text import shown
from aalearn.policy.ask.base import Subject
from aalearn.policy.ask.subject import subject_of
from aalearn.policy.decoder import BinaryProfile, decode
from aalearn.policy.features import BASE
from aalearn.rules.base import Rule

_LEFTOVERS: Final = (".dpkg-new", ".dpkg-old", ".dpkg-dist", ".dpkg-bak", ".rpmnew", ".rpmsave", ".orig", ".bak", "~")
_ALONE: Final = "x"  # the profile in which an abstraction is compiled on its own
FOLDER: Final = "abstractions"


@dataclass(frozen=True, slots=True)
class Inclusion:
    """The statement that includes an abstraction; it stands where a rule stands."""

    name: str

    kind: ClassVar[str] = "include"

    def text(self) -> str:
        """Return the statement, which ends without a comma."""
        return f"include <{FOLDER}/{self.name}>"


class Shelf:
    """The abstractions of the base folder, each compiled alone, for the same target and with the same preamble."""

    def __init__(self, document: Document, judge: Judge) -> None:
        self._document = replace(document, comments=())
        self._judge = judge
        self.names = _names((judge.base or BASE) / FOLDER)
        with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
            self.alone = dict(zip(self.names, pool.map(self._alone, self.names), strict=True))

    def _alone(self, name: str) -> BinaryProfile | str:
        return self.inside(_ALONE, name)

    def inside(self, label: str, name: str) -> BinaryProfile | str:
        """Return an abstraction compiled as all that the block `label` has, or why that can't be done.

        The name of the block matters where an abstraction says @{profile_name}.
        """
        profile = Profile(label, (Line(Inclusion(name)),))
        try:
            return self.compile(replace(self._document, profile=profile))[label.encode()]
        except (PolicyError, NotExpressible) as error:
            return shown(str(error))

    def compile(self, document: Document, more: str = "") -> dict[bytes, BinaryProfile]:
        """Return the compiled profiles of a document with `more` text behind it, by name. Raises PolicyError."""
        blob = self._judge.gate().compile(write(document) + more).blob
        return {profile.name: profile for profile in decode(blob)}

    def rules(self, rules: Sequence[Rule]) -> tuple[Subject, ...]:
        """Return each rule compiled as a profile of its own, by one call of the parser. Raises PolicyError."""
        blocks = (
            write_block(Profile(f"r{number}", (Line(rule),)), hat=False, title="r") for number, rule in enumerate(rules)
        )
        found = self.compile(replace(self._document, profile=Profile(_ALONE)), "".join(blocks))
        return tuple(subject_of(found[f"r{number}".encode()]) for number in range(len(rules)))


def _names(folder: Path) -> tuple[str, ...]:
    """Return the names of all abstractions of a folder and its sub-folders, as includes spell them, sorted."""
    found: list[str] = []
    for path, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            file = Path(path) / name
            if not name.startswith(".") and not name.endswith(_LEFTOVERS) and file.is_file():
                found.append(str(file.relative_to(folder)))
    return tuple(sorted(found))
