"""Proposals for a profile that exists on disk: only what it lacks, and nothing of it touched that need not be."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from aalearn.grammar.profiles import Include, ProfileBlock, insert_rules, read_profiles
from aalearn.grammar.writer import write_block, write_local
from aalearn.learn.options import Options
from aalearn.learn.synthesis import Synthesis
from aalearn.lifecycle import grounds
from aalearn.lifecycle.judge import Judge, Loaded
from aalearn.lifecycle.lacking import lacking
from aalearn.lifecycle.proposal import Form, Proposal, questions, vouched, whole
from aalearn.lifecycle.replay import Fate, Reply
from aalearn.model.errors import BadInput, PolicyError, UsageError
from aalearn.model.event import Access
from aalearn.model.profile import Document, Line
from aalearn.model.text import shown
from aalearn.policy.gate import Question, prove

_LARGEST = 4 << 20  # bytes: no profile file is so large
_LEFTOVERS = (".dpkg-new", ".dpkg-old", ".dpkg-dist", ".dpkg-bak", ".rpmnew", ".rpmsave", ".orig", ".rej", ".bak", "~")
_TUNABLES = "tunables/global"  # what defines the variables that rules use
# How the comment of a text begins that aalearn wrote as a whole.
_OURS = ("# Learned by aalearn ", "# Drafted by aalearn to learn from")


@dataclass(frozen=True, slots=True)
class Found:
    """A profile on disk: its file, the file's text, its own block there, and what the file compiles to."""

    file: Path
    text: str
    block: ProfileBlock
    loaded: Loaded

    @property
    def ours(self) -> bool:
        """Whether aalearn wrote the whole file, so that it may be written anew as a whole."""
        return any(line.startswith(_OURS) for line in self.text.splitlines()[:20])

    @property
    def attachment(self) -> str | None:
        """The attachment as policy text, None where the name is all there is. UsageError where it uses variables."""
        written = self.block.attachment
        if written is not None and "@{" in written:
            hint = "name the program with --exe PATH"
            raise UsageError(f"{shown(str(self.file))} attaches by variables ({shown(written)}): {hint}")
        return written


def find(name: bytes, base: Path, judge: Judge) -> tuple[Found | None, tuple[str, ...]]:
    """Return the profile `name` among the files of `base`, None when there is none, and a line for each unread file.

    A file that is disabled (its name stands in `base`/disable) counts only where no other defines the profile. Raises
    PolicyError when its own file does not compile, UsageError when `base` can't be read or two files define the
    profile.
    """
    skipped: list[str] = []
    try:
        files = sorted(path for path in base.iterdir() if path.is_file() and not _left_over(path.name))
    except FileNotFoundError:
        return None, ()
    except OSError as error:
        raise UsageError(f"can't read the profiles of {shown(str(base))}: {error.strerror}") from None
    found: list[tuple[Path, str, ProfileBlock]] = []
    for file in files:
        try:
            text = _read(file)
            inside = read_profiles(text).profiles
        except BadInput as error:
            skipped.append(f"{shown(str(file))} is left out: {error}")
            continue
        block = next((block for block in inside if _is_called(block, name, file, judge)), None)
        if block is not None:
            found.append((file, text, block))
    if not found:
        return None, tuple(skipped)
    file, text, block = _only(name, base, found)
    return Found(file, text, block, judge.compile(file, strict=False)), tuple(skipped)


def _only(name: bytes, base: Path, found: Sequence[tuple[Path, str, ProfileBlock]]) -> tuple[Path, str, ProfileBlock]:
    """Return the one file that defines a profile, of several the one that is not disabled. Raises UsageError."""
    enabled = (
        found if len(found) == 1 else [one for one in found if not os.path.lexists(base / "disable" / one[0].name)]
    )
    if len(enabled) != 1:
        files = " and ".join(shown(str(one[0])) for one in enabled or found)
        hint = f"remove all but one, or disable them by links of their names in {shown(str(base / 'disable'))}"
        raise UsageError(f"the profile {shown(name)} is defined in {files}: {hint}")
    return enabled[0]


def _left_over(name: str) -> bool:
    return name.startswith(".") or name.endswith(_LEFTOVERS)


def _read(file: Path) -> str:
    try:
        if file.stat().st_size > _LARGEST:
            raise BadInput("it is too large for a profile")
        return file.read_bytes().decode("utf-8", "surrogateescape")
    except OSError as error:
        raise BadInput(f"it can't be read: {error.strerror}") from None


def _is_called(block: ProfileBlock, name: bytes, file: Path, judge: Judge) -> bool:
    """Return whether a block is the profile `name`. Variables in a name are only known once it is compiled."""
    if os.fsencode(block.path) == name:
        return True
    if "@{" not in block.path:
        return False
    try:
        return name in judge.compile(file, strict=False).names
    except PolicyError:
        return False


def again(
    name: bytes, accesses: Sequence[Access], options: Options, judge: Judge, found: Found, *, measured: bool = False
) -> Proposal:
    """Return a whole new text for a profile that exists; the proof shows how it differs from the old one.

    `measured` and errors as in `proposal.whole`.
    """
    return whole(name, accesses, options, judge, file=found.file, previous=found.text, measured=measured)


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
        before = _read(file).rstrip("\n") if file.exists() else ""
    except BadInput as error:
        raise UsageError(f"{shown(str(file))}: {error}") from None
    return f"{before}\n\n{added}" if before else added
