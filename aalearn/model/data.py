"""Where the package's own data stands: `grammars/`, `templates/`, `systemd/`, in a wheel and in a checkout alike."""

from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from tomllib import loads
from typing import Any


@cache
def folder(kind: str) -> Traversable:
    """Return the folder of package data named `kind` ("grammars", "templates" or "systemd").

    A wheel carries it as `aalearn/_data/KIND`; a checkout has it beside `pyproject.toml`. The working directory is
    never looked at, so a hostile folder can't lend its own words. Raises FileNotFoundError when the installation is
    incomplete.
    """
    packaged = files("aalearn") / "_data" / kind
    if packaged.is_dir():
        return packaged
    checkout = Path(__file__).resolve().parents[2]
    if (checkout / "pyproject.toml").is_file() and (checkout / kind).is_dir():
        return checkout / kind
    raise FileNotFoundError(f"aalearn's own folder {kind!r} is missing: install the package again")


@cache
def words(name: str) -> dict[str, Any]:
    """Return the parsed `grammars/NAME.toml`. Callers must not change it: it is shared."""
    return loads((folder("grammars") / f"{name}.toml").read_text("utf-8"))
