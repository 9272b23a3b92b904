"""`aalearn config`: the settings in effect and where each comes from; a configuration file checked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aalearn.cli.face import face_of
from aalearn.cli.output import complain
from aalearn.model.text import shown
from aalearn.model.urls import without_password

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aalearn.cli.settings import Loaded

EXAMPLE = "Examples: aalearn config show > config.toml  |  aalearn config check /etc/aalearn/config.toml"
SHOW_EXAMPLE = "Examples: aalearn config show  |  aalearn --output json config show"
CHECK_EXAMPLE = "Example: aalearn config check /etc/aalearn/config.toml"

app = typer.Typer(
    name="config",
    help="Show the settings in effect, or check a configuration file.",
    epilog=EXAMPLE,
    rich_markup_mode=None,
)


@app.command("show", epilog=SHOW_EXAMPLE)
def show(context: typer.Context) -> None:
    """Print all settings with where each value comes from, as TOML that can be saved as a configuration."""
    face = face_of(context)
    loaded = face.loaded
    values = dict(_values(loaded))
    rows = [{"name": name, "value": value, "from": loaded.origins[name]} for name, value in values.items()]
    face.emit({"schema": 1, "settings": rows}, toml_of(loaded))


@app.command("check", epilog=CHECK_EXAMPLE)
def check(
    context: typer.Context,
    file: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", help="The file. Default: the one in effect.", show_default=False),
    ] = None,
) -> int:
    """Check a configuration file and the environment: exit 0 when all of it can be used, 2 when it can't.

    A variable that looks like one of ours and is none is told too, and ends with 1.
    """
    from aalearn.cli.settings import load_with_origins, strangers

    face = face_of(context)
    loaded = load_with_origins(file, {}) if file is not None else face.loaded
    unknown = strangers()
    name = shown(str(loaded.file)) if loaded.file is not None else ""
    said = f"{name}: fine" if name else "no configuration file: all settings are defaults or from the environment"
    face.emit({"schema": 1, "file": name or None, "unknown_variables": unknown}, "" if unknown else said)
    for line in unknown:
        complain(line, "warning")
    return 1 if unknown else 0


def _values(loaded: Loaded) -> Iterator[tuple[str, Any]]:
    from aalearn.cli.settings import names, section_of

    document = loaded.settings.model_dump(mode="json")
    for name in names():
        head, _, inner = name.partition(".")
        value = document[head][inner] if section_of(head) is not None else document[head]
        yield name, without_password(value) if name == "db" else value


def toml_of(loaded: Loaded) -> str:
    """Return the settings as TOML; those that have no value, and a URL without its password, as comments."""
    lines: list[str] = []
    section = ""
    for name, value in _values(loaded):
        head, _, inner = name.partition(".")
        if inner and head != section:
            section = head
            lines += ["", f"[{section}]"]
        origin = loaded.origins[name]
        if value is None:
            lines.append(f"# {inner or head} = (none)  # {origin}")
            continue
        spelled = toml_value(value)
        # A password is not shown, and bytes that are not UTF-8 have no spelling in TOML.
        hidden = (name == "db" and value != loaded.settings.db) or "\\uDC" in spelled
        lines.append(f"{'# ' if hidden else ''}{inner or head} = {spelled}  # {origin}")
    return "\n".join(lines)


def toml_value(value: Any) -> str:
    """Return a setting's value as TOML spells it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(toml_value(one) for one in value)}]"
    return _quoted(str(value))


def _quoted(text: str) -> str:
    """Return a basic string: what TOML forbids, and what would play with a terminal, as escapes."""
    out = []
    for sign in text:
        if sign in '"\\':
            out.append("\\" + sign)
        elif sign.isprintable():
            out.append(sign)
        else:
            code = ord(sign)
            out.append(f"\\u{code:04X}" if code < 0x10000 else f"\\U{code:08X}")
    return f'"{"".join(out)}"'
