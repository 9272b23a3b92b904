"""`aalearn check-pods`: which Pods name which profile, is it loaded where they run, and why does one not start."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aalearn.cli.face import Face, face_of
from aalearn.cli.output import count, table
from aalearn.model.errors import BadInput, PolicyError, UsageError
from aalearn.model.text import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aalearn.kubernetes.nodes import Node
    from aalearn.kubernetes.pods import Report, Row, Trouble

EXAMPLE = (
    "Examples: kubectl get pods -A -o json | aalearn check-pods --from -  |  "
    "aalearn check-pods --live --namespace prod --node worker-1=worker-1.json"
)
_LARGEST = 512 << 20  # bytes of objects
_SOME = 8  # nodes in a note


def command(
    context: typer.Context,
    sources: Annotated[
        list[Path] | None,
        typer.Option(
            "--from",
            metavar="FILE",
            readable=False,
            help="Saved kubectl get pods -A -o json (nodes, workloads, too); - for stdin. Repeatable.",
        ),
    ] = None,
    live: Annotated[bool, typer.Option("--live", help="Ask the cluster for its Pods.")] = False,
    cluster: Annotated[
        str | None, typer.Option("--context", metavar="NAME", help="With --live: the kubeconfig's context.")
    ] = None,
    namespace: Annotated[
        str | None, typer.Option("--namespace", metavar="NAME", help="Only this namespace. Default: all.")
    ] = None,
    node: Annotated[
        list[str] | None,
        typer.Option(
            "--node",
            metavar="NAME=FILE",
            help="What a node has loaded: its aa-status --json, or its list in securityfs. Repeatable.",
        ),
    ] = None,
    this_node: Annotated[
        str | None,
        typer.Option("--this-node", metavar="NAME", help="This machine's name as a node. Default: --node's."),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Containers without a profile of their own too.")] = False,
) -> None:
    """Show which Pods name which profile, if it is loaded on their nodes, and why one is Blocked or can't be created.

    What this machine has loaded is known when root asks; other nodes are given with --node. The exit code is 1 when
    something is wrong.
    """
    from aalearn.kubernetes.pods import check

    face = face_of(context)
    if not sources and not live:
        raise UsageError("which Pods? kubectl get pods -A -o json | aalearn check-pods --from -, or --live")
    if cluster and not live:
        raise UsageError("--context goes with --live")
    values: list[Any] = []
    for source in sources or []:
        values += _objects(source)
    if live:
        values += _asked(cluster, namespace)
    known, here = _nodes(face, node or [], this_node)
    report = check(values, known, here, namespace)
    shown_rows = [row for row in report.rows if everything or row.confinement is not None]
    face.emit(_document(report, shown_rows, known), _text(report, shown_rows))
    if report.unknown:
        names = ", ".join(shown(name) for name in report.unknown[:_SOME])
        more = f" and {len(report.unknown) - _SOME:,} more" if len(report.unknown) > _SOME else ""
        face.say(
            f"aalearn: note: what {names}{more} loaded is not known: on each, aa-status --json > NODE.json; "
            "then --node NODE=NODE.json"
        )
    pods = len({id(row.workload) for row in report.rows})
    face.say(
        f"aalearn: {count(pods, 'Pod or template', 'Pods and templates')}, {count(len(report.rows), 'row')}, "
        f"{count(report.errors, 'error')}, {count(len(report.troubles) - report.errors, 'warning')}"
    )
    if report.errors:
        raise typer.Exit(1)


def _objects(path: Path) -> list[Any]:
    """Return the objects of a file: JSON at once, else YAML. BadInput where there are none: kubectl may have failed."""
    from aalearn.kubernetes import manifests

    name = "standard input" if str(path) == "-" else shown(str(path))
    text = _read(path, name)
    try:
        found = [json.loads(text.removeprefix("\ufeff"))]
    except ValueError:
        found = [document.value for document in manifests.parse(text, name)]
    except RecursionError:
        raise BadInput(f"{name} is nested too deeply") from None
    if not any(isinstance(one, dict) and one.get("kind") for one in found):
        raise BadInput(f"{name} holds no Kubernetes object: nothing in it has a kind (did kubectl fail?)")
    return found


def _read(path: Path, name: str) -> str:
    try:
        if str(path) == "-":
            if sys.stdin is None:
                raise UsageError("standard input is closed: there is nothing to read at -")
            raw = sys.stdin.buffer.read(_LARGEST + 1)
        else:
            with path.open("rb") as file:
                raw = file.read(_LARGEST + 1)
    except OSError as error:
        raise UsageError(f"can't read {name}: {error.strerror}") from None
    if len(raw) > _LARGEST:
        raise BadInput(f"{name} is larger than {_LARGEST >> 20} MiB")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise BadInput(f"{name} is not UTF-8 text") from None


def _asked(context: str | None, namespace: str | None) -> list[Any]:
    from aalearn.kubernetes.cluster import Cluster

    api = Cluster.connect(context, namespace)
    try:
        return [{"kind": "Pod", "apiVersion": "v1", **pod} for pod in api.pods(namespace)]
    finally:
        api.close()


def _nodes(face: Face, given: Sequence[str], this_node: str | None) -> tuple[list[Node], Node | None]:
    """Return the nodes that are known, and this machine as one where it may be read and its name is not sure."""
    from aalearn.kubernetes.nodes import Node, parse_loaded
    from aalearn.policy.loaded import loaded

    found: dict[str, Node] = {}
    for one in given:
        name, equals, file = one.partition("=")
        if not (name and equals and file):
            raise UsageError(f"write --node NAME=FILE, not {shown(one)}")
        found[name] = Node(name, parse_loaded(_read(Path(file), shown(file)), shown(file)))
    here = this_node or face.settings.node
    if here not in found:
        try:
            own = {one.name.decode("utf-8", "replace"): one.mode for one in loaded() if not one.namespace}
            if not this_node:
                return list(found.values()), Node(here, own)
            found[here] = Node(here, own)
        except PolicyError as error:
            face.detail(f"aalearn: note: what this machine has loaded is not known: {error}")
            if this_node:
                raise
    return list(found.values()), None


def _text(report: Report, rows: Sequence[Row]) -> str:
    parts = []
    if rows:
        cells = [
            (
                row.workload.namespace or "-",
                row.workload.name if row.workload.kind.name == "Pod" else row.workload.title,
                row.container.name,
                row.node or "-",
                "-" if row.confinement is None else str(row.confinement),
                row.said_by,
                row.state or "-",
            )
            for row in rows
        ]
        parts.append(table(("NAMESPACE", "POD", "CONTAINER", "NODE", "PROFILE", "SAID BY", "STATE"), cells))
    parts += [
        f"{one.level}: {_where(one)}: {one.text}" + (f"\n  do: {one.mend}" if one.mend else "")
        for one in report.troubles
    ]
    return "\n".join(parts)


def _where(trouble: Trouble) -> str:
    inner = f", {trouble.container}" if trouble.container else ""
    return shown(f"{trouble.workload.title}{inner}")


def _document(report: Report, rows: Sequence[Row], known: Sequence[Node]) -> dict[str, Any]:
    return {
        "schema": 1,
        "nodes": sorted(node.name for node in known),
        "unknown_nodes": list(report.unknown),
        "containers": [
            {
                "kind": row.workload.kind.name,
                "namespace": row.workload.namespace,
                "name": row.workload.name,
                "container": row.container.name,
                "node": row.node,
                "profile": None if row.confinement is None else str(row.confinement),
                "said_by": row.said_by,
                "state": row.state,
            }
            for row in rows
        ],
        "findings": [
            {
                "level": str(one.level),
                "code": one.code,
                "kind": one.workload.kind.name,
                "namespace": one.workload.namespace,
                "name": one.workload.name,
                "container": one.container,
                "node": one.node,
                "text": one.text,
                "do": one.mend,
            }
            for one in report.troubles
        ],
    }
