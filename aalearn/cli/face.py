"""What every command gets from the global options: the store, the settings, how to write and how much to say."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from aalearn.cli import output
from aalearn.model.errors import UsageError
from aalearn.model.text import shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    import typer

    from aalearn.cli.settings import Loaded, Settings
    from aalearn.store import Store


@dataclass(frozen=True)
class Face:
    """The global options of one call. Settings are loaded, and the store opened, only when a command asks."""

    db: str | None = None
    config: Path | None = None
    form: str | None = None
    quiet: bool = False
    verbose: bool = False

    @cached_property
    def loaded(self) -> Loaded:
        """The settings (command line, environment, file, default) and where each comes from."""
        from aalearn.cli.settings import load_with_origins

        return load_with_origins(self.config, {"db": self.db, "output": self.form})

    @property
    def settings(self) -> Settings:
        """The settings."""
        return self.loaded.settings

    def emit(self, document: output.Value, text: str) -> None:
        """Write the command's result to stdout in the wanted format."""
        output.emit(document, text, self.settings.output)

    def say(self, text: str) -> None:
        """Tell a person something on stderr, unless --quiet."""
        if not self.quiet:
            output.talk(text)

    def detail(self, text: str) -> None:
        """Tell a person something more on stderr, with --verbose."""
        if self.verbose:
            output.talk(text)

    @contextmanager
    def store(self, *, readonly: bool) -> Iterator[Store]:
        """Open the store; a reader never creates one."""
        from aalearn.store import Store

        url = self.settings.db
        path = sqlite_path(url)
        if path is not None:
            if readonly:
                _must_exist(path)
            else:
                _make_folder(path.parent)
        with Store.open(url, readonly=readonly) as store:
            yield store


def face_of(context: typer.Context) -> Face:
    """Return the Face that the global options made."""
    return context.ensure_object(Face)


def sqlite_path(url: str) -> Path | None:
    """Return the file of an SQLite URL, None for other stores. Raises UsageError where it names none."""
    if not url.startswith("sqlite:///"):
        return None
    name = url.removeprefix("sqlite:///").split("?", 1)[0]
    if not name:
        raise UsageError("the store's URL names no file: write sqlite:///relative.db or sqlite:////absolute/path.db")
    return None if name == ":memory:" else Path(name)


def _must_exist(path: Path) -> None:
    try:
        path.stat()
    except FileNotFoundError:
        hint = "run `aalearn ingest LOG…` first, or name another with --db"
        raise UsageError(f"there is no store at {shown(str(path))} yet: {hint}") from None
    except OSError as error:
        raise UsageError(f"can't open the store {shown(str(path))}: {error.strerror}") from None


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"can't make the folder of the store {shown(str(folder))}: {error.strerror}") from None


def known_profile(store: Store, name: str) -> bytes:
    """Return the name as the store knows it. Raises UsageError with the nearest names when it knows none such."""
    wanted = name.encode("utf-8", "surrogateescape")
    names = [summary.name for summary in store.profiles()]
    if wanted in names:
        return wanted
    near = [shown(other) for other in store.nearest(wanted)]
    if near:
        hint = f"did you mean {' or '.join(near)}?"
    elif names:
        hint = f"known are {', '.join(sorted(shown(other) for other in names)[:8])}"
    else:
        hint = "the store holds no profile yet: run `aalearn ingest LOG…` first"
    raise UsageError(f"nothing was learned for the profile {shown(wanted)}; {hint}")
