"""Results on stdout, talk on stderr. The same result gives the same bytes, whatever the terminal."""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

from aalearn.model.text import shown

Format = Literal["text", "json", "yaml"]
Value = Mapping[str, Any]


def emit(document: Value, text: str, form: Format) -> None:
    """Write one result: `text` for people, or the document (it has a `schema` number) as JSON or YAML."""
    if form == "json":
        rendered = json.dumps(document, indent=2, ensure_ascii=True, allow_nan=False)
    elif form == "yaml":
        rendered = _yaml(document)
    else:
        rendered = text
    if rendered:
        sys.stdout.write(rendered if rendered.endswith("\n") else rendered + "\n")
    sys.stdout.flush()


def _yaml(document: Value) -> str:
    from io import StringIO

    from ruamel.yaml import YAML

    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.allow_unicode = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.width = 4096
    out = StringIO()
    yaml.dump(json.loads(json.dumps(document)), out)
    return out.getvalue()


def talk(text: str) -> None:
    """Write one line of talk to stderr. The text is already safe for a terminal."""
    sys.stderr.write(text + "\n")


def complain(text: str, word: str = "error") -> None:
    """Write `aalearn: error: TEXT` (or another word) to stderr, in colour where that is wanted."""
    head = f"aalearn: {word}:"
    if sys.stderr.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb":
        head = f"\x1b[1;31m{head}\x1b[0m"
    talk(f"{head} {' '.join(text.split())}")


def plain(value: bytes) -> str:
    """Return foreign bytes for a JSON or YAML value: UTF-8, and `\\xNN` for each byte that is not."""
    return value.decode("utf-8", "backslashreplace")


def moment(milliseconds: int) -> str:
    """Return a time (ms since the epoch) as ISO 8601 in UTC, "" for 0 (unknown)."""
    if not milliseconds:
        return ""
    at = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{milliseconds % 1000:03d}Z"


def day_and_time(milliseconds: int) -> str:
    """Return a time for people, to the second, in UTC; "-" for 0 (unknown)."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S") if milliseconds else "-"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """Return aligned columns; `right` are the numbers of the columns to align to the right. Cells are made safe."""
    cells = [list(head), *([shown(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    lines = []
    for row in cells:
        padded = [
            cell.rjust(widths[column]) if column in right else cell.ljust(widths[column])
            for column, cell in enumerate(row)
        ]
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def count(number: int, noun: str, plural: str = "") -> str:
    """Return `1 rule`, `2 rules`, `12,345 rules`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
