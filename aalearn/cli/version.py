"""`aalearn version`: what runs here, for bug reports."""

import platform
import sys

import typer

from aalearn import __version__
from aalearn.cli.face import face_of
from aalearn.model.text import shown

EXAMPLE = "Example: aalearn --output json version"


def print_short() -> None:
    """Write `aalearn VERSION` (the option --version)."""
    sys.stdout.write(f"aalearn {__version__}\n")


def command(context: typer.Context) -> None:
    """Print the versions of aalearn, of Python and of the apparmor_parser that proves profiles here."""
    from aalearn.model.errors import PolicyError
    from aalearn.policy.compiler import Parser

    face = face_of(context)
    parser: str | None = None
    path: str | None = None
    try:
        found = Parser.find(face.settings.parser)
        parser, path = found.release, shown(" ".join(found.command))
    except PolicyError as error:
        face.detail(str(error))
    document = {
        "schema": 1,
        "aalearn": __version__,
        "python": platform.python_version(),
        "apparmor_parser": parser,
        "apparmor_parser_path": path,
    }
    text = f"aalearn {__version__}\nPython {platform.python_version()}\n"
    text += f"apparmor_parser {parser} ({path})" if parser else "apparmor_parser: not found"
    face.emit(document, text)
