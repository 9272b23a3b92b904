"""The body of a record: from `apparmor="` to the end of the line.

    body  = 'apparmor="' verdict '"' { blanks pair } end
    pair  = key "=" value
    value = quoted | hex | bare | "(null)"
    end   = ["'"] blanks [CR] [0x1d enrichment]     ("'" closes the msg='… of a bus daemon)

A quoted value is literal: no escapes, a backslash is a backslash. An unquoted value is hex only for keys that the
kernel prints through audit_log_untrustedstring, only in upper case and of even length. A line that ends inside a pair
is *torn*.
"""

import pyparsing as pp

from aalearn.grammar.terminals import Terminal, words_pattern
from aalearn.grammar.words import record_words

_WORDS = record_words()
_AFTER = r"(?=[ '\r\x1d]|\Z)"  # what may follow a value
_LAST = r"(?=\r?\Z)"
_HEX = r"(?:[0-9A-F]{2})+"
_WORD = r"[^ \"'\r\x1d]"
_SPECIAL = words_pattern((*sorted(_WORDS.untrusted), *sorted(_WORDS.abstract), "pid"))

MAXIMUM_PAIRS = 64  # a record of today has at most 20; bounded so that extractors are

VERDICT = Terminal("verdict", rf"apparmor=\"(?:{words_pattern(_WORDS.verdicts)})\"", fixed=True)
BLANK = Terminal("blank", r" +", fixed=True)
PID_KEY = Terminal("pid=", r"pid=", fixed=True)
UNTRUSTED_KEY = Terminal("untrusted key", rf"(?:{words_pattern(tuple(sorted(_WORDS.untrusted)))})=", fixed=True)
ABSTRACT_KEY = Terminal("address key", rf"(?:{words_pattern(tuple(sorted(_WORDS.abstract)))})=", fixed=True)
KEY = Terminal("key", rf"(?!(?:{_SPECIAL})=)[A-Za-z_][A-Za-z0-9_.-]{{0,63}}=", fixed=True)
NULL = Terminal("null", rf"(?P<value>\(null\)){_AFTER}")
NUMBER = Terminal("number", rf"(?P<value>[0-9]{{1,10}}){_AFTER}")
QUOTED = Terminal("quoted", rf"\"(?P<value>[^\"]*)\"{_AFTER}")
HEX = Terminal("hex", rf"(?P<value>{_HEX}){_AFTER}")
ABSTRACT = Terminal("abstract", rf"\"(?P<value>@{_HEX})\"{_AFTER}")
NAME = Terminal("other quoted", rf"(?!\"@{_HEX}\"{_AFTER})\"(?P<value>[^\"]*)\"{_AFTER}")
BARE = Terminal("bare", rf"(?!\(null\){_AFTER})(?P<value>{_WORD}+{_AFTER}|(?= ))")
WORD = Terminal("word", rf"(?!\(null\){_AFTER}|{_HEX}{_AFTER}|[0-9A-F]+{_LAST})(?P<value>{_WORD}+{_AFTER}|(?= ))")
LIBAUDIT = Terminal("libaudit", r"\(sauid=[0-9]+, hostname=[^,)\"']*, addr=[^,)\"']*, terminal=[^,)\"']*\)")
END = Terminal("end", r" *\r?(?:\x1d.*)?\Z")
CLOSE = Terminal("close", r" *' *\r?(?:\x1d.*)?\Z")
TORN = Terminal(
    "torn",
    r"(?:(?:apparmor=\"[A-Z]*"  # inside the verdict
    r"| +[A-Za-z_][A-Za-z0-9_.-]*=?"  # inside a key, or right after its =
    r"| +[A-Za-z_][A-Za-z0-9_.-]*=\"[^\"]*"  # inside a quoted value
    rf"| +(?:{_SPECIAL})=[0-9A-F](?:[0-9A-F]{{2}})*"  # in the middle of a byte
    rf"){_LAST})",
)
UNCLOSED = Terminal("unclosed", rf" *{_LAST}")  # msg='… without its end

VALUES = frozenset({NULL, NUMBER, QUOTED, HEX, ABSTRACT, NAME, BARE, WORD})
AFTER = _AFTER
VALUE = "(?P<value>"  # how a value's terminal marks the text inside the quotes
KEYS = frozenset({PID_KEY, UNTRUSTED_KEY, ABSTRACT_KEY, KEY})


def pair_grammar() -> pp.ParserElement:
    """Return the grammar of one `key=value`."""
    pid = PID_KEY.element() + NUMBER.element()
    untrusted = UNTRUSTED_KEY.element() + (NULL.element() | HEX.element() | QUOTED.element() | WORD.element())
    values = NULL.element() | HEX.element() | ABSTRACT.element() | NAME.element() | WORD.element()
    address = ABSTRACT_KEY.element() + values
    other = KEY.element() + (NULL.element() | QUOTED.element() | BARE.element())
    named = (("pid", pid), ("name", untrusted), ("address", address), ("other", other))
    return pp.MatchFirst([element.set_name(name) for name, element in named]).set_name("pair")


def body_grammar(quoted: bool) -> pp.ParserElement:
    """Return the grammar of a body; `quoted` is the one inside msg='…'. Its result is a list of tokens."""
    pairs = pp.ZeroOrMore(BLANK.element() + pair_grammar())
    whole = VERDICT.element() + pairs
    end: pp.ParserElement = END.element()
    if quoted:
        end = pp.Opt(BLANK.element() + LIBAUDIT.element()) + (CLOSE.element() | UNCLOSED.element())
    body = whole + (end | TORN.element()) | TORN.element()
    return body.set_name("quoted body" if quoted else "body")
