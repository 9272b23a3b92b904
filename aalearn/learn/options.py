"""What a person or a caller chooses for a synthesis, as values."""

from dataclasses import dataclass, field
from enum import StrEnum

from aalearn.learn.population import Population
from aalearn.model.target import Target
from aalearn.rules.file import FileRule


class Action(StrEnum):
    """What a person decided on a rule (`aalearn review`, `--approve`)."""

    ACCEPT = "accept"  # the rule is right: it needs no further run
    DENY = "deny"  # the rule shall not be in the profile, although it was asked for
    GENERALISE = "generalise"  # the recognisers may type this path although it is on the never-across list
    OWNER = "owner"  # the rule is right for the owner of the file alone
    APPROVE = "approve"  # a tier 1 grant, approved by name with a reason


class Mode(StrEnum):
    """What becomes of rules that wait for a person."""

    DEFAULT = "default"  # tier 1 withheld, the others active in the marked block
    ALL = "all"  # everything is active
    ACCEPTED = "accepted"  # whatever waits is left out


@dataclass(frozen=True, slots=True)
class Decision:
    """One decision of a person. `rule` is the rule's exact text, with its final comma; `when` is ms since the epoch."""

    rule: str
    action: Action
    who: str = ""
    when: int = 0
    why: str = ""


@dataclass(frozen=True, slots=True)
class Quorum:
    """How much evidence stands in for a person (generalise-and-risk §4).

    A rule is accepted on its own once `runs` different runs needed it. `owner_events` is the least number of events for
    `owner`. `names_per_folder` caps the distinct new names that one run may bring into one folder (a flood beyond it is
    withheld and shown; beyond twice as many it is only counted). `names` caps the file names of a profile.
    """

    runs: int = 2
    owner_events: int = 3
    names_per_folder: int = 200
    names: int = 20_000


@dataclass(frozen=True, slots=True)
class Options:
    """How to synthesise.

    `container`: no includes, variables inline, every exec stays in the profile. `include_denied`: DENIED events are
    evidence too, and marked. `complain`: the text carries the complain flag. `population`: the files that there are, or
    None. `loaded`: (path of a program, name of its profile) pairs proven loaded on every target node. `attachment` is
    policy text already spelled; `flags` are further flags that a person asked for. `previous`:
    (block's whole name, file rule) pairs of the revision before, whose patterns stay where they still rest on events,
    so that more events never narrow a rule. `shared`: paths that other profiles touch, or None where that is not
    known (then there are no data roots). `host_agent`: kubelet's own tree may be typed. `literal`: no sibling types
    anything. `max_children` is the number of named exec targets that a compiled profile can hold, `max_file_rules`
    what compiles in reasonable time (policy-language §2).
    """

    target: Target = field(default_factory=Target)
    container: bool = False
    include_denied: bool = False
    complain: bool = False
    population: Population | None = None
    decisions: tuple[Decision, ...] = ()
    mode: Mode = Mode.DEFAULT
    quorum: Quorum = field(default_factory=Quorum)
    loaded: tuple[tuple[bytes, str], ...] = ()
    attachment: str | None = None
    flags: tuple[str, ...] = ()
    previous: tuple[tuple[str, FileRule], ...] = ()
    shared: frozenset[bytes] | None = None
    host_agent: bool = False
    literal: bool = False
    max_children: int = 12
    max_file_rules: int = 1500
