"""Runs apparmor_parser: from policy text to the very bytes that a kernel would load, without root and without AppArmor.

The parser gets the text and the features through files in memory, so that nothing of them stands in a shared folder. It
is told to warn of rules that the target can't enforce, which it leaves out in silence otherwise (source: the manual
apparmor_parser(8), measured with 3.0.8 and 4.1.0).
"""

import hashlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from aalearn.model.errors import PolicyError, UsageError
from aalearn.model.text import shown
from aalearn.policy.cache import Cache, default_folder
from aalearn.policy.features import ABIS, BASE, Features, shipped
from aalearn.policy.features import find as find_features

OLDEST: Final = (3, 0)
TIMEOUT: Final = 120.0  # seconds a profile; 3,000 literal rules take up to 10
_FORMAT: Final = b"aalearn policy cache 1"
_PLACES: Final = "/usr/sbin:/sbin"
_QUIET: Final = ("--config-file", "/dev/null", "-Q", "-K")
_WARN: Final = ("--warn=rule-not-enforced", "--warn=rule-downgraded")
_VERSION: Final = re.compile(r"parser version (\d+)\.(\d+)(\S*)")
_ERROR: Final = re.compile(
    r"AppArmor parser error(?: for (?P<for>.*?))?(?: in (?:profile )?(?P<in>.*?))? at line (?P<line>\d+): (?P<what>.*)"
)
_WARNING: Final = re.compile(
    r"Warning (?:converted to Error )?from (?:profile )?(?P<who>.*?) \((?P<file>[^()]*)\): ?(?P<what>.*)"
)
_ABI: Final = re.compile(rb'^[ \t]*abi[ \t]*(?:<([^>\n]+)>|"([^"\n]+)"|(?<=[ \t])([^\s,<"]+))', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Compiled:
    """Compiled policy and what it was made with.

    `warnings` are the parser's, one line each: rules that the target can only enforce in part, and, when compiled with
    `strict=False`, rules that it can't enforce at all. `parser` is its version, `abi` what the text's abi line names
    ("" without), `features` the identity of the features (a sha256) and `features_source` where they come from.
    """

    blob: bytes = field(repr=False)
    sha256: str
    warnings: tuple[str, ...]
    parser: str
    abi: str
    features: str
    features_source: str
    cached: bool = field(default=False, compare=False)


class Parser:
    """One apparmor_parser. `version` is (major, minor), `release` the version as it spells it ("4.1.0")."""

    __slots__ = ("_cache", "_identity", "_timeout", "command", "release", "version")

    def __init__(self, command: Sequence[str], cache: Cache | None = None, timeout: float = TIMEOUT) -> None:
        """Ask `command` (a program with arguments) for its version. Raises PolicyError when it is no parser we know."""
        self.command = tuple(command)
        self._cache = cache
        self._timeout = timeout
        self._identity = b""
        status, out, errors = self._run(("--version",), ())
        match = _VERSION.search(out.decode("utf-8", "replace"))
        if status or not match:
            raise PolicyError(f"{self._name} is not apparmor_parser: {_first(errors or out)}")
        self.version = int(match[1]), int(match[2])
        self.release = f"{match[1]}.{match[2]}{match[3]}"
        if self.version < OLDEST:
            raise PolicyError(f"apparmor_parser {self.release} is too old: {OLDEST[0]}.{OLDEST[1]} or newer is needed")

    @classmethod
    def find(
        cls, command: str | Sequence[str] | None = None, *, cache: Cache | None = None, timeout: float = TIMEOUT
    ) -> "Parser":
        """Return the parser: `command` (words as in a shell), else $AALEARN_PARSER, else the installed one.

        `cache` None: the user's cache folder. Raises PolicyError when there is none, or it can't be run.
        """
        command = (
            command
            or os.environ.get("AALEARN_PARSER")
            or shutil.which("apparmor_parser", path=f"{os.environ.get('PATH', '')}:{_PLACES}")
        )
        if not command:
            raise PolicyError("apparmor_parser is missing: install the package apparmor, or name it in AALEARN_PARSER")
        words = shlex.split(command) if isinstance(command, str) else command
        return cls(words, cache if cache is not None else Cache(default_folder()), timeout)

    def compile(
        self,
        text: str | bytes | Path,
        *,
        features: Features | None = None,
        base: Path | None = None,
        includes: Sequence[Path] = (),
        strict: bool = True,
    ) -> Compiled:
        """Return the compiled policy of `text` (a Path is read).

        `features`: what the target can do (None: this node's, else the newest abi); `base` and `includes`: where
        included files are looked for (None: /etc/apparmor.d). With `strict`, a rule that the target can't enforce is an
        error. Raises PolicyError with the parser's own words and line number; UsageError when a file or folder can't be
        read.
        """
        content, name = _content(text)
        if base is not None and not base.is_dir():
            raise UsageError(f"the base folder {shown(str(base))} does not exist")
        if features is None:
            features = find_features(None, self.version, base)
        with ExitStack() as stack:
            folders = _Folders(base or BASE, (*includes, *stack.enter_context(_missing_abis(content, base, includes))))
            request = _Request(content, name, features, folders)
            key = self._key(request)
            kept = self._cache.load(key) if self._cache and key else None
            blob, warnings = kept or self._compiled(request)
            if kept is None and self._cache and key and key == self._key(request):  # no include changed meanwhile
                self._cache.save(key, blob, warnings)
        left_out = [warning for warning in warnings if "not enforced" in warning]
        if strict and left_out:
            raise PolicyError(f"{name}: the target ({features.source}) can't enforce it: {'; '.join(left_out)}")
        digest = hashlib.sha256(blob).hexdigest()
        abi = _abi(content)
        return Compiled(blob, digest, warnings, self.release, abi, features.identity, features.source, kept is not None)

    def _compiled(self, request: "_Request") -> tuple[bytes, tuple[str, ...]]:
        status, blob, errors = self._ask(request, "-S")
        if status:
            raise PolicyError(f"{request.name}: {self._told(status, errors)}")
        if not blob:
            raise PolicyError(f"{request.name}: it holds no profile")
        return blob, _warnings(errors)

    def _ask(self, request: "_Request", action: str) -> tuple[int, bytes, bytes]:
        """Run the parser on the text; return its exit status, standard output and standard error."""
        with (
            _anonymous("features", request.features.text.encode()) as features,
            _anonymous("profile", request.content) as text,
        ):
            options = [*_QUIET, action, *_WARN, "-M", f"/proc/self/fd/{features}", *request.folders.options()]
            return self._run((*options, f"/proc/self/fd/{text}"), (features, text))

    def _run(self, arguments: Sequence[str], files: Sequence[int]) -> tuple[int, bytes, bytes]:
        environment = {**os.environ, "LC_ALL": "C.UTF-8", "LANGUAGE": "C"}
        try:
            process = subprocess.Popen(
                [*self.command, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=tuple(files),
                env=environment,
                start_new_session=True,
            )
        except OSError as error:
            raise PolicyError(f"{self._name} can't be run: {error.strerror}") from error
        with process:
            try:
                out, errors = process.communicate(timeout=self._timeout)
            except subprocess.TimeoutExpired as error:
                advice = "generalise the profile's file rules or split it"
                raise PolicyError(f"{self._name} did not finish within {self._timeout:g} s: {advice}") from error
            finally:
                if process.returncode is None:
                    os.killpg(process.pid, signal.SIGKILL)
        return process.returncode, out, errors

    @property
    def _name(self) -> str:
        return shown(self.command[-1] if self.command else "")

    def _key(self, request: "_Request") -> str:
        """Return a digest of all that the compiled policy depends on, "" where that can't be known."""
        closure = request.content
        if b"include" in closure:
            status, closure, _ = self._ask(request, "-p")
            if status:
                return ""
        digest = hashlib.sha256(_FORMAT)
        for part in (self._itself(), request.features.text.encode(), closure, *_abi_contents(closure, request.folders)):
            digest.update(len(part).to_bytes(8, "big") + part)
        return digest.hexdigest()

    def _itself(self) -> bytes:
        """Return what tells this parser from others: its version, its command and the digest of its program files."""
        if not self._identity:
            digest = hashlib.sha256("\0".join((self.release, *self.command)).encode("utf-8", "surrogateescape"))
            for word in self.command:
                program = shutil.which(word) or word
                if Path(program).is_file():
                    digest.update(hashlib.sha256(Path(program).read_bytes()).digest())
            self._identity = digest.digest()
        return self._identity

    def _told(self, status: int, errors: bytes) -> str:
        """Return the parser's complaint as one clear line."""
        if status < 0:
            return f"apparmor_parser {self.release} was ended by signal {-status}"
        lines = [line for line in errors.decode("utf-8", "replace").splitlines() if line.strip()]
        for line in lines:
            match = _ERROR.fullmatch(line)
            if match:
                place = match["in"] or ""
                inside = f"{shown(place)} " if place and not place.startswith("/proc/self/fd/") else ""
                return f"{inside}line {match['line']}: {_plain(match['what'])}"
        rest = [_plain(line) for line in lines if not _WARNING.match(line)]
        if any("Assertion `" in line for line in rest):
            return f"apparmor_parser {self.release} broke down on it: {'; '.join(rest[:3])}"
        return "; ".join(rest[:3]) or f"apparmor_parser {self.release} failed with exit status {status} and no word"


@dataclass(frozen=True, slots=True)
class _Folders:
    base: Path
    includes: tuple[Path, ...]

    def options(self) -> list[str]:
        words = [word for folder in self.includes for word in ("-I", str(folder.absolute()))]
        return [*words, "--base", str(self.base.absolute())] if self.base.is_dir() else words


@dataclass(frozen=True, slots=True)
class _Request:
    content: bytes
    name: str
    features: Features
    folders: _Folders


def _content(text: str | bytes | Path) -> tuple[bytes, str]:
    """Return the text as bytes and its name for messages."""
    if isinstance(text, bytes):
        return text, "the profile"
    if isinstance(text, str):
        return text.encode("utf-8", "surrogateescape"), "the profile"
    try:
        return text.read_bytes(), shown(str(text))
    except OSError as error:
        raise UsageError(f"{shown(str(text))} can't be read: {error.strerror}") from error


def _warnings(errors: bytes) -> tuple[str, ...]:
    """Return the parser's warnings, one line each, without the made-up name of the text."""
    found = []
    for line in errors.decode("utf-8", "replace").splitlines():
        match = _WARNING.fullmatch(line)
        if match:
            found.append(f"profile {shown(match['who'])}: {_plain(match['what'])}")
        elif line.strip():
            found.append(_plain(line))
    return tuple(dict.fromkeys(found))


def _plain(line: str) -> str:
    """Return a line of the parser's without its own path before it, safe to show."""
    return shown(re.sub(r"^\S*apparmor_parser: ", "", line.strip()))


def _first(output: bytes) -> str:
    lines = output.decode("utf-8", "replace").strip().splitlines()
    return shown(lines[0]) if lines else "it says nothing"


def _abi(content: bytes) -> str:
    match = _ABI.search(content)
    if not match:
        return ""
    return shown(next(group for group in match.groups() if group)).removeprefix("abi/")


def _named_abis(content: bytes) -> Iterator[str]:
    for match in _ABI.finditer(content):
        yield os.fsdecode(next(group for group in match.groups() if group))


def _abi_contents(closure: bytes, folders: _Folders) -> Iterator[bytes]:
    """Yield what the abi files that `closure` names hold, wherever the parser may find them.

    A name that is found nowhere stands in a comment, or the parser refuses the text.
    """
    for name in dict.fromkeys(_named_abis(closure)):
        for folder in (*folders.includes, folders.base, Path.cwd()):
            if (folder / name).is_file():
                yield (folder / name).read_bytes()


@contextmanager
def _missing_abis(content: bytes, base: Path | None, includes: Sequence[Path]) -> Iterator[tuple[Path, ...]]:
    """Yield a folder with those of our own abis that the text names and that are not installed; none when all are."""
    folders = (*includes, base or BASE)
    named = {name.removeprefix("abi/") for name in _named_abis(content) if name.startswith("abi/")}
    missing = [abi for abi in ABIS if abi in named and not any((folder / "abi" / abi).is_file() for folder in folders)]
    if not missing:
        yield ()
        return
    with tempfile.TemporaryDirectory(prefix="aalearn-") as name:
        (Path(name) / "abi").mkdir()
        for abi in missing:
            (Path(name) / "abi" / abi).write_text(shipped(abi).text)
        yield (Path(name),)


@contextmanager
def _anonymous(name: str, content: bytes) -> Iterator[int]:
    """Yield the descriptor of a file in memory that holds `content`."""
    descriptor = os.memfd_create(name)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(descriptor, view) :]
        yield descriptor
    finally:
        os.close(descriptor)
