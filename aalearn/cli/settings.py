"""The configuration: one class and its sections (`cli/sections`), each setting with what it means beside it.

A value comes from (first wins) the command line, the environment (`AALEARN_DB`, `AALEARN_RUN__SOURCES`, …), the file of
`--config` and the default here. This module imports pydantic, so only a running command loads it.
"""

import os
import socket
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, SettingsConfigDict

from aalearn.cli.sections import Metrics, Promotion, Retention, Run, Section
from aalearn.cli.tomlplaces import line_of
from aalearn.model.errors import UsageError
from aalearn.model.text import shown
from aalearn.model.urls import without_password

# Read when no --config is given and the file is there; the person's own one is not read by root.
SYSTEM_FILE = Path("/etc/aalearn/config.toml")
PREFIX = "AALEARN_"
# Variables that are ours and no setting: the file of --config, and what the program's completion sets.
NO_SETTING = frozenset({"AALEARN_CONFIG"})
_MOST_BYTES = 1 << 20


def default_db() -> str:
    """Return the store's URL where nobody names one."""
    return f"sqlite:///{state_folder() / 'aalearn.db'}"


def state_folder() -> Path:
    """Return the service's state folder, root's, or the person's own."""
    service = os.environ.get("STATE_DIRECTORY", "").split(":")[0]
    if service:
        return Path(service)
    if os.geteuid() == 0:
        return Path("/var/lib/aalearn")
    state = os.environ.get("XDG_STATE_HOME", "")
    return (Path(state) if state.startswith("/") else Path.home() / ".local/state") / "aalearn"


