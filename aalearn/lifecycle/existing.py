"""Proposals for a profile that exists on disk: only what it lacks, and nothing of it touched that need not be."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from aalearn.grammar.profiles import Include, ProfileBlock, insert_rules
from aalearn.grammar.writer import write_block, write_local
from aalearn.learn.options import Options
from aalearn.learn.synthesis import Synthesis
from aalearn.lifecycle import grounds
from aalearn.lifecycle.finding import Found, find, read
from aalearn.lifecycle.judge import Judge
from aalearn.lifecycle.lacking import lacking
from aalearn.lifecycle.proposal import Form, Proposal, questions, vouched, whole
from aalearn.lifecycle.replay import Fate, Reply
from aalearn.model.errors import BadInput, UsageError
from aalearn.model.event import Access
from aalearn.model.profile import Document, Line
from aalearn.model.text import shown
from aalearn.policy.gate import Question, prove

__all__ = ["Found", "again", "find", "missing"]

_TUNABLES = "tunables/global"  # what defines the variables that rules use


def again(
    name: bytes, accesses: Sequence[Access], options: Options, judge: Judge, found: Found, *, measured: bool = False
) -> Proposal:
    """Return a whole new text for a profile that exists; the proof shows how it differs from the old one.

    A learning profile is nothing to compare with. `measured` and errors as in `proposal.whole`.
    """
    previous = None if found.drafted else found.text
    return whole(name, accesses, options, judge, file=found.file, previous=previous, measured=measured)


def missing(name: bytes, accesses: Sequence[Access], options: Options, judge: Judge, found: Found) -> Proposal:
    """Return what a profile on disk lacks: content of its local include, or else the file with the least edit.

    Where both its own block and others lack something, or it includes no local file, it is the edit. Raises PolicyError
    when the new text does not compile (an execution that another rule gives another mode, for instance).
    """
    synthesis, replies = lacking(name, accesses, options, found.loaded.subjects())
    additions = _Additions(synthesis.document, found)
    form, text, whole_text, file = Form.NOTHING, "", found.text, found.file
    if additions:
        include = _local(found.block)
        if include is not None and not additions.elsewhere:
            form, file = Form.LOCAL, _local_file(judge, found.file, include)
            text = _local_text(file, additions.own, synthesis)
            whole_text = f"{found.text[: include.at]}\n{text}{found.text[include.end :]}"
        else:
            form = Form.EDIT
            text = whole_text = additions.edited(synthesis.document.comments)
    asked = (*questions(synthesis.learned), *_kept(replies))
    proof = prove(
        whole_text,
        asked,
        judge.gate(strict=False),
        previous=found.text,
        baseline=found.text,
        vouched=vouched(synthesis, options),
    )
    return Proposal(form, text, synthesis, proof, file, additions.rules)


def _kept(replies: Sequence[Reply]) -> Iterator[Question]:
    """Yield what the profile permits already, to be asked of the new text too."""
    for reply in replies:
        if reply.fate is Fate.ALLOWED:
            block = reply.event.profile.decode("utf-8", "surrogateescape")
            access = reply.access
            yield Question(block, reply.event, access.owner, access.count, access.sample)


class _Additions:
    """What is to be added, by block of the file: rules for blocks that are there, and whole new blocks."""

    def __init__(self, document: Document, found: Found) -> None:
        wanted, top = document.profile, found.block
        self._text, self._top, self._title = found.text, top, wanted.name
        there = {block.path for block in top.walk()}
        self.own: tuple[Line, ...] = wanted.lines
        self._others: list[tuple[str, tuple[Line, ...]]] = []
        self._new: list[str] = []
        for inner in (*wanted.children, *wanted.hats):
            path = f"{top.path}//{inner.name}"
            if path in there:
                self._others.append((path, inner.lines))
            else:
                self._new.append(write_block(inner, hat=inner in wanted.hats, title=wanted.name))
        self._preamble = _preamble(document, found.text)
        self.rules = tuple((block, line.rule.text()) for block, line in grounds.blocks(wanted))

    def __bool__(self) -> bool:
        return bool(self.own or self.elsewhere)

    @property
    def elsewhere(self) -> bool:
        """Whether another place than the profile's own block is concerned."""
        return bool(self._preamble or self._new or any(lines for _, lines in self._others))

    def edited(self, comments: Sequence[str]) -> str:
        """Return the file's text with all additions and nothing else changed."""
        text = self._text
        for path, lines in self._others:
            if lines:
                text = insert_rules(text, path, ["", *write_local(lines, (), self._title).splitlines()])
        own = ["", *write_local(self.own, comments, self._title).splitlines()] if self.own else []
        for new in self._new:
            own += ["", *new.splitlines()]
        if own:
            text = insert_rules(text, self._top.path, own)
        at = self._top.header_at
        return text[:at] + "".join(f"{line}\n" for line in self._preamble) + text[at:]


def _preamble(document: Document, text: str) -> list[str]:
    """Return the lines that the file lacks before its profile, so that the variables of new rules are known."""
    if not any("@{" in line.rule.text() for _, line in grounds.blocks(document.profile)):
        return []
    lines = [] if _TUNABLES in text else [f"include <{_TUNABLES}>"]
    return lines + [
        f"@{{{name}}} = {' '.join(values)}" for name, values in document.variables if f"@{{{name}}}" not in text
    ]


def _local(block: ProfileBlock) -> Include | None:
    return next((include for include in block.includes if include.local and include.local == block.local), None)


def _local_file(judge: Judge, file: Path, include: Include) -> Path:
    """Return the file of a local include. Raises UsageError for one that climbs out of the base folder."""
    name = include.local
    if name is None or ".." in include.path.split("/"):
        raise UsageError(f"{shown(str(file))} includes {shown(include.path)}: such a file is not written")
    return (judge.base or file.parent) / name


def _local_text(file: Path, lines: Sequence[Line], synthesis: Synthesis) -> str:
    """Return the whole new content of a local file: what it holds already, then what is added."""
    added = write_local(lines, synthesis.document.comments, synthesis.document.profile.name)
    try:
        before = read(file).rstrip("\n") if file.exists() else ""
    except BadInput as error:
        raise UsageError(f"{shown(str(file))}: {error}") from None
    return f"{before}\n\n{added}" if before else added
