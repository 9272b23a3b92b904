"""Manifests: files, folders and standard input as documents, and files written back whole or not at all.

Documents are cut at `---` lines, which the YAML specification lets mean nothing else, so that only documents with a
workload are parsed and all others keep their bytes for certain.
"""

import os
import re
import stat
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from aalearn.kubernetes import tree
from aalearn.kubernetes.workloads import KINDS, Workload, workloads
from aalearn.model.errors import AalearnError, BadInput, UsageError
from aalearn.model.text import shown

LARGEST: Final = 32 << 20  # bytes of a file
_LARGEST_DOCUMENT: Final = 4 << 20  # characters of a document with a workload
_ENDINGS: Final = frozenset({".yaml", ".yml", ".json"})
_MARK: Final = re.compile(r"(?m)^\ufeff?---(?=\s|$)")
_CANDIDATE: Final = re.compile(rf"kind[\"']?\s*:\s*(?:[&!]\S*\s+)?[\"']?(?:{'|'.join(KINDS)}|RuntimeClass|\w*List)\b")
_DIRECTIVE: Final = re.compile(r"\{\{.*?\}\}", re.DOTALL)
_HELM: Final = "{{"
TEMPLATED: Final = "\ue000"  # stands, in Helm sources, for what a directive will write


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a file: its text and first line. Without a workload `root` and `value` are None.

    `helm`: it only parses without its template directives; `value` then holds TEMPLATED where one stood, `root` is
    None.
    """

    text: str = field(repr=False)
    line: int
    root: tree.Node | None = field(default=None, repr=False)
    value: Any = field(default=None, repr=False)
    helm: bool = False

    def workloads(self) -> tuple[Workload, ...]:
        """Return the workloads in it; what a template's directives will write is not known, so it is ""."""
        found = tuple(workloads(self.value))
        return tuple(_known(one) for one in found) if self.helm else found


@dataclass(frozen=True, slots=True)
class Manifest:
    """A file or standard input (`path` None); `name` is safe for a terminal."""

    name: str
    path: Path | None
    documents: tuple[Document, ...]

    @property
    def text(self) -> str:
        """The whole text."""
        return "".join(document.text for document in self.documents)

    def handlers(self) -> dict[str, str]:
        """Return the handlers of the RuntimeClasses in it, by name."""
        found = {}
        for document in self.documents:
            value = document.value
            if (
                isinstance(value, dict)
                and value.get("kind") == "RuntimeClass"
                and isinstance(value.get("handler"), str)
            ):
                metadata = value.get("metadata")
                if isinstance(metadata, dict) and isinstance(metadata.get("name"), str):
                    found[metadata["name"]] = value["handler"]
        return found


def _known(workload: Workload) -> Workload:
    name = "" if TEMPLATED in workload.name else workload.name
    namespace = "" if TEMPLATED in workload.namespace else workload.namespace
    return replace(workload, name=name, namespace=namespace)


def files(paths: Sequence[Path]) -> Iterator[tuple[Path, bool]]:
    """Yield the files that `paths` mean, with whether each was found in a folder; each real file once, in order.

    Folders are searched for *.yaml, *.yml and *.json, without hidden folders and symbolic links. Raises UsageError for
    a path that is not there.
    """
    seen: set[Path] = set()
    for path in paths:
        if str(path) == "-":
            yield path, False
            continue
        try:
            mode = path.stat().st_mode
        except OSError as error:
            raise UsageError(f"can't read {shown(str(path))}: {error.strerror}") from None
        listed = [(path, False)] if not stat.S_ISDIR(mode) else [(one, True) for one in _within(path)]
        for one, found in listed:
            real = one.resolve()
            if real not in seen:
                seen.add(real)
                yield one, found


def _within(folder: Path) -> Iterator[Path]:
    for above, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(above, name)
            if path.suffix in _ENDINGS and not path.is_symlink() and path.is_file():
                yield path