class Settings(BaseSettings):
    """All settings of aalearn: TOML keys and tables in a file, AALEARN_ and the name in the environment."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", enable_decoding=False, extra="forbid", frozen=True
    )

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
    run: Run = Field(default_factory=Run, description="The service, `aalearn run`.")
    metrics: Metrics = Field(default_factory=Metrics, description="Figures for Prometheus.")
    retention: Retention = Field(default_factory=Retention, description="How the store stays small.")
    promotion: Promotion = Field(default_factory=Promotion, description="The gates of promote, and the watch.")

    def textfile(self) -> Path | None:
        """Return the file of metrics, None for none: the one named, or one in the store's (a server: state) folder."""
        if self.metrics.textfile is not None:
            return self.metrics.textfile if self.metrics.textfile != Path() else None
        name = self.db.removeprefix("sqlite:///").partition("?")[0] if self.db.startswith("sqlite:///") else ""
        folder = Path(name).parent if name and name != ":memory:" else state_folder()
        return folder / "metrics/aalearn.prom"


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings, and where each comes from by its dotted name: `command line`, a variable, FILE:LINE, `default`."""

    settings: Settings
    origins: Mapping[str, str]
    file: Path | None


def names() -> dict[str, FieldInfo]:
    """Return all settings by their dotted names (`run.sources`), in the order of their definition."""
    found: dict[str, FieldInfo] = {}
    for name, field in Settings.model_fields.items():
        section = section_of(name)
        if section is None:
            found[name] = field
        else:
            found |= {f"{name}.{inner}": one for inner, one in section.model_fields.items()}
    return found


def section_of(name: str) -> type[Section] | None:
    """Return the section of this name, None for a plain setting."""
    field = Settings.model_fields.get(name)
    kind = field.annotation if field is not None else None
    return kind if isinstance(kind, type) and issubclass(kind, Section) else None


def variable(name: str) -> str:
    """Return the environment variable of a dotted name."""
    return PREFIX + name.replace(".", "__").upper()


def load(file: Path | None, overrides: dict[str, Any]) -> Settings:
    """Return the settings. `overrides` are the command line's; None there means not given.

    Raises UsageError (one line, with the file and the nearest known name) for whatever is wrong.
    """
    return load_with_origins(file, overrides).settings


def load_with_origins(file: Path | None, overrides: dict[str, Any]) -> Loaded:
    """Return the settings and where each comes from; see `load`."""
    chosen = file or _default_file()
    text = _text_of(chosen) if chosen is not None else ""
    values = _from_file(chosen, text) if chosen is not None else {}
    origins = dict.fromkeys(names(), "default")
    for name in _dotted(values):
        origins[name] = f"{shown(str(chosen))}:{line_of(text, name)}"
    for name in origins:
        if variable(name) in _upper_environment():
            origins[name] = variable(name)
            _drop(values, name)
    values |= {name: value for name, value in overrides.items() if value is not None}
    origins |= {name: "command line" for name, value in overrides.items() if value is not None}
    try:
        return Loaded(Settings(**values), origins, chosen)
    except ValidationError as error:
        raise UsageError(_told(error, origins, chosen)) from None


def _told(error: ValidationError, origins: Mapping[str, str], file: Path | None) -> str:
    """Return the first complaint in one line, with where the value stands."""
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"][:2])
    name = place if place in origins else place.partition(".")[0]
    if first["type"] == "extra_forbidden":
        return f"{shown(variable(place))}: {_unknown(place)}"
    if section_of(place) is not None and variable(place) in _upper_environment():
        return f"{variable(place)}: {place} is a section: set {variable(place)}__… for each of its settings"
    message = str(first["msg"]).removeprefix("Value error, ")
    origin = origins.get(name, shown(str(file)))
    where = origin if origin.startswith(PREFIX) else f"{origin}: {shown(name)}"
    told = without_password(repr(first["input"]))
    return f"{where}: {shown(message)} (it is {shown(told[:200])})"


def _unknown(name: str) -> str:
    """Return what is said of a name that no setting has, with the nearest one."""
    section = section_of(name.partition(".")[0])
    known: list[str] = list(Settings.model_fields)
    wanted = name
    if section is not None:
        known, wanted = list(section.model_fields), name.partition(".")[2]
    near = get_close_matches(wanted.lower(), known, n=1, cutoff=0.5)
    if not near:  # it may stand at the wrong place
        near = [other for other in names() if other.rpartition(".")[2] == wanted.rpartition(".")[2].lower()]
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(sorted(known))}"
    else:
        hint = f"did you mean {near[0]}?"
    inside = f" in [{name.partition('.')[0]}]" if section is not None else ""
    return f"there is no setting {shown(wanted)}{inside}; {hint}"


def strangers() -> list[str]:
    """Return a line for each variable of the environment that looks like ours and is none."""
    known = {variable(name) for name in names()} | NO_SETTING
    found = []
    for name in sorted(_upper_environment()):
        if name.startswith(PREFIX) and name not in known:
            place = name.removeprefix(PREFIX).lower().replace("__", ".", 1)
            found.append(f"{shown(name)}: {_unknown(place)}")
    return found


def _upper_environment() -> set[str]:
    return {name.upper() for name in os.environ}


def _drop(values: dict[str, Any], name: str) -> None:
    head, _, rest = name.partition(".")
    if not rest:
        values.pop(head, None)
    elif isinstance(values.get(head), dict):
        values[head].pop(rest, None)


def _dotted(values: Mapping[str, Any]) -> Iterator[str]:
    for name, value in values.items():
        if isinstance(value, dict) and section_of(name) is not None:
            yield from (f"{name}.{inner}" for inner in value)
        else:
            yield name


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


def _text_of(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            content = stream.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise UsageError(f"the configuration {shown(str(path))} is larger than 1 MiB: that is no configuration")
        return content.decode("utf-8")
    except OSError as error:
        raise UsageError(f"can't read the configuration {shown(str(path))}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"the configuration {shown(str(path))} is not UTF-8 text") from None


def _from_file(path: Path, text: str) -> dict[str, Any]:
    """Return the file's settings, with unknown keys refused."""
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"the configuration {shown(str(path))} is not TOML: {shown(str(error))}") from None
    except RecursionError:
        raise UsageError(f"the configuration {shown(str(path))} is not TOML: nested too deep") from None
    known = names()
    for name, value in values.items():
        if section_of(name) is not None and not isinstance(value, dict):
            line = line_of(text, name)
            raise UsageError(f"{shown(str(path))}:{line}: {name} is a section: write [{name}] and its settings below")
    for name in _dotted(values):
        if name not in known:
            raise UsageError(f"{shown(str(path))}:{line_of(text, name)}: {_unknown(name)}")
    return values
