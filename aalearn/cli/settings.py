"""The configuration: one class, each setting with what it means beside it.

A value comes from (first wins) the command line, the environment (`AALEARN_DB`, …), the file of `--config` and the
default here. This module imports pydantic, so only a running command loads it.
"""

import os
import socket
import tomllib
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from aalearn.model.errors import UsageError
from aalearn.model.text import shown

# Read when no --config is given and the file is there; the person's own one is not read by root.
SYSTEM_FILE = Path("/etc/aalearn/config.toml")


def default_db() -> str:
    """Return the store's URL where nobody names one: the service's state folder, root's, or the person's own."""
    service = os.environ.get("STATE_DIRECTORY", "").split(":")[0]
    if service:
        folder = Path(service)
    elif os.geteuid() == 0:
        folder = Path("/var/lib/aalearn")
    else:
        state = os.environ.get("XDG_STATE_HOME", "")
        folder = (Path(state) if state.startswith("/") else Path.home() / ".local/state") / "aalearn"
    return f"sqlite:///{folder / 'aalearn.db'}"


class Settings(BaseSettings):
    """All settings of aalearn: TOML keys at the top level of a file, AALEARN_ and the name in the environment."""

    model_config = SettingsConfigDict(env_prefix="AALEARN_", extra="forbid", frozen=True)

    db: str = Field(
        default_factory=default_db,
        description="The store: sqlite:////absolute/path.db, or postgresql+psycopg://user@host/name for a fleet.",
    )
    output: Literal["text", "json", "yaml"] = Field(
        default="text", description="How results are written: text for people, json and yaml for programs."
    )
    base: Path = Field(
        default=Path("/etc/apparmor.d"),
        description="The folder of profiles: existing ones are read here, and abi, tunables and abstractions.",
    )
    node: str = Field(
        default_factory=socket.gethostname,
        description="The name of the node that the ingested logs come from. A node= prefix in a record wins.",
    )
    target: Path | None = Field(
        default=None,
        description="The AppArmor features of the nodes that shall enforce: a file or a features folder. "
        "Default: the abi that the profile names.",
    )
    parser: str | None = Field(
        default=None,
        description="The apparmor_parser to compile with, as a shell command. Default: on PATH or in /usr/sbin.",
    )


def load(file: Path | None, overrides: dict[str, Any]) -> Settings:
    """Return the settings. `overrides` are the command line's; None there means not given.

    Raises UsageError (one line, with the file and the nearest known name) for whatever is wrong.
    """
    chosen = file or _default_file()
    values = _from_file(chosen) if chosen is not None else {}
    present = {name for name in Settings.model_fields if f"AALEARN_{name.upper()}" in _upper_environment()}
    values = {name: value for name, value in values.items() if name not in present}
    values |= {name: value for name, value in overrides.items() if value is not None}
    try:
        return Settings(**values)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else "?"
        origin = f"AALEARN_{name.upper()}" if name in present else f"{shown(str(chosen))}: {name}"
        message = str(first["msg"]).removeprefix("Value error, ")
        raise UsageError(f"{origin}: {shown(message)} (it is {shown(repr(first['input']))})") from None


def _upper_environment() -> set[str]:
    return {name.upper() for name in os.environ}


def _default_file() -> Path | None:
    candidates = [SYSTEM_FILE]
    if os.geteuid() != 0:
        config = os.environ.get("XDG_CONFIG_HOME", "")
        own = Path(config) if config.startswith("/") else Path.home() / ".config"
        candidates.insert(0, own / "aalearn/config.toml")
    try:
        return next((path for path in candidates if path.is_file()), None)
    except OSError as error:
        raise UsageError(f"can't look for a configuration at {shown(str(error.filename))}: {error.strerror}") from None


def _from_file(path: Path) -> dict[str, Any]:
    """Return the file's settings, with unknown keys refused."""
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise UsageError(f"can't read the configuration {shown(str(path))}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"the configuration {shown(str(path))} is not UTF-8 text") from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"the configuration {shown(str(path))} is not TOML: {shown(str(error))}") from None
    for name in values:
        if name not in Settings.model_fields:
            near = get_close_matches(name, Settings.model_fields, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(sorted(Settings.model_fields))}"
            raise UsageError(f"{shown(str(path))}: there is no setting {shown(name)}; {hint}")
    return values
