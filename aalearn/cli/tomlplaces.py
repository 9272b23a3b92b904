"""In which line of a TOML text a key stands: tomllib doesn't say it, and a person wants to know.

The text was read by tomllib before, so it is well-formed; only the forms that a configuration uses are looked for
(`key = …` under a `[table]`, dotted keys, an inline table's own line).
"""

import re

_TABLE = re.compile(r"\s*\[\s*([^\[\]]+?)\s*\]\s*(?:#.*)?$")
_KEY = re.compile(r"""\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*'))*)\s*=""")


def line_of(text: str, name: str) -> int:
    """Return the number (from 1) of the line where the dotted `name` is set; of its table where it isn't found."""
    table = ""
    near = 1
    for number, line in enumerate(text.split("\n"), 1):
        head = _TABLE.match(line)
        if head is not None:
            table = _plain(head[1])
            if name.startswith(f"{table}.") or name == table:
                near = number
            if name == table:
                return number
            continue
        key = _KEY.match(line)
        if key is None:
            continue
        full = f"{table}.{_plain(key[1])}" if table else _plain(key[1])
        if full == name or full.startswith(f"{name}."):
            return number
        if name.startswith(f"{full}."):  # an inline table
            near = number
    return near


def _plain(key: str) -> str:
    return ".".join(part.strip().strip("\"'") for part in key.split("."))
