"""`aalearn check`: a profile on disk against what was learned."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aalearn.cli import learning
from aalearn.cli.face import Face, face_of
from aalearn.cli.output import count, plain
from aalearn.model.errors import UsageError
from aalearn.model.text import shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aalearn.lifecycle.checking import Checked, Danger
    from aalearn.lifecycle.judge import Judge
    from aalearn.lifecycle.replay import Reply
    from aalearn.policy.census import Census
    from aalearn.store import Store

EXAMPLE = (
    "Examples: aalearn check /etc/apparmor.d/usr.sbin.nginx  |  "
    "aalearn check nginx.aa --log /var/log/audit/audit.log --root /"
)
_EXAMPLES = 3  # paths of an over-grant in the text; json has more
_SHOWN = 50  # denials of one profile in the text; json has all


def command(
    context: typer.Context,
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...", readable=False, show_default=False, help="Profiles on disk, or compiled policy."
        ),
    ],
    log: Annotated[
        list[Path] | None,
        typer.Option(
            "--log", metavar="LOG", readable=False, help="Replay this log instead of what was learned. Repeatable."
        ),
    ] = None,
    learned_as: Annotated[
        str | None,
        typer.Option("--profile", metavar="NAME", help="The name under which it was learned, if it is not the file's."),
    ] = None,
    include_denied: learning.IncludeDenied = False,
    root: learning.Root = None,
    base: learning.Base = None,
    target: learning.Target = None,
) -> None:
    """Replay learned events against profiles on disk, includes and all: what they would deny, and what is risky.

    The compiled policy is asked, so nothing of the policy language is guessed. The exit code is 1 when something that
    was needed would be denied.
    """
    face = face_of(context)
    judge = learning.judge(face, base, target)
    choice = learning.Choice(include_denied=include_denied, root=root)
    results: list[tuple[Path, Checked]] = []
    with _evidence(face, log) as store:
        for file in files:
            results += [(file, one) for one in _checked(face, store, file, learned_as, choice, judge)]
    document = {"schema": 1, "results": [_document(file, one) for file, one in results]}
    face.emit(document, "\n\n".join(_text(file, one) for file, one in results))
    if any(one.refused for _, one in results):
        raise typer.Exit(1)


@contextmanager
def _evidence(face: Face, logs: list[Path] | None) -> Iterator[Store]:
    """Open the store, or one for the moment that holds just these logs."""
    if not logs:
        with face.store(readonly=True) as store:
            yield store
        return
    from aalearn.intake import Options, ingest
    from aalearn.store import Store

    with (
        tempfile.TemporaryDirectory(prefix="aalearn-") as folder,
        Store.open(f"sqlite:///{folder}/check.db") as store,
    ):
        summary = ingest(logs, store, Options(node=face.settings.node))
        if summary.incomplete:
            face.say("aalearn: note: records of these logs are missing, so not all that was needed is known")
        yield store


def _checked(
    face: Face, store: Store, file: Path, learned_as: str | None, choice: learning.Choice, judge: Judge
) -> Iterator[Checked]:
    from aalearn.lifecycle.checking import check, tops
    from aalearn.lifecycle.judge import load

    loaded = load(file, judge)
    for warning in loaded.compiled.warnings if loaded.compiled else ():
        face.say(f"aalearn: note: {shown(str(file))}: {warning}")
    known = {summary.name for summary in store.profiles()}
    names = tops(loaded)
    if learned_as is not None and learned_as.encode("utf-8", "surrogateescape") not in known:
        near = [shown(name) for name in store.nearest(learned_as.encode("utf-8", "surrogateescape"))]
        raise UsageError(f"nothing was learned for the profile {shown(learned_as)}" + _did_you_mean(near))
    for name in names:
        source = name if learned_as is None else learned_as.encode("utf-8", "surrogateescape")
        if source not in known:
            near = [shown(other) for other in store.nearest(source)]
            face.say(f"aalearn: note: nothing was learned for the profile {shown(name)}{_did_you_mean(near)}")
        options = learning.options(face, store, source, choice, judge.target)
        yield check(loaded, name, source, store.accesses(source), options)


def _did_you_mean(near: list[str]) -> str:
    return f"; did you mean --profile {' or '.join(near)}?" if near else ""


def _text(file: Path, one: Checked) -> str:
    from aalearn.lifecycle.replay import Fate

    lines = [f"{shown(str(file))}: profile {shown(one.profile)}{' (complain mode)' if one.complain else ''}"]
    told = []
    for fate, words in (
        (Fate.ALLOWED, "allowed"),
        (Fate.DENIED, "would be denied"),
        (Fate.AFTER, "could not happen, because their program would not run"),
        (Fate.UNPROVED, "can't be proved by the policy alone"),
        (Fate.ELSEWHERE, "run under another profile"),
    ):
        found = one.of(fate)
        if found:
            told.append(f"{len(found):,} {words}")
    lines.append(f"  {count(len(one.replies), 'learned access', 'learned accesses')}: {', '.join(told) or 'none'}")
    denied = one.of(Fate.DENIED)
    lines += [f"  denied   {_reply(reply)}" for reply in denied[:_SHOWN]]
    if len(denied) > _SHOWN:
        lines.append(f"  … and {len(denied) - _SHOWN:,} more denied; --output json lists all")
    lines += [f"  unproved {_reply(reply)}" for reply in one.of(Fate.UNPROVED)[:_SHOWN]]
    lines += [f"  risky    {_danger(danger)}" for danger in one.dangers]
    for block, census in one.censuses:
        lines.append(
            f"  open     {block}: {census.unread:,} of {count(census.paths, 'file')} may be read and never were "
            f"({census.over_read:.2%}), {census.unwritten:,} written ({census.over_written:.2%})"
        )
        lines += [f"             w {shown(path)}" for path in census.unwritten_examples[:_EXAMPLES]]
        lines += [f"             r {shown(path)}" for path in census.unread_examples[:_EXAMPLES]]
    return "\n".join(lines)


def _reply(reply: Reply) -> str:
    from aalearn.policy.gate import describe

    return f"{reply.block}: {describe(reply.event)} ({reply.why}), {count(reply.access.count, 'event')}"


def _danger(danger: Danger) -> str:
    what = f"{danger.letters} on {danger.what}, for instance {danger.example}" if danger.letters else danger.what
    why = f" ({danger.why})" if danger.why else ""
    return f"{danger.block}: {what}{why}: {'needed by what was learned' if danger.used else 'never needed'}"


def _document(file: Path, one: Checked) -> dict[str, Any]:
    from aalearn.lifecycle.replay import Fate

    return {
        "file": str(file),
        "profile": plain(one.profile),
        "complain": one.complain,
        "accesses": len(one.replies),
        "counts": {str(fate): len(one.of(fate)) for fate in Fate},
        "denied": [_reply_document(reply) for reply in one.of(Fate.DENIED)],
        "unproved": [_reply_document(reply) for reply in one.of(Fate.UNPROVED)],
        "risky": [
            {
                "block": danger.block,
                "what": danger.what,
                "permissions": danger.letters,
                "example": danger.example,
                "why": danger.why,
                "used": danger.used,
            }
            for danger in one.dangers
        ],
        "over_grant": [_census(block, census) for block, census in one.censuses],
    }


def _census(block: str, census: Census) -> dict[str, Any]:
    return {
        "block": block,
        "files": census.paths,
        "readable": census.readable,
        "writable": census.writable,
        "executable": census.executable,
        "never_read": census.unread,
        "never_written": census.unwritten,
        "over_read": round(census.over_read, 6),
        "over_written": round(census.over_written, 6),
        "never_read_examples": [plain(path) for path in census.unread_examples],
        "never_written_examples": [plain(path) for path in census.unwritten_examples],
    }


def _reply_document(reply: Reply) -> dict[str, Any]:
    from aalearn.policy.gate import describe

    return {
        "block": reply.block,
        "event": describe(reply.event),
        "why": reply.why,
        "events": reply.access.count,
        "record": plain(reply.access.sample),
    }
