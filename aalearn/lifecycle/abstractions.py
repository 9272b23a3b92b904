"""Abstractions of the base folder, offered only where two measured numbers justify them.

An abstraction saves rules: its compiled policy permits all that each of them permits. And it opens files that nothing
needed: those of a population that it newly permits. It is offered only if it saves at least `LEAST` rules, costs less
than it saves, and brings nothing else: no sensitive path, capability, socket, execution, write-and-execute pair, nor
anything whose price can't be counted. All of it is asked of the automata; the text of an abstraction is never read.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from aalearn.learn.options import Options
from aalearn.learn.population import Population
from aalearn.learn.synthesis import Synthesis, key
from aalearn.lifecycle.judge import Judge
from aalearn.lifecycle.objections import denies, objections, written_and_run
from aalearn.lifecycle.opened import Opened, opened
from aalearn.lifecycle.shelf import FOLDER, Inclusion, Shelf
from aalearn.model.errors import PolicyError, UsageError
from aalearn.model.profile import Document, Line, Profile, State
from aalearn.model.text import shown
from aalearn.policy.ask.base import Subject
from aalearn.policy.ask.subject import subject_of
from aalearn.policy.compare import covered
from aalearn.policy.decoder import BinaryProfile
from aalearn.policy.oracle import Oracle
from aalearn.policy.walks import SIDES, bits_of
from aalearn.rules.base import Rule
from aalearn.rules.file import FileRule

LEAST: Final = 5  # rules that an abstraction must save
READ_COST: Final = 0.15  # rules that a file newly opened for reading weighs as much as (generalise-and-risk: lambda_r)
WRITE_COST: Final = 3.0  # the same for writing


@dataclass(frozen=True, slots=True)
class Measure:
    """What one abstraction would do for one block, and whether it is offered.

    `rules` are the texts of the rules that it saves. The numbers of files are None where they were not counted: it
    saves too few rules, or permits all that a refused one does. `why` are the reasons against it, or both numbers where
    it is offered. `compiles` is False for one that does not compile on its own.
    """

    block: str
    name: str
    rules: tuple[str, ...]
    opens_read: int | None
    opens_write: int | None
    offered: bool
    why: str
    compiles: bool = True

    @property
    def saves(self) -> int:
        """The number of rules that it saves."""
        return len(self.rules)

    @property
    def net(self) -> float:
        """What it saves beyond what its files cost, in rules."""
        return self.saves - READ_COST * (self.opens_read or 0) - WRITE_COST * (self.opens_write or 0)


def with_abstractions(synthesis: Synthesis, options: Options, judge: Judge) -> tuple[Synthesis, tuple[Measure, ...]]:
    """Return the synthesis with the justified abstractions in place of the rules that they save, and all measures.

    Only blocks with at least `LEAST` rules that wait for nobody are looked at; rules that do wait stay as they are. The
    best net saving comes first, and the others are measured anew beside it. Raises UsageError for a container, or
    without a population; PolicyError when the profile itself does not compile.
    """
    if options.container:
        raise UsageError("a container's profile includes nothing: leave out --abstractions measured or --container")
    if options.population is None:
        raise UsageError(
            "--abstractions measured needs --root: what one opens is counted among the files that there are"
        )
    document = synthesis.document
    shelf = Shelf(document, judge)
    measures: list[Measure] = []
    evidence = dict(synthesis.evidence)
    for label, block in _labelled(document.profile):
        if len(_settled(block)) >= LEAST:
            measuring = _Measuring(label, block, document, synthesis, options.population, shelf)
            found = measuring.run()
            document = measuring.document
            measures += found
            for one in found:
                if one.offered:
                    held = {access for rule in one.rules for access in evidence.pop(key(label, rule), ())}
                    evidence[key(label, Inclusion(one.name).text())] = tuple(sorted(held))
    measures.sort(key=lambda one: (not one.offered, one.block, -one.saves, one.name))
    ordered = dict(sorted(evidence.items()))
    return replace(synthesis, document=document, evidence=ordered), tuple(measures)


def _labelled(profile: Profile, above: str = "") -> Iterator[tuple[str, Profile]]:
    """Yield each block with its whole name."""
    label = f"{above}//{profile.name}" if above else profile.name
    yield label, profile
    for inner in (*profile.children, *profile.hats):
        yield from _labelled(inner, label)


def _relined(profile: Profile, label: str, lines: tuple[Line, ...], above: str = "") -> Profile:
    """Return a profile with other lines in the block of that whole name."""
    own = f"{above}//{profile.name}" if above else profile.name
    return replace(
        profile,
        lines=lines if own == label else profile.lines,
        children=tuple(_relined(child, label, lines, own) for child in profile.children),
        hats=tuple(_relined(hat, label, lines, own) for hat in profile.hats),
    )


def _settled(block: Profile) -> dict[str, Rule]:
    """Return the rules that may be saved by an abstraction, by text: they wait for nobody and lead to no child."""
    return {
        line.rule.text(): line.rule
        for line in block.lines
        if line.state is State.ACTIVE
        and isinstance(line.rule, Rule)
        and not (isinstance(line.rule, FileRule) and line.rule.exec.startswith(("C", "c")))
    }


class _Measuring:
    """The measuring for one block. `document` is the profile with what was adopted so far."""

    def __init__(
        self,
        label: str,
        block: Profile,
        document: Document,
        synthesis: Synthesis,
        population: Population,
        shelf: Shelf,
    ) -> None:
        self.document = document
        self._label = label
        self._lines = block.lines
        self._rules = _settled(block)
        self._shelf = shelf
        self._population = population
        self._withheld = [one for one in synthesis.learned if one.withheld and one.event.profile == label.encode()]
        self._samples = _samples(synthesis, self._rules)
        self._before = self._subject(document)
        self._found: dict[str, Subject] = {}  # the abstractions that save something
        self._denying: set[str] = set()
        self._against: dict[str, tuple[str, ...]] = {}  # what speaks against one, whatever else is adopted
        self._inside: dict[str, str] = {}  # a refused one that is part of it, "" for none

    def run(self) -> list[Measure]:
        """Adopt one abstraction after the other while there is a justified one; return how each did."""
        saved, failed = self._saved()
        adopted: list[Measure] = []
        while True:
            measures = []
            for name in sorted(saved, key=self._size):
                measure, after = self._measure(name, saved[name])
                measures.append((measure, after))
            offered = [(measure, after) for measure, after in measures if measure.offered and after is not None]
            if not offered:
                return [*adopted, *(measure for measure, _ in measures), *failed]
            best, after = min(offered, key=lambda pair: (-pair[0].net, pair[0].name))
            adopted.append(best)
            self._lines = self._with(best)
            self.document = self._documented(self._lines)
            self._before = after
            saved = {name: rules - set(best.rules) for name, rules in saved.items() if name != best.name}

    def _saved(self) -> tuple[dict[str, frozenset[str]], list[Measure]]:
        """Return the rules that each abstraction saves, and the measures of those that do not compile."""
        texts = list(self._rules)
        alone = dict(zip(texts, self._shelf.rules(list(self._rules.values())), strict=True))
        saved: dict[str, frozenset[str]] = {}
        failed: list[Measure] = []
        for name, compiled in self._shelf.alone.items():
            subject = self._own(name, compiled, alone)
            if isinstance(subject, str):
                why = f"does not compile on its own: {subject}"
                failed.append(Measure(self._label, name, (), None, None, False, why, compiles=False))
            else:
                self._found[name] = subject
                saved[name] = frozenset(text for text in texts if self._saves(subject, text, alone[text]))
        return saved, failed

    def _own(self, name: str, compiled: BinaryProfile | str, alone: Mapping[str, Subject]) -> Subject | str:
        """Return an abstraction as this block has it; one that saves nothing anyway is not compiled again for that."""
        if isinstance(compiled, str):
            return compiled
        subject = subject_of(compiled)
        if any(self._saves(subject, text, rule) for text, rule in alone.items()):
            inside = self._shelf.inside(self._label, name)
            if isinstance(inside, str):
                return inside
            compiled, subject = inside, subject_of(inside)
        if denies(compiled, subject):
            self._denying.add(name)
        return subject

    def _saves(self, subject: Subject, text: str, rule: Subject) -> bool:
        """Return whether an abstraction permits all that a rule permits; a path of the rule is tried first."""
        sample = self._samples.get(text)
        if sample is not None:
            path, bits, owner = sample
            if subject.file is None:
                return False
            state = subject.file.dfa.run(subject.file.start, path)
            sides = (True,) if owner else SIDES
            if any(bits & ~subject.file.rights.allow(state, side) for side in sides):
                return False
        return covered(rule, subject)

    def _measure(self, name: str, rules: frozenset[str]) -> tuple[Measure, Subject | None]:
        """Return how an abstraction does now, and the block with it where it is offered."""
        texts = tuple(text for text in self._rules if text in rules)
        if len(texts) < LEAST:
            why = f"saves {_count(len(texts), 'rule')}, fewer than {LEAST}" if texts else "saves no rule"
            return Measure(self._label, name, texts, None, None, False, why), None
        refused = self._within(name)
        if refused:
            why = f"permits all of {FOLDER}/{shown(refused)}, which is refused"
            return Measure(self._label, name, texts, None, None, False, why), None
        subject, before = self._found[name], self._before
        files = opened(subject.file, before.file, self._population) if subject.file else Opened()
        measure = Measure(self._label, name, texts, files.read, files.write, False, "")
        reasons = [*self._forbidden(name), *_too_dear(measure, files)]
        after: Subject | None = None
        if not reasons:
            try:
                after = self._subject(self._documented(self._with(measure)))
                reasons = self._together(after)
            except PolicyError as error:
                reasons = [f"does not compile in this profile: {shown(str(error))}"]
        if reasons:
            return replace(measure, why="; ".join(reasons)), None
        return replace(measure, offered=True, why=_both(measure)), after

    def _forbidden(self, name: str) -> tuple[str, ...]:
        """Return what an abstraction brings that no number justifies; what was adopted before brings none of it."""
        known = self._against.get(name)
        if known is None:
            known = self._against[name] = objections(self._found[name], self._before)
        denying = ("holds deny rules, which are in force in complain mode too",) if name in self._denying else ()
        return (*denying, *known)

    def _within(self, name: str) -> str:
        """Return a smaller abstraction that is refused for what it brings, and all of which this one brings too."""
        if name not in self._inside:
            smaller = (other for other in sorted(self._against, key=self._size) if other != name)
            refused = (other for other in smaller if self._against[other])
            self._inside[name] = next((one for one in refused if covered(self._found[one], self._found[name])), "")
        return self._inside[name]

    def _size(self, name: str) -> tuple[int, str]:
        machine = self._found[name].file
        return machine.dfa.size if machine is not None else 0, name

    def _together(self, after: Subject) -> list[str]:
        """Return what speaks against an abstraction once it stands beside the other rules."""
        reasons = []
        if not covered(self._before, after):
            reasons.append("takes away what the profile permits")
        reasons += written_and_run(after, self._before)
        oracle = Oracle.of(after)
        permitted = [one for one in self._withheld if oracle.ask(one.event, one.access.owner).allowed]
        if permitted:
            reasons.append(f"permits what is withheld ({_count(len(permitted), 'access', 'accesses')})")
        return reasons

    def _with(self, measure: Measure) -> tuple[Line, ...]:
        """Return the block's lines with an abstraction in place of what it saves."""
        rest = [line for line in self._lines if not (line.state is State.ACTIVE and line.rule.text() in measure.rules)]
        line = Line(Inclusion(measure.name), (_both(measure),))
        includes = [line, *(other for other in rest if isinstance(other.rule, Inclusion))]
        rules = (other for other in rest if not isinstance(other.rule, Inclusion))
        return (*sorted(includes, key=lambda one: one.rule.text()), *rules)

    def _documented(self, lines: tuple[Line, ...]) -> Document:
        return replace(self.document, profile=_relined(self.document.profile, self._label, lines))

    def _subject(self, document: Document) -> Subject:
        found = self._shelf.compile(document)
        return subject_of(found[self._label.encode()], policy=found.values())


