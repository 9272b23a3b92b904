"""What an AppArmor kernel can do: read from a node, from a saved file, from an installed abi or from our own table.

The text form is the one of `/etc/apparmor.d/abi/*` and of `apparmor_parser -M`: `name {words or further names}`, where
each file below `/sys/kernel/security/apparmor/features` is a name with its words and each folder a name with names
(source: libapparmor's features.c).
"""

import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

from aalearn.model.data import words
from aalearn.model.errors import PolicyError
from aalearn.model.target import Target
from aalearn.model.text import shown

NODE: Final = Path("/sys/kernel/security/apparmor/features")
BASE: Final = Path("/etc/apparmor.d")
_LARGEST: Final = 8191  # bytes: what libapparmor's buffer takes
_WORD: Final = re.compile(r"[{}]|[^\s{}]+")
Tree: TypeAlias = dict[str, "Tree"]


@dataclass(frozen=True, slots=True)
class Features:
    """The features of one kernel or abi. `source` says where they come from; `identity` is a sha256 of `text`."""

    text: str
    source: str = field(compare=False)
    tree: Tree = field(compare=False, repr=False)

    @property
    def identity(self) -> str:
        """The sha256 of the text, in hexadecimal."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def has(self, path: str) -> bool:
        """Return whether the features hold `path` (names and at the end perhaps a word, joined by slashes)."""
        tree = self.tree
        for name in path.split("/"):
            if name not in tree:
                return False
            tree = tree[name]
        return True

    @staticmethod
    def parse(text: str, source: str) -> "Features":
        """Return the features that `text` spells. Raises PolicyError when it is not such a text, or too large."""
        if len(text) > _LARGEST:
            raise PolicyError(f"{source} is too large for a features file ({len(text)} characters, {_LARGEST} at most)")
        if not text.isascii():
            raise PolicyError(f"{source} is not a features file: it holds characters outside of ASCII")
        stack: list[Tree] = [{}]
        last: Tree | None = None
        for word in _WORD.findall(text):
            if word == "}":
                stack.pop()
                last = None
            elif word == "{":
                if last is None:
                    raise PolicyError(f"{source} is not a features file: a brace opens without a name")
                stack.append(last)
                last = None
            else:
                last = stack[-1].setdefault(word, {})
            if not stack:
                raise PolicyError(f"{source} is not a features file: a brace closes that none opened")
        if len(stack) != 1 or not stack[0] or any(not tree for tree in stack[0].values()):
            raise PolicyError(f"{source} is not a features file (as /etc/apparmor.d/abi/3.0 is one)")
        return Features(text, source, stack[0])

    @staticmethod
    def of_file(path: Path) -> "Features":
        """Return the features saved in the file `path`. Raises PolicyError when it can't be read or is none."""
        name = shown(str(path))
        try:
            with path.open("rb") as file:
                content = file.read(_LARGEST + 2)
        except OSError as error:
            raise PolicyError(f"the features file {name} can't be read: {error.strerror}") from error
        return Features.parse(content.decode("latin-1"), name)

    @staticmethod
    def of_node(folder: Path = NODE) -> "Features":
        """Return the features that a node's kernel shows below `folder`. Raises PolicyError when it can't be read."""
        try:
            return Features.parse(_spelled_folder(folder), shown(str(folder)))
        except OSError as error:
            raise PolicyError(f"the node's features {shown(str(folder))} can't be read: {error.strerror}") from error

    @staticmethod
    def of_abi(name: str, base: Path | None = None, includes: tuple[Path, ...] = ()) -> "Features":
        """Return abi `name` ("3.0"): as installed in one of `includes` or `base`, else from our own table.

        Raises PolicyError for an abi that neither has.
        """
        for folder in (*includes, base or BASE):
            if (folder / "abi" / name).is_file():
                return Features.of_file(folder / "abi" / name)
        return shipped(name)

    def target(self, parser: tuple[int, int], abi: str, policy: "Features | None" = None) -> Target:
        """Return the target whose kernel these are, for profiles with the line `abi <abi/ABI>,`.

        `policy` are the features of that abi (default: those of our table); a class is mediated when both have it.
        """
        policy = policy or Features.of_abi(abi)
        table = words("features")
        since = {kind: tuple(version) for kind, version in table["since"].items()}
        mediates = frozenset(
            kind
            for kind, path in table["mediates"].items()
            if self.has(path) and policy.has(path) and parser >= since.get(kind, (0, 0))
        )
        fine = "network_v8/af_inet"
        return Target(abi, parser, mediates, self.has(fine) and policy.has(fine) and parser >= (4, 0))


ABIS: Final = ("3.0", "4.0")


def shipped(name: str) -> Features:
    """Return abi `name` from our own table. Raises PolicyError for one that it does not have."""
    table = words("features")
    if name not in ABIS:
        raise PolicyError(f"abi {shown(name)} is unknown and not installed; known are {' and '.join(ABIS)}")
    return Features.parse(_spelled(_merged(table["common"], table[name])), f"aalearn's own abi {name}")


def find(given: Path | None, parser: tuple[int, int], base: Path | None = None) -> Features:
    """Return the features to compile for: those of `given` (a file, or a folder as a node shows it), else of this
    node's kernel, else of the newest abi that the parser's version knows.
    """
    if given is not None:
        return Features.of_node(given) if given.is_dir() else Features.of_file(given)
    if NODE.is_dir():
        return Features.of_node()
    return Features.of_abi(newest(parser), base)


def newest(parser: tuple[int, int]) -> str:
    """Return the newest abi that profiles for a parser of this version can name."""
    return "4.0" if parser >= (4, 0) else "3.0"


def _spelled_folder(folder: Path) -> str:
    parts = []
    for entry in sorted(folder.iterdir(), key=lambda path: path.name):
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            inner = _spelled_folder(entry)
        else:
            with entry.open("rb") as file:
                inner = file.read(_LARGEST + 1).decode("latin-1")
        parts.append(f"{entry.name} {{{inner}}}\n")
    return "".join(parts)


def _spelled(tree: dict[str, Any]) -> str:
    parts = []
    for name, inner in sorted(tree.items()):
        parts.append(f"{name} {{{_spelled(inner) if isinstance(inner, dict) else inner + chr(10)}}}\n")
    return "".join(parts)


def _merged(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    merged = dict(one)
    for name, inner in other.items():
        merged[name] = _merged(merged[name], inner) if isinstance(merged.get(name), dict) else inner
    return merged
