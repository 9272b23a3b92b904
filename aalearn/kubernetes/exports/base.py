"""What every exporter gets and gives, and the registry of formats."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Final

from aalearn.kubernetes.spo.abstract import Remark
from aalearn.learn.synthesis import Synthesis
from aalearn.policy.gate import Question, Target
from aalearn.policy.proof import Finding, Proof

IMAGE: Final = "aalearn:latest"  # whoever builds the image names it by --image or in kustomize


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One learned profile on its way out: `name` is its versioned name, which `text` carries and `proof` is of.

    `learned` is the name that the store knows, `questions` are the learned events as this text meets them.
    """

    learned: bytes
    name: str
    text: str
    enforce: bool
    synthesis: Synthesis
    questions: tuple[Question, ...]
    proof: Proof


@dataclass(frozen=True, slots=True)
class Choice:
    """What the command line says. `target` is what renderings are compiled for."""

    target: Target
    enforce: bool = False
    namespace: str = ""
    image: str = IMAGE
    spo_version: str = "1.0"
    binding: str = ""
    selector: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class File:
    """One file of a result: its name (one safe segment) and its content. `alone`: it is no part of a stream."""

    name: str
    content: str
    alone: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """What became of one profile: rules that the format can't say, those it says more widely, and learned events that
    it would deny (`denied`), that can't be told (`unproved`), or whose rules are withheld and that it allows
    (`granted`). `notes` are further lines for a person.
    """

    learned: bytes
    name: str
    lost: tuple[Remark, ...] = ()
    widened: tuple[Remark, ...] = ()
    denied: tuple[Finding, ...] = ()
    unproved: tuple[Finding, ...] = ()
    granted: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Exported:
    """A whole result. `stream` is how the files stand on stdout: "yaml" (documents) or "text" (only one fits)."""

    files: tuple[File, ...]
    reports: tuple[Report, ...] = ()
    stream: str = "text"
    notes: tuple[str, ...] = field(default=())


class Exporter(ABC):
    """One format. `takes_none` ones need no profile."""

    format: ClassVar[str]
    help: ClassVar[str]
    takes_none: ClassVar[bool] = False

    @abstractmethod
    def export(self, profiles: Sequence[Outgoing], choice: Choice) -> Exported:
        """Return the result. Raises UsageError for a choice that can't be, PolicyError where a rendering fails."""


FORMATS: dict[str, Exporter] = {}


def register(cls: type[Exporter]) -> type[Exporter]:
    """Class decorator: add a format to FORMATS. Raises TypeError for a name that exists already."""
    if cls.format in FORMATS:
        raise TypeError(f"{cls.__name__}: the format {cls.format} exists already")
    FORMATS[cls.format] = cls()
    return cls
