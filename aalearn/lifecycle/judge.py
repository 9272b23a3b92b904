"""What proofs are made with: the parser, the target's features, the base folder; and policy read from disk."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from aalearn.model.errors import UsageError
from aalearn.model.target import Target
from aalearn.model.text import shown
from aalearn.policy.ask.base import Subject
from aalearn.policy.ask.subject import subject_of
from aalearn.policy.compiler import Compiled, Parser
from aalearn.policy.decoder import BinaryProfile, decode
from aalearn.policy.features import Features, find, newest

if TYPE_CHECKING:
    from aalearn.policy.gate import Target as GateTarget

LEAST_ABI = "3.0"  # what every supported parser and kernel knows
_BINARY = b"\x04\x08\x00version\x00"  # how compiled policy begins: the name "version"


@dataclass(frozen=True, slots=True)
class Judge:
    """A parser, the features to compile for, the target that they make, and where includes are looked for.

    `base` None: /etc/apparmor.d.
    """

    parser: Parser
    features: Features
    target: Target
    base: Path | None = None
    includes: tuple[Path, ...] = ()

    @classmethod
    def find(cls, parser: str | None = None, features: Path | None = None, base: Path | None = None) -> "Judge":
        """Return the judge for a person's choices.

        Without `features` it is the least target, on every machine the same: abi 3.0. Raises PolicyError when there is
        no parser, UsageError or PolicyError for features or a base that can't be read.
        """
        found = Parser.find(parser)
        if base is not None and not base.is_dir():
            raise UsageError(f"the base folder {shown(str(base))} is no folder that can be read")
        if features is None:
            least = Features.of_abi(LEAST_ABI, base)
            return cls(found, least, least.target(found.version, LEAST_ABI), base)
        if not features.exists():
            raise UsageError(f"there is no features file or folder {shown(str(features))}")
        chosen = find(features, found.version, base)
        return cls(found, chosen, chosen.target(found.version, newest(found.version)), base)

    def gate(self, *, strict: bool = True) -> "GateTarget":
        """Return the same for the gate. Not `strict` for others' texts: what can't be enforced is a warning then."""
        from aalearn.policy.gate import Target as GateTarget  # the gate knows all kinds of rules, and few need it

        return GateTarget(self.parser, self.features, self.base, self.includes, strict)

    def compile(self, text: str | Path, *, strict: bool = True) -> "Loaded":
        """Return a text or file compiled and decoded. Raises PolicyError with the parser's words."""
        compiled = self.parser.compile(
            text, features=self.features, base=self.base, includes=self.includes, strict=strict
        )
        return Loaded.of(compiled.blob, compiled)


@dataclass(frozen=True, slots=True)
class Loaded:
    """Compiled policy, decoded. `compiled` is None where the policy came compiled, from a file or a node."""

    profiles: tuple[BinaryProfile, ...]
    compiled: Compiled | None = None

    @classmethod
    def of(cls, blob: bytes, compiled: Compiled | None = None) -> "Loaded":
        """Return the decoded policy. Raises PolicyError for a damaged blob."""
        return cls(decode(blob), compiled)

    @property
    def names(self) -> tuple[bytes, ...]:
        """The names of all profiles, children and hats, in the policy's order."""
        return tuple(profile.name for profile in self.profiles)

    def subjects(self) -> dict[bytes, Subject]:
        """Return each profile in the form that questions need, by name."""
        return {profile.name: subject_of(profile, policy=self.profiles) for profile in self.profiles}


def load(path: Path, judge: Judge) -> Loaded:
    """Return the policy of a file: profile text, or policy that is compiled already (such as a node's raw_data).

    Raises UsageError when it can't be read, PolicyError when it can't be compiled or understood.
    """
    try:
        if path.is_dir():
            raise UsageError(f"{shown(str(path))} is a folder: name a profile's file")
        with path.open("rb") as file:
            head = file.read(len(_BINARY))
            if head == _BINARY:
                return Loaded.of(head + file.read())
    except OSError as error:
        raise UsageError(f"can't read {shown(str(path))}: {error.strerror}") from None
    return judge.compile(path, strict=False)


def top(names: Sequence[bytes]) -> tuple[bytes, ...]:
    """Return the names of top profiles among `names` (no hats, no children)."""
    return tuple(name for name in names if b"//" not in name)
