"""One request and one answer of the applier's socket: each a line of JSON. What is not just so is refused.

request:  {"schema": 1, "do": "revert", "profile": "nginx", "sha256": "…"}     (sha256 may be left out)
          {"schema": 1, "do": "complain", "profile": "nginx"}
answer:   {"schema": 1, "ok": true, "profile": …, "mode": …, "sha256": …, "revision": …, "notes": […]}
          {"schema": 1, "ok": false, "error": "…"}
"""

import json
import re
from dataclasses import asdict, dataclass
from typing import Any, Final

from aalearn.model.errors import NotExpressible, PolicyError, UsageError
from aalearn.model.text import plain_name, shown

SCHEMA: Final = 1
LARGEST: Final = 4096  # bytes of a request
LARGEST_ANSWER: Final = 65_536
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_KEYS: Final = {"revert": {"schema", "do", "profile", "sha256"}, "complain": {"schema", "do", "profile"}}


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for: `do` "revert" or "complain", the profile, and for a revert perhaps the text's sha256."""

    do: str
    profile: str
    sha256: str = ""

    @property
    def name(self) -> bytes:
        """The profile's name."""
        return self.profile.encode()

    def line(self) -> bytes:
        """Return the request as one line."""
        document = {"schema": SCHEMA, "do": self.do, "profile": self.profile}
        if self.sha256:
            document["sha256"] = self.sha256
        return json.dumps(document).encode() + b"\n"


@dataclass(frozen=True, slots=True)
class Answer:
    """What was done: the kernel's mode of the profile now, the sha256 of its text on disk, its revision (0: none)."""

    profile: str
    mode: str
    sha256: str
    revision: int
    notes: tuple[str, ...] = ()

    def line(self) -> bytes:
        """Return the answer as one line."""
        return json.dumps({"schema": SCHEMA, "ok": True, **asdict(self)}).encode() + b"\n"


def refusal(error: str) -> bytes:
    """Return an answer that tells an error, as one line."""
    return json.dumps({"schema": SCHEMA, "ok": False, "error": error}).encode() + b"\n"


def parse_request(line: bytes) -> Request:
    """Return the request that a line holds. Raises UsageError for whatever is not exactly one."""
    document = _document(line, LARGEST, "the request")
    do = document.get("do")
    if not isinstance(do, str) or do not in _KEYS:
        raise UsageError("the request asks for neither revert nor complain")
    if not set(document) <= _KEYS[do]:
        raise UsageError("the request holds what no request may hold")
    profile, digest = document.get("profile"), document.get("sha256", "")
    if not isinstance(profile, str) or not isinstance(digest, str):
        raise UsageError("the request names no profile")
    if digest and not _SHA256.fullmatch(digest):
        raise UsageError("the request's sha256 is none")
    try:
        plain_name(profile.encode("utf-8", "surrogatepass"))
    except NotExpressible as error:
        raise UsageError(str(error)) from None
    return Request(do, profile, digest)


def parse_answer(line: bytes) -> Answer:
    """Return the answer that a line holds. Raises PolicyError for an answer that tells an error, or is none."""
    try:
        document = _document(line, LARGEST_ANSWER, "the answer")
    except UsageError as error:
        raise PolicyError(f"aalearn-apply did not answer as it should: {error}") from None
    if document.get("ok") is not True:
        raise PolicyError(shown(str(document.get("error", "aalearn-apply says no, and not why"))))
    values = (document.get(key) for key in ("profile", "mode", "sha256", "revision", "notes"))
    profile, mode, digest, revision, notes = values
    if not (isinstance(profile, str) and isinstance(mode, str) and isinstance(digest, str)):
        raise PolicyError("aalearn-apply did not answer as it should")
    if not isinstance(revision, int) or not isinstance(notes, list):
        raise PolicyError("aalearn-apply did not answer as it should")
    return Answer(profile, shown(mode), shown(digest), revision, tuple(shown(str(note)) for note in notes))


def _document(line: bytes, largest: int, what: str) -> dict[str, Any]:
    if len(line) > largest:
        raise UsageError(f"{what} is longer than {largest} bytes")
    if not line.endswith(b"\n") or line.count(b"\n") != 1:
        raise UsageError(f"{what} is not one whole line")
    try:
        document = json.loads(line.decode("utf-8"), object_pairs_hook=_once)
    except (ValueError, RecursionError):
        raise UsageError(f"{what} is not JSON") from None
    schema = document.get("schema") if isinstance(document, dict) else None
    if not isinstance(document, dict) or schema != SCHEMA or isinstance(schema, bool):
        raise UsageError(f"{what} has not the schema {SCHEMA}")
    return document


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a key stands twice")
    return document
