"""The commands by their names. A module is loaded when its command is asked for: a call pays for its own alone."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from importlib import import_module
from typing import Any, Final

import typer
from typer.main import get_command

COMMANDS: Final = (
    "annotate",
    "check",
    "check-pods",
    "diff",
    "doctor",
    "draft",
    "explain",
    "export",
    "history",
    "ingest",
    "promote",
    "reconcile",
    "retire",
    "review",
    "rollback",
    "run",
    "status",
    "suggest",
    "version",
    "watch",
)
"""Modules of this package with a `command` and an EXAMPLE."""
GROUPS: Final = ("config", "db")
"""Modules with an `app` of several commands."""
HIDDEN: Final = ("apply",)
"""Commands that only a unit or another machine calls."""


class Commands(MutableMapping[str, Any]):
    """The command (a `click` one, as typer makes it) of each name, made when it is first asked for."""

    def __init__(self) -> None:
        self._made: dict[str, Any] = {}
        self._names = sorted((*COMMANDS, *GROUPS, *HIDDEN))

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            if name not in self._names:
                raise KeyError(name)
            self._made[name] = _made(name)
        return self._made[name]

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __setitem__(self, name: str, command: Any) -> None:
        self._made[name] = command
        self._names = sorted({*self._names, name})

    def __delitem__(self, name: str) -> None:
        self._made.pop(name, None)
        self._names.remove(name)


def _made(name: str) -> Any:
    module = import_module(f"aalearn.cli.{name.replace('-', '_')}")
    if name in GROUPS:
        return get_command(module.app)
    alone = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    alone.command(name, hidden=name in HIDDEN, epilog=module.EXAMPLE)(module.command)
    return get_command(alone)
