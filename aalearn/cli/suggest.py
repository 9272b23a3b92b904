"""`aalearn suggest`: the proved profile, or what an existing one lacks."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aalearn.cli import learning, revisions, vouching
from aalearn.cli.completion import profile_names
from aalearn.cli.explain import ground_document
from aalearn.cli.face import Face, face_of
from aalearn.cli.output import complain as tell
from aalearn.cli.output import count, plain
from aalearn.model.errors import UsageError
from aalearn.model.text import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aalearn.learn.options import Options
    from aalearn.lifecycle.abstractions import Measure
    from aalearn.lifecycle.judge import Judge
    from aalearn.lifecycle.proposal import Proposal
    from aalearn.model.event import Access
    from aalearn.policy.proof import Proof
    from aalearn.store.readings import Revision

EXAMPLE = (
    "Examples: aalearn suggest nginx > nginx.aa  |  "
    "aalearn suggest nginx --approve 'capability sys_admin,' --reason 'it mounts its own tmpfs'"
)
_NO_PROGRAM = (
    "this profile attaches to no program: give --exe PATH, or start the program under it "
    "(aa-exec -p {name}, AppArmorProfile={name} of systemd)"
)
_DIFFERENCE = 20  # lines of a difference that are told; json has all


class Abstractions(StrEnum):
    """Which abstractions a whole profile may include."""

    NONE = "none"
    MEASURED = "measured"


_Complain = Annotated[bool, typer.Option("--complain", help="Write the profile in complain mode.")]
_Whole = Annotated[bool, typer.Option("--whole", help="A whole new text, even where the profile exists on disk.")]
_All = Annotated[bool, typer.Option("--all", help="Make all of it active, also what waits for review or is withheld.")]
_Accepted = Annotated[bool, typer.Option("--accepted", help="Leave out all that waits for review.")]
_Approve = Annotated[
    list[str] | None,
    typer.Option("--approve", metavar="RULE", help="Approve a withheld rule by its text, with --reason."),
]
_Save = Annotated[
    bool, typer.Option("--save", help="Keep the text with its proof as a revision (see `aalearn history`).")
]
_Reason = Annotated[
    str, typer.Option("--reason", metavar="TEXT", help="Why rules are approved or a revision is saved: recorded.")
]
_Exe = Annotated[str | None, typer.Option("--exe", metavar="PATH", help="The program that the profile attaches to.")]
_Revision = Annotated[
    int | None,
    typer.Option("--revision", metavar="NUMBER", min=1, help="Print the text of this revision, as it was kept."),
]
_Abstractions = Annotated[
    Abstractions,
    typer.Option(
        "--abstractions",
        help="Include none, or those that save more rules than the files cost that they open (needs --root).",
    ),
]


def command(
    context: typer.Context,
    profile: Annotated[
        str, typer.Argument(metavar="PROFILE", help="The profile.", autocompletion=profile_names, show_default=False)
    ],
    complain: _Complain = False,
    whole: _Whole = False,
    all_active: _All = False,
    accepted: _Accepted = False,
    approve: _Approve = None,
    save: _Save = False,
    reason: _Reason = "",
    revision: _Revision = None,
    exe: _Exe = None,
    abstractions: _Abstractions = Abstractions.NONE,
    include_denied: learning.IncludeDenied = False,
    container: learning.Container = None,
    root: learning.Root = None,
    base: learning.Base = None,
    target: learning.Target = None,
) -> None:
    """Print the least profile for what was learned, proved by the compiled policy; or what an existing profile lacks.

    The text goes to stdout, a summary of the proof to stderr. Where the proof fails, the counter-examples are told
    instead, no profile is printed, and the exit code is 1.
    """
    face = face_of(context)
    if revision is not None:
        _kept(face, context, profile, revision)
        return
    _check(all_active, accepted, approve, reason, save=save)
    choice = learning.Choice(
        container=container,
        include_denied=include_denied,
        complain=complain,
        all_active=all_active,
        accepted=accepted,
        root=root,
        attachment=learning.attachment(exe),
        measured_abstractions=abstractions is Abstractions.MEASURED,
    )
    _check_measuring(choice)
    judge = learning.judge(face, base, target)
    with face.store(readonly=not approve) as store:
        name = learning.writable_profile(store, profile)
        if approve:
            learning.decide(face, store, name, approve, "approve", reason)
        accesses = store.accesses(name)
        kept = store.revisions(name)
        options = learning.options(face, store, name, choice, judge.target, accesses)
    container = options.container
    last = kept[-1] if kept else None
    proposal = proposal_of(face, name, accesses, options, judge, choice, last, anew=whole or container)
    _present(face, name, accesses, proposal, approve or [], container=container)
    if save:
        _save(face, name, proposal, accesses, last, reason, include_denied=include_denied)


def proposal_of(
    face: Face,
    name: bytes,
    accesses: Sequence[Access],
    options: Options,
    judge: Judge,
    choice: learning.Choice,
    previous: Revision | None,
    *,
    anew: bool,
) -> Proposal:
    """Return what to propose: for a profile that exists on disk what it lacks, unless it shall be written anew.

    `previous` is the last revision: what a new text is compared with where nothing is on disk.
    """
    measured, last = choice.measured_abstractions, previous.text if previous else None
    from aalearn.lifecycle.existing import again, find, missing
    from aalearn.lifecycle.proposal import whole

    found, skipped = find(name, judge.base or face.settings.base, judge)
    for line in skipped:
        face.say(f"aalearn: note: {line}")
    if found is None:
        return whole(name, accesses, options, judge, previous=last, measured=measured)
    if anew or found.ours:
        if options.attachment is None:
            options = replace(options, attachment=found.attachment)
        return again(name, accesses, options, judge, found, measured=measured)
    if measured:
        face.say("aalearn: note: abstractions are measured for whole texts only: add --whole")
    return missing(name, accesses, options, judge, found)


def _kept(face: Face, context: typer.Context, profile: str, number: int) -> None:
    """Print a revision's text. Raises UsageError beside options that shape a new one, or where it is not there."""
    given = [name for name in context.params if name not in ("profile", "revision") and _was_given(context, name)]
    if given:
        raise UsageError(f"--revision prints what was kept: leave out --{given[0].replace('_', '-')}")
    with face.store(readonly=True) as store:
        name = revisions.known_anywhere(store, profile)
        kept = revisions.numbered(store.revisions(name), number, name)
    from aalearn.lifecycle.past import detail_of

    face.emit(
        {
            "schema": 1,
            "profile": plain(name),
            "revision": kept.number,
            "text_sha256": kept.sha256,
            "text": kept.text,
            "proof": detail_of(kept.proof),
        },
        kept.text,
    )