def _samples(synthesis: Synthesis, rules: Mapping[str, Rule]) -> dict[str, tuple[bytes, int, bool]]:
    """Return a path of each file rule with the bits that it grants there, and whether to the file's owner alone."""
    paths: dict[str, tuple[bytes, ...]] = {}
    for one in synthesis.judged:
        text = one.rule.text()
        paths[text] = (*paths.get(text, ()), *one.draft.paths)
    samples = {}
    for text, rule in rules.items():
        if isinstance(rule, FileRule):
            known = (rule.pattern.literal_bytes,) if rule.pattern.is_literal else paths.get(text, ())
            path = next((path for path in known if rule.pattern.matches(path)), None)
            if path is not None:
                samples[text] = path, bits_of("".join(rule.perms) + ("x" if rule.exec else "")), rule.owner
    return samples


def _too_dear(measure: Measure, files: Opened) -> list[str]:
    if measure.net > 0:
        return []
    cost = measure.saves - measure.net
    return [
        f"opens {_files(measure)} (first: {shown(files.example)}), which costs {cost:.2f} and saves {measure.saves}"
    ]


def _both(measure: Measure) -> str:
    return f"saves {_count(measure.saves, 'rule')}; opens {_files(measure)} that nothing accessed"


def _files(measure: Measure) -> str:
    return f"{_count(measure.opens_read or 0, 'file')} for reading and {measure.opens_write or 0} for writing"


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"
