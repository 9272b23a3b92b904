"""The page docs/configuration.md, made from the definitions of the settings: `./dev docs`."""

from pathlib import Path
from typing import Any

from annotated_types import Ge, Gt, Le
from pydantic.fields import FieldInfo

from aalearn.cli.config import toml_value
from aalearn.cli.settings import Settings, names, variable

PAGE = Path(__file__).resolve().parents[2] / "docs/configuration.md"
_DEFAULTS = {"db": "aalearn.db in the state folder", "node": "this machine's host name"}
_HEAD = """# Configuration

<!-- Made by ./dev docs from aalearn/cli/settings.py and sections.py: change those. -->

A value comes from (the first that is given wins) the command line, the environment, a file, the default.

The file is TOML: the one of `--config FILE` (or `AALEARN_CONFIG`), else `~/.config/aalearn/config.toml` (not for
root), else `/etc/aalearn/config.toml`. A setting that is not known is refused, with its line and the nearest name.
`aalearn config show` prints what is in effect and where each value comes from, in a form that can be saved as a file;
`aalearn config check FILE` checks one. `aalearn run` reads it again at SIGHUP.

The state folder is systemd's `StateDirectory` of the service, `/var/lib/aalearn` for root, and
`~/.local/state/aalearn` for a person.
"""


def page() -> str:
    """Return the page."""
    lines = [_HEAD]
    section = ""
    for name, field in names().items():
        head, _, inner = name.partition(".")
        if not section and not inner and lines[-1] is _HEAD:
            lines += ["## At the top of the file", ""]
        if inner and head != section:
            section = head
            lines += [f"## [{section}]", "", _one_line(Settings.model_fields[section].description), ""]
        lines += _setting(name, inner or head, field)
    return "\n".join(lines).rstrip() + "\n"


def _setting(name: str, short: str, field: FieldInfo) -> list[str]:
    default = _DEFAULTS.get(name) or _spelled(field.get_default(call_default_factory=True))
    said = [f"default {default}", *_bounds(field), f"`{variable(name)}`"]
    return [f"### `{short}`", "", _one_line(field.description), "", f"{'; '.join(said)}.", ""]


def _spelled(value: Any) -> str:
    if value is None:
        return "none"
    return f"`{toml_value(str(value) if isinstance(value, Path) else value)}`"


def _bounds(field: FieldInfo) -> list[str]:
    words = {Ge: ("at least", "ge"), Gt: ("more than", "gt"), Le: ("at most", "le")}
    found = []
    for one in field.metadata:
        for kind, (word, attribute) in words.items():
            if isinstance(one, kind):
                found.append(f"{word} {getattr(one, attribute)}")
    choices = getattr(field.annotation, "__args__", ())
    if choices and all(isinstance(choice, str) for choice in choices):
        found.append(f"one of {', '.join(f'`{choice}`' for choice in choices)}")
    return found


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split())


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), "utf-8")


if __name__ == "__main__":
    main()
