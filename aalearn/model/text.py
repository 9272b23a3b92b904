"""The one door from foreign bytes to policy text, and to terminals, logs and comments.

Policy spelling (source: apparmor.d(5) and the parser's lexer, measured with 3.0.8 on every byte): a few bytes stand for
themselves, those of globs take a backslash, every other byte is a three-digit octal escape. Quote and backslash are
octal too: the lexer reads `\\"` as an escaped quote, so a name that ends in `\\\\` before the closing quote would
swallow what follows up to the next quote. The whole is quoted as soon as one byte was escaped. NUL has no spelling.
"""

import re
from functools import cache

from aalearn.model.errors import NotExpressible

_BARE = re.compile(rb"[A-Za-z0-9/._\-+:=~%]+")
_PLAIN = re.compile(rb"[A-Za-z0-9._/-]+")
_BACKSLASHED = frozenset(b"*?[]{}^,")


@cache
def _bytes_spelled() -> tuple[str, ...]:
    """The spelling of each byte value; NUL has "" and is never asked for."""
    spelled = [f"\\{byte:03o}" for byte in range(256)]
    spelled[0] = ""
    for byte in range(1, 256):
        if byte in _BACKSLASHED:
            spelled[byte] = "\\" + chr(byte)
        elif _BARE.fullmatch(bytes((byte,))):
            spelled[byte] = chr(byte)
    return tuple(spelled)


def escape(value: bytes) -> tuple[str, bool]:
    """Return the escaped text without quotes, and whether it must stand in quotes. For parts of a composed word.

    Raises NotExpressible for a value with NUL. An empty value gives an empty text.
    """
    if _BARE.fullmatch(value):
        return value.decode("ascii"), False
    if 0 in value:
        raise NotExpressible(f"a NUL byte has no spelling in policy: {shown(value)}")
    table = _bytes_spelled()
    return "".join([table[byte] for byte in value]), bool(value)


def quote(text: str, needed: bool) -> str:
    """Return `text`, already escaped, in double quotes if they are needed."""
    return f'"{text}"' if needed else text


def spell(value: bytes) -> str:
    """Return the exact policy spelling of a literal. Raises NotExpressible for an empty value or one with NUL."""
    if not value:
        raise NotExpressible("an empty name has no spelling in policy")
    return quote(*escape(value))


def plain_name(value: bytes) -> str:
    """Return a profile name or exec target as text; such names allow no escapes, so few bytes are fit.

    Raises NotExpressible unless the value matches `[A-Za-z0-9._/-]+` and has no `..` segment.
    """
    if not _PLAIN.fullmatch(value) or b".." in value.split(b"/"):
        raise NotExpressible(f"not fit for a profile name or an exec target: {shown(value)!s}")
    return value.decode("ascii")


def shown(value: bytes | str) -> str:
    """Return foreign text as one line that is safe for terminals, logs and comments.

    Controls, separators, bidirectional marks and whatever else does not print become `\\xNN` (a byte) or `\\u{…}` (a
    character above ASCII); bytes that are not UTF-8 become `\\xNN`.
    """
    text = value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value
    if text.isprintable():
        return text
    return "".join([char if char.isprintable() else _escaped(ord(char)) for char in text])


def _escaped(code: int) -> str:
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8 (surrogateescape)
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{{{code:x}}}"