def read(path: Path) -> Manifest:
    """Return a file's documents; `-` is standard input. Raises BadInput or UsageError in one line."""
    name = "standard input" if str(path) == "-" else shown(str(path))
    try:
        if str(path) == "-":
            if sys.stdin is None:
                raise UsageError("standard input is closed: there is nothing to read at -")
            raw = sys.stdin.buffer.read(LARGEST + 1)
        else:
            if not stat.S_ISREG(path.stat().st_mode):
                raise UsageError(f"{name} is no regular file")
            with path.open("rb") as file:
                raw = file.read(LARGEST + 1)
    except OSError as error:
        raise UsageError(f"can't read {name}: {error.strerror}") from None
    if len(raw) > LARGEST:
        raise BadInput(f"{name} is larger than {LARGEST >> 20} MiB, which is no manifest")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise BadInput(f"{name}: line {line}: not UTF-8 text; convert it first") from None
    return Manifest(name, None if str(path) == "-" else path, parse(text, name))


def parse(text: str, name: str) -> tuple[Document, ...]:
    """Return the documents of a text; together their texts are the text. Raises BadInput."""
    marks = [found.start() for found in _MARK.finditer(text)]
    if text.lstrip("\ufeff \t\r\n").startswith(("{", "[")):
        marks = []  # JSON: a string may hold anything
    bounds = [0, *[mark for mark in marks if mark], len(text)]
    documents, line = [], 1
    for start, end in pairwise(bounds):
        piece = text[start:end]
        documents.append(_document(piece, tree.Place(name, line)))
        line += piece.count("\n")
    return tuple(documents)


def _document(text: str, place: tree.Place) -> Document:
    if not _CANDIDATE.search(text):
        return Document(text, place.line)
    if len(text) > _LARGEST_DOCUMENT:
        raise BadInput(f"{place.name}: line {place.line}: a document larger than {_LARGEST_DOCUMENT >> 20} MiB")
    try:
        root = tree.parse(text, place)
    except BadInput:
        if _HELM not in text:
            raise
        return Document(text, place.line, None, _without_directives(text, place), helm=True)
    return Document(text, place.line, root, None if root is None else tree.value(root))


def _without_directives(text: str, place: tree.Place) -> Any:
    """Return the value of a template: lines of nothing but directives are comments, other directives TEMPLATED."""
    bare = _DIRECTIVE.sub(lambda found: re.sub(r"[^\n]", TEMPLATED, found.group()), text)
    bare = re.sub(
        rf"(?m)^[ \t]*{TEMPLATED}[{TEMPLATED} \t]*\r?$", lambda found: "#" * len(found.group().rstrip("\r")), bare
    )
    try:
        root = tree.parse(bare, place, lenient=True)
    except BadInput as error:
        hint = "render it first: helm template … | aalearn annotate - …"
        raise BadInput(
            f"{error}; this seems to be a Helm template that can't be read without rendering; {hint}"
        ) from None
    return None if root is None else tree.value(root)


def write(path: Path, text: str) -> Path:
    """Replace a file's text in one step, with its mode and, where possible, owner kept. Returns the backup's path.

    A symbolic link is followed: the file behind it is replaced. The old bytes are kept beside it, in `NAME.bak`, or in
    `NAME.bak1`, … when that is taken by other bytes. Raises AalearnError when anything fails; the file is as before.
    """
    real = path.resolve()
    try:
        old = real.read_bytes()
        backup = _backup(real, old)
        status = real.stat()
        handle, temporary = tempfile.mkstemp(prefix=f".{real.name[:100]}.", dir=real.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(text.encode("utf-8"))
                os.fchmod(file.fileno(), stat.S_IMODE(status.st_mode))
                if os.geteuid() == 0:
                    os.fchown(file.fileno(), status.st_uid, status.st_gid)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(real)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise AalearnError(f"can't write {shown(str(path))}: {error.strerror}; it is as it was") from None
    return backup


def _backup(path: Path, old: bytes) -> Path:
    """Keep the old bytes beside the file and return where."""
    for number in range(1000):
        backup = path.with_name(f"{path.name}.bak{number or ''}")
        try:
            handle = os.open(
                backup, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, stat.S_IMODE(path.stat().st_mode)
            )
        except FileExistsError:
            if not backup.is_symlink() and backup.is_file() and backup.read_bytes() == old:
                return backup
            continue
        with os.fdopen(handle, "wb") as file:
            file.write(old)
            file.flush()
            os.fsync(file.fileno())
        return backup
    raise AalearnError(f"there are 1,000 backups of {shown(str(path))} already: remove some")
