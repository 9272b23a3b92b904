"""The options that shape what is learned, the same for every command that learns, and how they become values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from aalearn.cli.face import Face
    from aalearn.learn.options import Options
    from aalearn.store import Store

Container = Annotated[
    bool,
    typer.Option("--container", help="The profile is a container's: no includes, every exec stays in the profile."),
]
IncludeDenied = Annotated[
    bool, typer.Option("--include-denied", help="Learn from DENIED records too, and mark what rests on them.")
]
Root = Annotated[
    Path | None,
    typer.Option(
        "--root",
        metavar="DIR|LIST",
        help="The files that there are: a root file system, or a list of its paths. Generalises and counts over-grant.",
    ),
]
Target = Annotated[
    Path | None,
    typer.Option(
        "--target", metavar="FEATURES", help="The AppArmor features of the nodes that shall enforce (file or folder)."
    ),
]
Base = Annotated[
    Path | None,
    typer.Option("--base", metavar="DIR", help="The folder of profiles, abstractions and tunables (/etc/apparmor.d)."),
]


@dataclass(frozen=True, slots=True)
class Choice:
    """What the command line says of learning."""

    container: bool = False
    include_denied: bool = False
    complain: bool = False
    all_active: bool = False
    accepted: bool = False
    root: Path | None = None
    target: Path | None = None
    attachment: str | None = None
    measured_abstractions: bool = False


def options(face: Face, store: Store, name: bytes, choice: Choice) -> Options:
    """Return the options of a synthesis: the choices, and what persons have decided on this profile before."""
    from aalearn.learn.options import Mode, Options
    from aalearn.lifecycle.decided import decisions
    from aalearn.lifecycle.population import read_population
    from aalearn.policy.features import target_of

    known, strange = decisions(store.decisions(name))
    for line in strange:
        face.say(f"aalearn: note: {line}")
    population = None
    if choice.root is not None:
        population, unread = read_population(choice.root)
        face.detail(f"{len(population):,} files in {choice.root}")
        if unread:
            face.say(f"aalearn: note: {unread:,} folders below {choice.root} can't be read, so their files don't count")
    features = choice.target or face.settings.target
    return Options(
        target=target_of(features),
        container=choice.container,
        include_denied=choice.include_denied,
        complain=choice.complain,
        population=population,
        decisions=known,
        mode=Mode.ALL if choice.all_active else Mode.ACCEPTED if choice.accepted else Mode.DEFAULT,
        attachment=choice.attachment,
    )
