"""Profile text from a `Document`: the layout stands in `templates/`, a rule's text comes from the rule itself.

Nothing that is written can end a comment, a rule or a block early: comments become one safe line each, and whatever
stands in a header, a preamble or a rule is checked here once more before it is laid out.
"""

import re
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby

from jinja2 import Environment, FunctionLoader, StrictUndefined, select_autoescape

from aalearn.model.data import folder
from aalearn.model.errors import NotExpressible
from aalearn.model.profile import Document, Line, Profile, State
from aalearn.model.text import shown

_COMMENT_WIDTH = 110  # columns; a long comment is wrapped, a long word is not

_NAME = re.compile(r"[A-Za-z0-9._/+-]+")
_FLAG = re.compile(r"[a-z_]+(?:[.=][A-Za-z0-9._/-]+)?")
_INCLUDE = re.compile(r"[A-Za-z0-9._+-]+(?:/[A-Za-z0-9._+-]+)*")
_INCLUSION = re.compile(rf"include <{_INCLUDE.pattern}>")
_VARIABLE = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_ABI = re.compile(r"[0-9]+\.[0-9]+")
_ONE_LINE = re.compile(r"[\x20-\x7e]+")


@dataclass(frozen=True, slots=True)
class _Row:
    """A line of a profile, ready for the template."""

    text: str
    comments: tuple[str, ...]
    withheld: bool


_Groups = tuple[tuple[_Row, ...], ...]


@dataclass(frozen=True, slots=True)
class _View:
    """A block (profile, child profile, hat or local include), ready for the template."""

    title: str
    header: str
    comments: tuple[str, ...]
    groups: _Groups
    review: _Groups
    withheld: _Groups
    inner: tuple["_View", ...] = ()

    @property
    def filled(self) -> bool:
        return bool(self.groups or self.review or self.withheld)


def write(document: Document) -> str:
    """Return the text of a profile file, the same for the same document, ending with a newline.

    Lines stay in the order of the document; a blank line stands between rules of different kinds; what waits for review
    and what is withheld come last, in marked blocks, the withheld ones as comments. Raises NotExpressible where a name,
    flag, include, variable or rule would not stay at its place in the text.
    """
    return _render(
        "profile.j2",
        comments=document.comments,
        abi=_checked(_ABI, document.abi, "abi"),
        includes=[_include(name) for name in document.includes],
        variables=[
            (_checked(_VARIABLE, name, "variable"), [_checked(_ONE_LINE, value, "variable value") for value in values])
            for name, values in document.variables
        ],
        top=_view(document.profile, "profile ", document.profile.name),
    )


def write_local(lines: Iterable[Line], comments: Sequence[str] = (), title: str = "") -> str:
    """Return the text of a local include (`local/NAME`): the rules alone, grouped and commented as in a profile.

    `title` is the name of the profile that the marked blocks point to. Raises NotExpressible as `write` does.
    """
    view = _View(_checked(_NAME, title, "profile name") if title else "NAME", "", (), *_sorted_out(lines))
    return _render("local.j2", comments=tuple(comments), view=view)


def write_block(profile: Profile, *, hat: bool, title: str) -> str:
    """Return the text of one child profile or hat alone, to be put into a profile that exists.

    `title` is the name of that profile. Raises NotExpressible as `write` does.
    """
    return _render("block.j2", view=_view(profile, "^" if hat else "profile ", title))


def _render(template: str, **values: object) -> str:
    return _environment().get_template(template).render(**values).strip("\n") + "\n"


def _view(profile: Profile, keyword: str, title: str) -> _View:
    header = keyword + _checked(_NAME, profile.name, "profile name")
    if profile.attachment is not None:
        header += " " + _checked(_ONE_LINE, profile.attachment, "attachment")
    if profile.flags:
        header += f" flags=({','.join(_checked(_FLAG, flag, 'flag') for flag in profile.flags)})"
    inner = [_view(child, "profile ", title) for child in profile.children]
    inner += [_view(hat, "^", title) for hat in profile.hats]
    return _View(title, header, profile.comments, *_sorted_out(profile.lines), tuple(inner))


def _sorted_out(lines: Iterable[Line]) -> tuple[_Groups, _Groups, _Groups]:
    """Return the groups of active lines, of lines for review and of withheld lines."""
    kept = tuple(lines)
    active, review, withheld = (
        tuple(
            tuple(_row(line) for line in group)
            for _, group in groupby((line for line in kept if line.state is state), key=_kind)
        )
        for state in (State.ACTIVE, State.REVIEW, State.WITHHELD)
    )
    return active, review, withheld


def _kind(line: Line) -> str:
    return str(getattr(line.rule, "kind", ""))


def _row(line: Line) -> _Row:
    text = _checked(_ONE_LINE, line.rule.text(), "rule")
    if text.startswith("include "):
        _include(_checked(_INCLUSION, text, "include").removeprefix("include <").removesuffix(">"))
    elif not text.endswith(","):
        raise NotExpressible(f"a rule must end with a comma: {shown(text)}")
    return _Row(text, line.comments, line.state is State.WITHHELD)


def _include(name: str) -> str:
    checked = _checked(_INCLUDE, name, "include")
    if ".." in checked.split("/"):
        raise NotExpressible(f"an include must not climb: {shown(name)}")
    return checked


def _checked(form: re.Pattern[str], value: str, what: str) -> str:
    if form.fullmatch(value) is None:
        raise NotExpressible(f"this {what} can't be written into a profile: {shown(value)}")
    return value


def _rows(comment: str) -> list[str]:
    """Return a comment as the lines to be written after `# `."""
    return textwrap.wrap(shown(comment), _COMMENT_WIDTH, break_long_words=False, break_on_hyphens=False)


def _load(name: str) -> str:
    return (folder("templates") / name).read_text("utf-8")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FunctionLoader(_load),
        undefined=StrictUndefined,
        autoescape=select_autoescape(("html", "html.j2", "svg", "svg.j2"), default=False, default_for_string=False),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["rows"] = _rows
    return environment
