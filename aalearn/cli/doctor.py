"""`aalearn doctor`: is this node able to learn and to enforce?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aalearn.cli.face import Face, face_of, sqlite_path
from aalearn.cli.output import count
from aalearn.model.errors import UsageError
from aalearn.model.text import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aalearn.doctor.finding import Ask, Finding

EXAMPLE = "Examples: sudo aalearn doctor  |  sudo aalearn doctor --bundle support.tar.gz"
_SIGNS = {"ok": "ok     ", "note": "note   ", "problem": "PROBLEM"}


def command(
    context: typer.Context,
    bundle: Annotated[
        Path | None,
        typer.Option("--bundle", metavar="FILE", help="Write a support archive (.tar.gz) that holds no secrets."),
    ] = None,
    journal: Annotated[
        bool, typer.Option("--journal", help="Add the service's last lines to the archive; they may name files.")
    ] = False,
) -> None:
    """Look at this node: kernel, AppArmor, parser, logs, limits, rights, disk, clock, store, containers, kubelet.

    Each problem comes with the command that mends it. The exit code is 1 where there is one. Some things only root can
    see.
    """
    from aalearn.doctor.bundle import bundle as write_bundle
    from aalearn.doctor.bundle import finding_document
    from aalearn.doctor.examine import examine, healthy
    from aalearn.doctor.host import Host

    face = face_of(context)
    if journal and bundle is None:
        raise UsageError("--journal adds to the archive: give --bundle FILE too")
    host, ask = Host(), _ask(face)
    findings = examine(host, ask)
    document = {
        "schema": 1,
        "healthy": healthy(findings),
        "findings": [finding_document(finding) for finding in findings],
    }
    if bundle is not None:
        members = write_bundle(bundle, host, ask, findings, _settings(face), journal=journal)
        face.say(f"aalearn: {shown(str(bundle))} holds {', '.join(members)}")
        document["bundle"] = {"file": shown(str(bundle)), "members": list(members)}
    face.emit(document, _text(findings))
    if not healthy(findings):
        raise typer.Exit(1)


def _ask(face: Face) -> Ask:
    from aalearn.doctor.finding import Ask

    settings = face.settings
    return Ask(settings.parser, settings.base, sqlite_path(settings.db), tuple(settings.run.sources))


def _settings(face: Face) -> dict[str, Any]:
    """Return the settings as plain values; the store's URL only by its kind, unless it is a plain file's."""
    values: dict[str, Any] = face.settings.model_dump(mode="json")
    if sqlite_path(face.settings.db) is None:
        values["db"] = face.settings.db.partition("://")[0] + "://(left out)"
    return values


def _text(findings: Sequence[Finding]) -> str:
    lines = []
    width = max(len(finding.check) for finding in findings)
    for finding in findings:
        lines.append(f"{_SIGNS[finding.level]}  {finding.check.ljust(width)}  {finding.text}")
        if finding.mend:
            lines.append(f"{' ' * (width + 11)}-> {finding.mend}")
    problems = sum(finding.level == "problem" for finding in findings)
    return "\n".join(
        [*lines, "", count(problems, "problem") if problems else "This node is able to learn and to enforce."]
    )
