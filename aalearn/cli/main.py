"""The program `aalearn`: global options, the commands, and how any error ends (one line on stderr and an exit code)."""

from __future__ import annotations

import gc
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from aalearn.cli import version
from aalearn.cli.commands import Commands
from aalearn.cli.face import Face
from aalearn.cli.output import complain
from aalearn.model.errors import AalearnError
from aalearn.model.text import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

_GLOBAL = ("--db", "--config", "--output", "--quiet", "-q", "--verbose", "-v")
INTERRUPTED = 130  # 128 + SIGINT, as shells report it
READER_GONE = 141  # 128 + SIGPIPE


class _ReaderGoneError(Exception):
    """Whoever read our stdout has closed it (`aalearn … | head`); kept from typer, which would exit with 1."""


class _Group(TyperGroup):
    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = Commands()

    def invoke(self, ctx: Any) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            raise _ReaderGoneError from None
        return result


app = typer.Typer(
    name="aalearn",
    cls=_Group,
    help="Learn least-privilege AppArmor profiles from logs, and prove them by the compiled policy.",
    epilog="Example: aalearn ingest /var/log/audit && aalearn suggest nginx",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        version.print_short()
        raise typer.Exit


@app.callback()
def global_options(
    context: typer.Context,
    db: Annotated[
        str | None, typer.Option("--db", metavar="URL", help="The store, e.g. sqlite:///x.db (env AALEARN_DB).")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE", envvar="AALEARN_CONFIG", help="A TOML file of settings."),
    ] = None,
    output: Annotated[
        Literal["text", "json", "yaml"] | None,
        typer.Option("--output", help="How results are written (env AALEARN_OUTPUT)."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Results and errors only.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say more on stderr.")] = False,
    show_version: Annotated[  # noqa: ARG001 - read by its callback
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and leave."),
    ] = False,
) -> None:
    """Take the options that stand before the command."""
    _log_to_stderr(quiet=quiet, verbose=verbose)
    context.obj = Face(db=db, config=config, form=output, quiet=quiet, verbose=verbose)


class _Talk(logging.Formatter):
    """One line of talk: a note, or an error (a profile that was taken back, for instance)."""

    def format(self, record: logging.LogRecord) -> str:
        return f"aalearn: {'error' if record.levelno >= logging.ERROR else 'note'}: {record.getMessage()}"


def _log_to_stderr(*, quiet: bool, verbose: bool) -> None:
    """Let what the layers below log (a cache that can't be used, for instance) be talk like any other."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Talk())
    logger = logging.getLogger("aalearn")
    logger.handlers[:] = [handler]
    logger.propagate = False
    logger.setLevel(logging.ERROR if quiet else logging.INFO if verbose else logging.WARNING)


def run(arguments: Sequence[str]) -> int:
    """Run one command line (without the program's name) and return its exit code; errors are told on stderr."""
    try:
        result = app(args=list(arguments) or ["--help"], prog_name="aalearn", standalone_mode=False)
    except AalearnError as error:
        complain(str(error))
        return error.exit_code
    except TyperException as error:  # a usage error: unknown command or option, missing argument, unfit value
        told = error.format_message()
        option = told.removeprefix("No such option: ").partition(" ")[0]
        if option != told and option in _GLOBAL:
            told = f"{option} stands before the command: `aalearn {option} [VALUE] COMMAND`."
        complain(f"{shown(told)} Try `aalearn --help`.")
        return 2
    except OSError as error:  # what nobody could tell better: a full disk behind stdout, a folder that vanished
        name = f"{shown(str(error.filename))}: " if error.filename else ""
        complain(f"{name}{error.strerror or shown(str(error))}")
        return 3
    except typer.Abort:  # end of input at a prompt
        complain("no answer, so nothing was changed")
        return 2
    except _ReaderGoneError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return READER_GONE
    if result == INTERRUPTED:
        complain("interrupted; what was committed is kept", "note")
    return result if isinstance(result, int) else 0


def main() -> None:
    """The console script."""
    gc.set_threshold(100_000, 50, 100)  # commands hold many values and make few cycles: collecting less saves a sixth
    _occupy_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")  # type: ignore[union-attr]
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", closefd=False)
    if sys.stdout is None:
        complain("standard output is closed: there is nowhere to write the result to")
        sys.exit(3)
    sys.exit(_written(run(sys.argv[1:])))


def _written(code: int) -> int:
    """Write what stdout still holds; where that fails, drop it, so that Python's own last try doesn't end with 120."""
    try:
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if code == 0:
            complain(error.strerror or "standard output can't be written")
            return 3
    return code


def _occupy_closed_streams() -> None:
    """Put /dev/null where 0, 1 or 2 is closed, so that no store or child process gets a file of that number."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number