def _was_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name not in ("DEFAULT", "DEFAULT_MAP")


def _save(
    face: Face,
    name: bytes,
    proposal: Proposal,
    accesses: Sequence[Access],
    last: Revision | None,
    reason: str,
    *,
    include_denied: bool,
) -> None:
    """Keep a proved text as a revision, unless it is the last one's."""
    from time import time

    from aalearn.lifecycle.decided import who
    from aalearn.lifecycle.keeping import keep, says_the_same

    if not proposal.text:
        face.say("aalearn: not saved: there is no text")
        return
    with face.store(readonly=False) as store:
        if last is not None and says_the_same(last, proposal) and vouching.settled(face, store, name, last):
            face.say(f"aalearn: not saved: this is revision {last.number}")
            return
        kept = keep(
            store,
            name,
            proposal,
            accesses,
            author=who(),
            reason=reason,
            when=int(time() * 1000),
            include_denied=include_denied,
        )
    vouching.kept(face, name, kept)
    face.say(f"aalearn: saved as revision {kept.number} of {shown(name)}")


def _check(all_active: bool, accepted: bool, approve: list[str] | None, reason: str, *, save: bool) -> None:
    if all_active and accepted:
        raise UsageError("--all and --accepted exclude each other")
    if approve and not reason.strip():
        raise UsageError("--approve needs --reason: it is recorded who approved the rule, when and why")
    if reason and not approve and not save:
        raise UsageError("--reason belongs to --approve or --save")


def _check_measuring(choice: learning.Choice) -> None:
    if choice.measured_abstractions and choice.container:
        raise UsageError("a container's profile includes nothing: leave out --abstractions measured or --container")
    if choice.measured_abstractions and choice.root is None:
        raise UsageError(
            "--abstractions measured needs --root: what one opens is counted among the files that there are"
        )


def _present(
    face: Face,
    name: bytes,
    accesses: Sequence[Access],
    proposal: Proposal,
    approved: Sequence[str],
    *,
    container: bool,
) -> None:
    """Print the proposal, or the failure of its proof (exit code 1)."""
    proof = proposal.proof
    document = _document(name, accesses, proposal)
    if not proof.proved:
        face.emit(document, "")
        for line in failure_lines(proof):
            tell(line, "not proved")
        face.detail(f"the text that failed:\n{proposal.text}")
        raise typer.Exit(1)
    face.emit(document, proposal.text)
    for line in place_lines(proposal):
        face.say(f"aalearn: {line}")
    for rule in approved:
        if not any(ground["rule"] == learning.rule_text(rule) for ground in document["rules"]):
            face.say(f"aalearn: note: approved, but nothing that was learned needs {shown(rule)}")
    for line in proof_lines(proof, proposal):
        face.say(f"aalearn: {line}")
    if not container and _attaches_to_nothing(proposal):
        face.say(f"aalearn: note: {_NO_PROGRAM.format(name=shown(name))}")
    for one in proposal.abstractions:
        if one.offered:
            face.say(f"aalearn: included: {abstraction_line(one)}")
        elif one.saves or not one.compiles:
            face.detail(f"aalearn: not included: {abstraction_line(one)}")
    for note in proposal.synthesis.notes:
        if note.level == "unneeded":
            face.detail(f"aalearn: {note.level}: {note.text}")
        else:
            face.say(f"aalearn: {note.level}: {note.text}")


