"""Plain values as YAML that every reader understands alike: nothing a string holds can leave its place.

YAML 1.1 readers (kubectl's among them) take bare `yes`, `012` or `1e3` for something else, so whatever is not plainly a
word stands in double quotes, or, over several lines, in a literal block where ruamel says that it fits.
"""

import re
from collections.abc import Mapping, Sequence
from io import StringIO
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.scalarstring import DoubleQuotedScalarString, LiteralScalarString

_WORD: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]*(?:[./][A-Za-z0-9_-]+)*")
_NO_STRING: Final = frozenset(("y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf"))
_BLOCK: Final = re.compile(r"(?:[!-~][ -~]*[!-~]\n|[!-~]\n|(?<!\A)\n|(?<!\A) [ -~]*[!-~]\n)+")


def dump(documents: Sequence[Mapping[str, Any]]) -> str:
    """Return the documents as one stream, `---` between them. Values are str, int, bool, list and dict."""
    yaml = YAML(typ="rt", pure=True)
    yaml.default_flow_style = False
    yaml.allow_unicode = False
    yaml.width = 1 << 20
    yaml.indent(mapping=2, sequence=4, offset=2)
    parts = []
    for document in documents:
        out = StringIO()
        yaml.dump(_styled(document), out)
        parts.append(out.getvalue())
    return "---\n".join(parts)


def _styled(value: Any) -> Any:
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, Mapping):
        return {_string(key): _styled(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_styled(inner) for inner in value]
    return value


def _string(value: str) -> str:
    if _WORD.fullmatch(value) and value.lower() not in _NO_STRING:
        return value
    styled: str = (LiteralScalarString if _BLOCK.fullmatch(value) else DoubleQuotedScalarString)(value)
    return styled
