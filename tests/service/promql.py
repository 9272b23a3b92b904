"""Enough of PromQL's grammar to refuse what is none, and to tell which metrics and labels an expression rests on.

Source: Prometheus, "Querying basics", "Operators" and "Functions". Subqueries, offsets and @ are not known here.
"""

import re
from dataclasses import dataclass, field

_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+(?:\.\d+)?(?:e\d+)?(?![\w]))|(?P<name>[a-zA-Z_:][\w:]*)|(?P<text>\"(?:[^\"\\]|\\.)*\")"
    r"|(?P<range>\[(?:\d+[smhdwy]|\$__range|\$__rate_interval)\])|(?P<sign>==|!=|>=|<=|=~|!~|[-+*/%^<>(){},=]))"
)
_AGGREGATIONS = {"sum", "min", "max", "avg", "count", "group", "topk", "bottomk", "stddev"}
_RANGED = {"rate", "increase", "irate", "delta", "changes"}
_FUNCTIONS = _RANGED | {"time", "absent", "vector", "sort_desc", "sort", "histogram_quantile", "clamp_max", "abs"}
_OPERATORS = {"+", "-", "*", "/", "%", "^", "==", "!=", ">", "<", ">=", "<=", "and", "or", "unless"}


@dataclass
class Query:
    """A parsed expression: the metrics with the labels that each is asked by, and the labels that sums are kept by."""

    text: str
    metrics: dict[str, set[str]] = field(default_factory=dict)
    kept: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._tokens: list[tuple[str, str]] = []
        at = 0
        while at < len(self.text.rstrip()):
            found = _TOKEN.match(self.text, at)
            assert found is not None, f"no PromQL at {self.text[at:]!r}"
            assert found.lastgroup is not None
            self._tokens.append((found.lastgroup, found[found.lastgroup]))
            at = found.end()
        self._at = 0
        self._expression()
        assert self._at == len(self._tokens), f"left over: {self._tokens[self._at :]}"

    def _peek(self) -> tuple[str, str]:
        return self._tokens[self._at] if self._at < len(self._tokens) else ("end", "")

    def _take(self, *wanted: str) -> str:
        kind, text = self._peek()
        assert not wanted or text in wanted or kind in wanted, f"{self.text}: {text!r} where one of {wanted} belongs"
        self._at += 1
        return text

    def _expression(self) -> None:
        self._operand()
        while self._peek()[1] in _OPERATORS:
            self._take()
            if self._peek()[1] in ("on", "ignoring"):
                self._take()
                self.kept.update(self._labels())
            self._operand()

    def _labels(self) -> list[str]:
        self._take("(")
        names = [self._take("name")]
        while self._peek()[1] == ",":
            self._take()
            names.append(self._take("name"))
        self._take(")")
        return names

    def _operand(self) -> None:
        kind, text = self._peek()
        if kind == "number":
            self._take()
        elif text == "(":
            self._take()
            self._expression()
            self._take(")")
        elif text in _AGGREGATIONS:
            self._take()
            if self._peek()[1] in ("by", "without"):
                self._take()
                self.kept.update(self._labels())
            self._arguments()
        elif text in _FUNCTIONS:
            self._take()
            before = self._at
            self._arguments()
            ranged = any(kind == "range" for kind, _ in self._tokens[before : self._at])
            assert ranged or text not in _RANGED, f"{text} wants a range: {self.text}"
        else:
            self._selector()

    def _arguments(self) -> None:
        self._take("(")
        while self._peek()[1] != ")":
            self._expression()
            if self._peek()[1] == ",":
                self._take()
        self._take(")")

    def _selector(self) -> None:
        name = self._take("name")
        labels = self.metrics.setdefault(name, set())
        if self._peek()[1] == "{":
            self._take()
            while self._peek()[1] != "}":
                labels.add(self._take("name"))
                self._take("=", "!=", "=~", "!~")
                self._take("text")
                if self._peek()[1] == ",":
                    self._take()
            self._take("}")
        if self._peek()[0] == "range":
            self._take()