def _attaches_to_nothing(proposal: Proposal) -> bool:
    """Return whether a new profile is for no program: it has no attachment, and its name is no path."""
    from aalearn.lifecycle.proposal import Form

    profile = proposal.synthesis.document.profile
    alone = profile.attachment is None and not profile.name.startswith("/")
    return alone and proposal.form is Form.WHOLE and proposal.file is None


def failure_lines(proof: Proof) -> list[str]:
    """Return why a proof fails, with its counter-examples, one line each."""
    lines = []
    for invariant in proof.failures:
        lines.append(f"{invariant.title} ({invariant.number}): {count(len(invariant.findings), 'counter-example')}")
        lines += [str(finding) for finding in invariant.findings[:10]]
        lines += [f"  record: {finding.sample}" for finding in invariant.findings[:1] if finding.sample]
        if len(invariant.findings) > 10:
            lines.append(f"and {len(invariant.findings) - 10} more; all are in --output json")
    return lines


def place_lines(proposal: Proposal) -> list[str]:
    """Return where the text belongs, and what it changes."""
    from aalearn.lifecycle.proposal import Form

    file = shown(str(proposal.file))
    if proposal.form is Form.NOTHING:
        return [f"{file} lacks nothing of what was learned"]
    if proposal.form is Form.LOCAL:
        return [f"this is the whole content of {file}, which the profile includes"]
    if proposal.form is Form.EDIT:
        return [f"this is {file} with what it lacks added, and nothing else changed"]
    difference = proposal.proof.difference
    if proposal.file is not None and not difference:
        return [f"this is a whole new text for {file}"]
    if proposal.file is not None:
        lines = [f"this is a whole new text for {file}; more (+) and less (-) than the old one permits:"]
    elif difference:
        lines = ["more (+) and less (-) than the last saved revision permits:"]
    else:
        return []
    lines += [f"  {line}" for line in difference[:_DIFFERENCE]]
    if len(difference) > _DIFFERENCE:
        lines.append(f"  … and {len(difference) - _DIFFERENCE:,} more differences; all are in --output json")
    return lines


def proof_lines(proof: Proof, proposal: Proposal) -> list[str]:
    """Return the proof in a few lines for a person."""
    counts = proof.counts
    abi = f"abi {proof.abi}" if proof.abi else "no abi"
    lines = [
        f"proved by apparmor_parser {proof.parser} ({abi}): {count(counts.events, 'event')} in "
        f"{count(counts.accesses, 'access', 'accesses')} replayed, {counts.allowed:,} allowed"
    ]
    if counts.unproved:
        lines.append(f"{count(counts.unproved, 'access', 'accesses')} can't be proved by the policy alone:")
        lines += [f"  {finding}" for finding in proof.unproved[:5]]
    review, withheld = proposal.synthesis.review, proposal.synthesis.withheld
    waiting = sum(not one.denied for one in withheld)
    if review:
        lines.append(f"{count(len(review), 'rule')} active and marked for review")
    kept_out = [f"{count(waiting, 'rule')} withheld"] if waiting else []
    if len(withheld) > waiting:
        kept_out.append(f"{count(len(withheld) - waiting, 'rule')} left out by a decision")
    if kept_out:
        lines.append(f"{', '.join(kept_out)} ({_stay_denied(counts.withheld)}): see `aalearn review`")
    lines += [f"parser: {warning}" for warning in proof.warnings]
    return lines


def _stay_denied(accesses: int) -> str:
    return f"{count(accesses, 'access', 'accesses')} {'stays' if accesses == 1 else 'stay'} denied"


def abstraction_line(one: Measure) -> str:
    """Return how an abstraction did, in one line."""
    return f"abstractions/{shown(one.name)} in {one.block}: {one.why}"


def _document(name: bytes, accesses: Sequence[Access], proposal: Proposal) -> dict[str, Any]:
    from aalearn.lifecycle.grounds import grounds

    synthesis, proof = proposal.synthesis, proposal.proof
    return {
        "schema": 1,
        "profile": plain(name),
        "form": str(proposal.form),
        "file": str(proposal.file) if proposal.file else None,
        "proved": proof.proved,
        "added": [{"block": block, "rule": rule} for block, rule in proposal.added],
        "text": proposal.text if proof.proved else None,
        "rules": [ground_document(ground) for ground in grounds(synthesis, accesses)],
        "review": [learning.waiting_document(one) for one in synthesis.review],
        "withheld": [learning.waiting_document(one) for one in synthesis.withheld],
        "notes": [{"level": str(note.level), "text": note.text} for note in synthesis.notes],
        "abstractions": [_measure_document(one) for one in proposal.abstractions],
        "proof": proof.to_json(),
    }


def _measure_document(one: Measure) -> dict[str, Any]:
    return {
        "block": one.block,
        "name": shown(one.name),
        "saves": one.saves,
        "rules": list(one.rules),
        "opens_read": one.opens_read,
        "opens_write": one.opens_write,
        "offered": one.offered,
        "why": one.why,
    }
