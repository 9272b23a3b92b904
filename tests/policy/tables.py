"""The table of questions: TOML files under `questions/` as values."""

import shlex
import tomllib
from dataclasses import dataclass
from pathlib import Path

from aalearn.model.event import Event, Verdict

FOLDER = Path(__file__).parent / "questions"
WHO = {"owner": True, "other": False, "any": None}


@dataclass(frozen=True)
class Line:
    """One question: what 3.0 and 4.1 must answer, who asks, the event, and the transition ("" where none is told)."""

    expected: dict[str, str]
    owner: bool | None
    event: Event
    transition: str
    text: str


@dataclass(frozen=True)
class Case:
    """One profile with its questions."""

    name: str
    text: str
    parsers: tuple[str, ...]
    features: str
    fine_unix: bool | None
    lines: tuple[Line, ...]


def cases() -> list[Case]:
    """Return all cases, file by file."""
    found = []
    for path in sorted(FOLDER.glob("*.toml")):
        for entry in tomllib.loads(path.read_text())["case"]:
            flags = f" flags=({entry['flags']})" if "flags" in entry else ""
            found.append(
                Case(
                    f"{path.stem}: {entry['name']}",
                    f"profile x{flags} {{\n{entry['text']}}}\n",
                    tuple(entry.get("parsers", ("3.0", "4.1"))),
                    entry.get("features", ""),
                    entry.get("fine_unix"),
                    tuple(line(text) for text in entry["ask"].splitlines() if text.strip()),
                )
            )
    return found


def line(text: str) -> Line:
    """Return the question that a line spells; values may hold `\\xNN`."""
    words = shlex.split(text.replace("\\", "\\\\"))
    verdicts = words[0].split("/")
    transition = ""
    if "=>" in words:
        at = words.index("=>")
        transition, words = words[at + 1], words[:at]
    fields = dict(word.split("=", 1) for word in words[3:])
    values = tuple(
        sorted((key, value.encode().decode("unicode_escape").encode("latin-1")) for key, value in fields.items())
    )
    return Line(
        {"3.0": verdicts[0], "4.1": verdicts[-1]},
        WHO[words[1]],
        Event(Verdict.ALLOWED, words[2], b"x", values),
        transition,
        text,
    )
