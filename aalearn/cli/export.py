"""`aalearn export`: learned profiles for clusters and container runtimes, each under a versioned name, proved again."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aalearn.cli import learning
from aalearn.cli.face import Face, face_of
from aalearn.cli.output import complain as tell
from aalearn.cli.output import count, plain
from aalearn.cli.suggest import failure_lines
from aalearn.model.errors import UsageError
from aalearn.model.text import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aalearn.kubernetes.exports import Exported, Outgoing, Report
    from aalearn.learn.options import Options
    from aalearn.lifecycle.judge import Judge
    from aalearn.model.event import Access
    from aalearn.policy.proof import Finding

EXAMPLE = (
    "Examples: aalearn export spo web --spo-version 0.9 | kubectl apply --server-side -f -  |  "
    "aalearn export configmap web api --output-dir profiles  |  aalearn export networkpolicy web --selector app=web"
)
_WORD = r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?"  # a label's name or value
_SHOWN = 8  # lines of a kind that are told; json has all


@dataclass(frozen=True, slots=True)
class _Ask:
    """What the command line says of the exported names and modes."""

    enforce: bool
    name: str


def command(
    context: typer.Context,
    format_: Annotated[
        str,
        typer.Argument(
            metavar="FORMAT",
            help="spo, configmap, daemonset, networkpolicy, raw, oci, docker, podman, containerd or crio.",
            autocompletion=lambda: _formats(),
            show_default=False,
        ),
    ],
    profiles: Annotated[
        list[str] | None, typer.Argument(metavar="PROFILE", help="Learned profiles.", show_default=False)
    ] = None,
    enforce: Annotated[bool, typer.Option("--enforce", help="In enforce mode. Default: complain first.")] = False,
    name: Annotated[
        str, typer.Option("--name", metavar="NAME", help="The name before the version. Default: the profile's, as DNS.")
    ] = "",
    spo_version: Annotated[
        str, typer.Option("--spo-version", metavar="RELEASE", help="spo: the operator's release (0.8, 0.9, 1.0 …).")
    ] = "1.0",
    binding: Annotated[
        str, typer.Option("--binding", metavar="IMAGE", help="spo: a ProfileBinding for this image too.")
    ] = "",
    namespace: Annotated[str, typer.Option("--namespace", metavar="NAME", help="The objects' namespace.")] = "",
    image: Annotated[
        str, typer.Option("--image", metavar="IMAGE", help="configmap, daemonset: an image with aalearn in it.")
    ] = "",
    selector: Annotated[
        str, typer.Option("--selector", metavar="KEY=VALUE,…", help="networkpolicy: the labels of the Pods.")
    ] = "",
    output_dir: Annotated[
        Path | None, typer.Option("--output-dir", metavar="DIR", help="Write files there. Default: stdout.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite files of --output-dir.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be written, write nothing.")] = False,
    all_active: Annotated[bool, typer.Option("--all", help="Also what waits for review or is withheld.")] = False,
    accepted: Annotated[bool, typer.Option("--accepted", help="Leave out all that waits for review.")] = False,
    include_denied: learning.IncludeDenied = False,
    container: learning.Container = None,
    root: learning.Root = None,
    base: learning.Base = None,
    target: learning.Target = None,
) -> None:
    """Write learned profiles for a cluster or a container runtime.

    Each gets a name with a version, made of what it permits (web-7f3a1c02): other rules are another name, so a rollback
    is a change of the name. The text under that name is proved again; for spo the operator's own rendering is compiled
    and all learned events are replayed. The exit code is 1 where something learned would be denied.
    """
    from aalearn.kubernetes.exports.base import IMAGE, Choice

    face = face_of(context)
    if all_active and accepted:
        raise UsageError("--all and --accepted exclude each other")
    if (force or dry_run) and output_dir is None:
        raise UsageError("--force and --dry-run are for --output-dir DIR: to stdout nothing is overwritten")
    exporter = _exporter(format_)
    if not profiles and not exporter.takes_none:
        raise UsageError(f"name the profiles to export: aalearn export {format_} PROFILE…")
    if name and len(profiles or ()) != 1:
        raise UsageError("--name is for one profile: the others would get the same name")
    learnt = learning.Choice(
        container=True if container is None else container,
        include_denied=include_denied,
        all_active=all_active,
        accepted=accepted,
        root=root,
    )
    judge = learning.judge(face, base, target)
    outgoing = _outgoing(face, profiles or [], learnt, judge, _Ask(enforce, name))
    chosen = Choice(
        target=judge.gate(strict=False),
        enforce=enforce,
        namespace=_label(namespace, "--namespace"),
        image=_image(image) or IMAGE,
        spo_version=spo_version,
        binding=binding,
        selector=_selector(selector),
    )
    exported = exporter.export(outgoing, chosen)
    _present(face, format_, exported, outgoing, output_dir, force=force, dry_run=dry_run)
    if any(report.denied for report in exported.reports):
        raise typer.Exit(1)


def _formats() -> list[str]:
    from aalearn.kubernetes.exports import FORMATS

    return sorted(FORMATS)


def _exporter(wanted: str) -> Any:
    from aalearn.kubernetes.exports import FORMATS

    if wanted not in FORMATS:
        near = get_close_matches(wanted, FORMATS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(sorted(FORMATS))}"
        raise UsageError(f"there is no format {shown(wanted)}; {hint}")
    return FORMATS[wanted]


def _label(text: str, option: str) -> str:
    if text and not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", text):
        raise UsageError(f"{option} must be a DNS label, as Kubernetes names namespaces: {shown(text)}")
    return text


def _image(text: str) -> str:
    if any(char.isspace() or not char.isprintable() for char in text):
        raise UsageError(f"--image must name an image: {shown(text)}")
    return text


def _selector(text: str) -> tuple[tuple[str, str], ...]:
    """Return the labels of `a=b,c=d`. Raises UsageError for what Kubernetes would not take as labels."""
    found: dict[str, str] = {}
    for part in filter(None, text.split(",")):
        key, equals, value = part.partition("=")
        prefix, slash, last = key.rpartition("/")
        names = [(rf"{_WORD}", last), (rf"({_WORD})?", value)]
        names += [(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?", prefix)] if slash else []
        if not equals or not all(re.fullmatch(form, one) for form, one in names):
            raise UsageError(f"--selector must be labels such as app=web,tier=front: {shown(part)}")
        found[key] = value
    return tuple(sorted(found.items()))


def _outgoing(face: Face, profiles: Sequence[str], learnt: learning.Choice, judge: Judge, ask: _Ask) -> list[Outgoing]:
    """Return the profiles under their exported names, each proved. Exits with 1 where a proof fails."""
    found: list[Outgoing] = []
    if not profiles:
        return found
    with face.store(readonly=True) as store:
        for profile in dict.fromkeys(profiles):
            name = learning.writable_profile(store, profile)
            accesses = store.accesses(name)
            options = learning.options(face, store, name, learnt, judge.target, accesses)
            found.append(prepared(name, accesses, options, judge, enforce=ask.enforce, base=ask.name))
    names: dict[str, bytes] = {}
    for one in found:
        if one.name in names:
            raise UsageError(f"{shown(names[one.name])} and {shown(one.learned)} would both be named {one.name}")
        names[one.name] = one.learned
    failed = [one for one in found if not one.proof.proved]
    for one in failed:
        for line in failure_lines(one.proof):
            tell(f"{shown(one.learned)}: {line}", "not proved")
    if failed:
        raise typer.Exit(1)
    return found


def prepared(
    name: bytes, accesses: Sequence[Access], options: Options, judge: Judge, *, enforce: bool, base: str = ""
) -> Outgoing:
    """Return a learned profile under its exported name, with the proof of the text that carries that name.

    `base`: the name before the version, "" for the profile's own. Raises as `lifecycle.proposal.whole` does.
    """
    from aalearn.grammar.writer import write
    from aalearn.kubernetes.exports import Outgoing
    from aalearn.kubernetes.naming import base_of, checked_base, renamed, versioned
    from aalearn.learn.synthesis import synthesize
    from aalearn.lifecycle.proposal import questions, vouched
    from aalearn.policy.gate import prove

    synthesis = synthesize(name, accesses, options)
    first = checked_base(base) if base else base_of(name)
    made = renamed(name, versioned(first, synthesis.document), synthesis.document, questions(synthesis.learned))
    document = replace(made.document, profile=made.document.profile.in_mode(complain=not enforce))
    text = write(document)
    proof = prove(text, made.questions, judge.gate(), vouched=vouched(synthesis, options))
    return Outgoing(name, made.name, text, enforce, synthesis, made.questions, proof)


def _present(
    face: Face,
    format_: str,
    exported: Exported,
    outgoing: Sequence[Outgoing],
    output_dir: Path | None,
    *,
    force: bool,
    dry_run: bool,
) -> None:
    from aalearn.cli.outfiles import conflicts, write_all

    files = {file.name: file.content for file in exported.files}
    if output_dir is not None and not dry_run:
        write_all(output_dir, files, force=force)
    document = _document(format_, exported, outgoing)
    if output_dir is None:
        face.emit(document, _stream(exported))
    else:
        face.emit(document, "\n".join(str(output_dir / name) for name in files))
        over = conflicts(output_dir, files) if dry_run else []
        if dry_run:
            face.say("aalearn: dry run: nothing was written")
        for name in over:
            face.say(f"aalearn: note: {shown(str(output_dir / name))} is there already: it would need --force")
    modes = {one.name: "enforce" if one.enforce else "complain" for one in outgoing}
    for report in exported.reports:
        _tell(face, report, modes.get(report.name, ""))
    for note in exported.notes:
        face.say(f"aalearn: {note}")


def _stream(exported: Exported) -> str:
    """Return the files as one text: YAML documents, the one file, or each file under a line with its name."""
    contents = [file.content for file in exported.files if not file.alone]
    if exported.stream == "yaml":
        return "---\n".join(contents)
    if len(contents) == 1:
        return contents[0]
    return "\n".join(f"==> {file.name} <==\n{file.content}" for file in exported.files)


def _tell(face: Face, report: Report, mode: str) -> None:
    """Tell what became of one profile, on stderr."""
    said = f" in {mode} mode" + (" (--enforce: in enforce mode)" if mode == "complain" else "") if mode else ""
    face.say(f"aalearn: {shown(report.learned)} is exported as {report.name}{said}")
    _several(face, [str(remark) for remark in report.lost], "rule", "can't be said in this format")
    _several(face, [str(remark) for remark in report.widened], "rule", "said more widely than learned")
    _several(face, [str(one) for one in report.granted], "access", "allowed although its rule is withheld", "accesses")
    _several(face, [str(one) for one in report.unproved], "access", "not provable by the policy alone", "accesses")
    for note in report.notes:
        face.say(f"aalearn: {note}")
    if report.denied:
        events = count(sum(one.count for one in report.denied), "learned event")
        tell(f"{report.name} would deny {events} when enforced:", "denied")
        for line in _cut([str(one) for one in report.denied]):
            tell(line, "denied")


def _several(face: Face, lines: Sequence[str], noun: str, what: str, plural: str = "") -> None:
    if lines:
        face.say(f"aalearn: {count(len(lines), noun, plural)} {what}:")
        for line in _cut(lines):
            face.say(f"aalearn:   {line}")


def _cut(lines: Sequence[str]) -> list[str]:
    more = [f"and {len(lines) - _SHOWN} more; all are in --output json"] if len(lines) > _SHOWN else []
    return [*map(shown, lines[:_SHOWN]), *more]


def _document(format_: str, exported: Exported, outgoing: Sequence[Outgoing]) -> dict[str, Any]:
    proofs = {one.name: one for one in outgoing}
    return {
        "schema": 1,
        "format": format_,
        "files": [{"name": file.name, "content": file.content} for file in exported.files],
        "profiles": [
            {
                "profile": plain(report.learned),
                "name": report.name,
                "enforce": proofs[report.name].enforce,
                "proved": proofs[report.name].proof.proved,
                "proof": proofs[report.name].proof.to_json(),
                "lost": [{"rule": one.rule, "why": one.why} for one in report.lost],
                "widened": [{"rule": one.rule, "why": one.why} for one in report.widened],
                "denied": [_finding(one) for one in report.denied],
                "unproved": [_finding(one) for one in report.unproved],
                "granted": [_finding(one) for one in report.granted],
                "notes": list(report.notes),
            }
            for report in exported.reports
        ],
        "notes": list(exported.notes),
    }


def _finding(one: Finding) -> dict[str, Any]:
    return {"what": one.what, "why": one.why, "events": one.count, "record": one.sample}
