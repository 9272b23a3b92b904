"""`aalearn annotate --live`: from the options to a cluster, and what became of it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import typer

from aalearn.cli.output import complain, table
from aalearn.model.errors import AalearnError, UsageError
from aalearn.model.text import shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from aalearn.cli.face import Face
    from aalearn.kubernetes.choice import Choice
    from aalearn.kubernetes.live import Outcome
    from aalearn.kubernetes.profiles import Style
    from aalearn.kubernetes.workloads import Kind

_TARGET = re.compile(r"(?P<kind>[A-Za-z]+)(?:\.[a-z0-9.]+)?/(?P<name>[a-z0-9]([-a-z0-9.]*[a-z0-9])?)")
_SHORT = {"po": "Pod", "deploy": "Deployment", "sts": "StatefulSet", "ds": "DaemonSet", "rs": "ReplicaSet"}
_SHORT |= {"rc": "ReplicationController", "cj": "CronJob"}
Target = tuple["Kind", str, str]  # kind, name, namespace ("" where none is named)


def run(face: Face, arguments: Sequence[Path], choice: Choice, style: Style, cluster: dict[str, Any]) -> None:
    """Give the workloads of a cluster their profiles, one after the other; stop at the first that fails."""
    from aalearn.kubernetes.cluster import Cluster
    from aalearn.kubernetes.live import Options, annotate_live

    targets = list(dict.fromkeys(_targets(arguments)))
    options = Options(style, cluster["timeout"], cluster["force"], cluster["dry_run"])
    api = Cluster.connect(cluster["context"], cluster["namespace"])
    outcomes: list[Outcome] = []
    try:
        for kind, name, namespace in targets:
            where = namespace or api.namespace
            outcomes.append(
                annotate_live(api, kind, name, where, choice, options, lambda text: face.say(f"aalearn: {text}"))
            )
            _tell(face, outcomes[-1])
            if not outcomes[-1].fine:
                break
    except AalearnError:
        if outcomes:
            _emit(face, outcomes)
        raise
    finally:
        api.close()
    _emit(face, outcomes)
    if len(outcomes) < len(targets):
        rest = len(targets) - len(outcomes)
        complain(f"stopped at the first that failed; {rest:,} more left as they are", "note")
    if not all(one.fine for one in outcomes):
        raise typer.Exit(1)


def _emit(face: Face, outcomes: Sequence[Outcome]) -> None:
    face.emit({"schema": 1, "workloads": [_row(one) for one in outcomes]}, _text(outcomes))


def _targets(arguments: Sequence[Path]) -> Iterator[Target]:
    """Yield the workloads that KIND/NAME arguments and manifests name."""
    from aalearn.kubernetes import manifests
    from aalearn.kubernetes.workloads import KINDS

    plural = {kind.plural: kind for kind in KINDS.values()}
    kinds = {name.lower(): kind for name, kind in KINDS.items()} | plural
    kinds |= {short: KINDS[name] for short, name in _SHORT.items()}
    for argument in arguments:
        found = _TARGET.fullmatch(str(argument))
        if found is not None and found["kind"].lower() in kinds and not argument.exists():
            yield kinds[found["kind"].lower()], found["name"], ""
            continue
        for path, _ in manifests.files([argument]):
            for document in manifests.read(path).documents:
                for workload in document.workloads():
                    if not workload.name:
                        told = "it has no name of its own, so it can't be found in a cluster"
                        raise UsageError(f"{shown(str(path))}: {shown(workload.title)}: {told}")
                    yield workload.kind, workload.name, workload.namespace


def _tell(face: Face, outcome: Outcome) -> None:
    title = shown(outcome.workload.title)
    for finding in outcome.findings:
        if finding.level == "warning" and not face.quiet:
            complain(f"{title}: {finding.text}", "warning")
    if not outcome.fine:
        complain(f"{title}: {outcome.told}")


def _text(outcomes: Sequence[Outcome]) -> str:
    if not outcomes:
        return ""
    return table(("WORKLOAD", "STATE", "TOLD"), [(one.workload.title, one.state, one.told) for one in outcomes])


def _row(outcome: Outcome) -> dict[str, Any]:
    return {
        "kind": outcome.workload.kind.name,
        "namespace": outcome.workload.namespace,
        "name": outcome.workload.name,
        "state": outcome.state,
        "told": outcome.told,
        "containers": [
            {
                "container": effect.container,
                "before": None if effect.before is None else str(effect.before),
                "after": None if effect.after is None else str(effect.after),
            }
            for effect in outcome.plan.effects
        ],
    }
