"""A profile on disk: which file of the policy folder defines it. No more is loaded for that than it takes."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from aalearn.grammar.profiles import ProfileBlock, read_profiles
from aalearn.lifecycle.judge import Judge, Loaded
from aalearn.model.errors import BadInput, PolicyError, UsageError
from aalearn.model.text import shown

_LARGEST = 4 << 20  # bytes: no profile file is so large
_LEFTOVERS = (".dpkg-new", ".dpkg-old", ".dpkg-dist", ".dpkg-bak", ".rpmnew", ".rpmsave", ".orig", ".rej", ".bak", "~")
# How the comment of a text begins that aalearn wrote as a whole.
_DRAFTED = "# Drafted by aalearn to learn from"
_OURS = ("# Learned by aalearn ", _DRAFTED)


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
    def drafted(self) -> bool:
        """Whether it is a learning profile, which permits next to nothing and forbids nothing."""
        return any(line.startswith(_DRAFTED) for line in self.text.splitlines()[:20])

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
            text = read(file)
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


def read(file: Path) -> str:
    """Return a profile file's text. Raises BadInput when it can't be read, or is too large for one."""
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
