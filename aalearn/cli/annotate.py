"""`aalearn annotate`: Pods and Pod templates get their profiles, in files or in a cluster."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from aalearn.cli.annotate_report import Done, report
from aalearn.cli.completion import profile_names
from aalearn.cli.face import Face, face_of, sqlite_path
from aalearn.cli.output import complain
from aalearn.model.errors import AalearnError, BadInput, UsageError
from aalearn.model.text import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aalearn.kubernetes.choice import Choice
    from aalearn.kubernetes.profiles import Style

EXAMPLE = (
    "Examples: aalearn annotate web.yaml --profile web --in-place  |  "
    "aalearn annotate k8s/ --map profiles.yaml --patch kustomize > kustomization.yaml  |  "
    "aalearn annotate --live deployment/web --profile web"
)
_SOME = 12  # names in a hint
_HELD = re.compile("\ue000+")  # manifests.TEMPLATED


def command(
    context: typer.Context,
    manifests: Annotated[
        list[Path],
        typer.Argument(
            metavar="MANIFEST...",
            readable=False,
            show_default=False,
            help="Files or folders of YAML or JSON, - for standard input; with --live also KIND/NAME.",
        ),
    ],
    profile: Annotated[
        str | None,
        typer.Option(
            "--profile",
            metavar="NAME",
            autocompletion=profile_names,
            help="The profile: NAME or localhost/NAME; also runtime/default and unconfined.",
        ),
    ] = None,
    container: Annotated[
        list[str] | None,
        typer.Option("--container", metavar="C", help="This container only, init and ephemeral too. Repeatable."),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all-containers", help="Init and ephemeral containers too, not the main ones alone.")
    ] = False,
    pod: Annotated[bool, typer.Option("--pod", help="At the Pod level: containers without their own follow.")] = False,
    map_file: Annotated[
        Path | None,
        typer.Option("--map", metavar="FILE", readable=False, help="YAML lines [[NAMESPACE/]KIND/]NAME/C: PROFILE."),
    ] = None,
    remove: Annotated[
        bool, typer.Option("--remove", help="Remove what is said of profiles; with --profile only where it stands.")
    ] = False,
    style: Annotated[
        Literal["both", "field", "annotation"] | None,
        typer.Option("--style", help="Field appArmorProfile, annotation, or both (the default)."),
    ] = None,
    kube_version: Annotated[
        str | None,
        typer.Option("--kube-version", metavar="1.NN", help="Only what this version reads: field from 1.30 on."),
    ] = None,
    in_place: Annotated[
        bool, typer.Option("--in-place", help="Edit the files; each keeps a backup, NAME.bak.")
    ] = False,
    patch: Annotated[
        Literal["strategic", "json", "kustomize"] | None,
        typer.Option("--patch", help="Print patches and leave the manifests as they are."),
    ] = None,
    live: Annotated[bool, typer.Option("--live", help="Apply to the cluster, watch, and undo when Pods fail.")] = False,
    cluster: Annotated[
        str | None, typer.Option("--context", metavar="NAME", help="With --live: the kubeconfig's context.")
    ] = None,
    namespace: Annotated[
        str | None, typer.Option("--namespace", metavar="NAME", help="With --live: where a manifest names none.")
    ] = None,
    timeout: Annotated[
        int, typer.Option("--timeout", metavar="SECONDS", min=1, help="With --live: how long a rollout may take.")
    ] = 300,
    force: Annotated[
        bool, typer.Option("--force-conflicts", help="With --live: take over fields that others manage.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show a diff (--in-place) or ask the server only (--live).")
    ] = False,
) -> None:
    """Name profiles in Pods and Pod templates of every workload kind, without touching any other byte.

    Prints the edited manifests; --in-place, --patch and --live do otherwise. What can't be edited by position (Helm
    templates, parts shared by YAML anchors) gets a patch, with the reason on stderr. The exit code is 1 when something
    was refused or is left to a patch.
    """
    face = face_of(context)
    how = _Options(in_place, patch, live, dry_run, style, kube_version, cluster, namespace, timeout, force)
    choice = _choice(face, profile, container or [], every, pod, map_file, remove)
    wanted = how.wanted_style(choice.pod)
    if live:
        from aalearn.cli import annotate_live

        annotate_live.run(face, manifests, choice, wanted, how.cluster())
        return
    done, skipped = _rewritten(manifests, choice, wanted)
    refused = _told(face, done, choice)
    report(face, done, how.patch, how.in_place, how.dry_run, bool(refused))
    if refused or skipped or (any(result.unsafe for _, results in done for result in results) and not patch):
        raise typer.Exit(1)


class _Options:
    """The options that say how, checked against each other. Raises UsageError."""

    def __init__(
        self,
        in_place: bool,
        patch: Literal["strategic", "json", "kustomize"] | None,
        live: bool,
        dry_run: bool,
        style: str | None,
        kube_version: str | None,
        context: str | None,
        namespace: str | None,
        timeout: int,
        force: bool,
    ) -> None:
        if sum((in_place, patch is not None, live)) > 1:
            raise UsageError("choose one of --in-place, --patch and --live")
        if not live and (context or namespace or force):
            raise UsageError("--context, --namespace and --force-conflicts go with --live")
        if style and kube_version:
            raise UsageError("choose one of --style and --kube-version")
        if dry_run and not (in_place or live):
            raise UsageError("--dry-run goes with --in-place or --live: nothing else changes anything")
        self.in_place, self.patch, self.dry_run = in_place, patch, dry_run
        self._style, self._kube_version = style, kube_version
        self._context, self._namespace, self._timeout, self._force = context, namespace, timeout, force

    def wanted_style(self, pod: bool) -> Style:
        from aalearn.kubernetes.profiles import Style, style_for

        style = style_for(self._kube_version) if self._kube_version else Style(self._style or "both")
        if pod and not style.field:
            raise UsageError("the Pod level has no annotation: name the containers, or use another --style")
        return style

    def cluster(self) -> dict[str, Any]:
        """Return what `annotate_live.run` needs to know."""
        return {
            "context": self._context,
            "namespace": self._namespace,
            "timeout": self._timeout,
            "force": self._force,
            "dry_run": self.dry_run,
        }


def _choice(
    face: Face, profile: str | None, names: list[str], every: bool, pod: bool, map_file: Path | None, remove: bool
) -> Choice:
    from aalearn.kubernetes import mapping
    from aalearn.kubernetes.choice import Choice
    from aalearn.kubernetes.profiles import Confinement

    if map_file is not None and (profile or names or every or pod or remove):
        raise UsageError("--map says it all: leave --profile, --container, --all-containers, --pod and --remove away")
    if sum((bool(names), every, pod)) > 1:
        raise UsageError("choose one of --container, --all-containers and --pod")
    if map_file is not None:
        lines = mapping.read(map_file)
        if not lines:
            raise UsageError(f"the map {shown(str(map_file))} holds no line")
        for line in lines:
            _ask_the_store(face, line.profile)
        return Choice(lines=lines)
    if profile is None and not remove:
        raise UsageError("which profile? Give --profile NAME, --map FILE or --remove")
    wanted = None if profile is None else Confinement.parse(profile)
    if not remove:
        _ask_the_store(face, wanted)
    return Choice(wanted, frozenset(names), every, pod, remove)


def _ask_the_store(face: Face, profile: Any) -> None:
    """Note when there is a store and it knows nothing of the profile. No store, or an unreadable one, is no matter."""
    path = sqlite_path(face.settings.db)
    if face.quiet or profile is None or profile.type != "Localhost" or path is None:
        return
    try:
        if not path.is_file():
            return
        with face.store(readonly=True) as store:
            name = profile.name.encode()
            if name in {summary.name for summary in store.profiles()}:
                return
            near = [shown(other) for other in store.nearest(name)]
    except (AalearnError, OSError) as error:
        face.detail(f"aalearn: note: the store was not asked: {error}")
        return
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    face.say(f"aalearn: note: nothing was learned for the profile {shown(profile.name)}{hint}")


def _rewritten(paths: Sequence[Path], choice: Choice, style: Style) -> tuple[list[Done], int]:
    """Return each manifest with its results, and how many files of folders could not be read."""
    from aalearn.kubernetes import manifests
    from aalearn.kubernetes.rewrite import rewrite

    loaded, skipped = [], 0
    for path, found in manifests.files(paths):
        try:
            loaded.append(manifests.read(path))
        except BadInput as error:
            if not found:
                raise
            skipped += 1
            complain(f"left as it is: {error}", "warning")
    if not loaded:
        raise UsageError("no manifest was found: folders are searched for *.yaml, *.yml and *.json")
    handlers = {name: handler for manifest in loaded for name, handler in manifest.handlers().items()}
    done = [
        (manifest, tuple(rewrite(document, choice, style, handlers) for document in manifest.documents))
        for manifest in loaded
    ]
    _nothing_meant(done, choice)
    return done, skipped


def _nothing_meant(done: list[Done], choice: Choice) -> None:
    """Raise UsageError when no container was meant."""
    if choice.remove or any(result.plans for _, results in done for result in results):
        return
    held = [one for manifest, _ in done for document in manifest.documents for one in document.workloads()]
    if not held:
        from aalearn.kubernetes.workloads import KINDS

        raise UsageError(f"no workload is in there: {', '.join(KINDS)}, or lists of them")
    names = sorted({f"{one.kind.name.lower()}/{one.name}/{c.name}" for one in held for c in one.containers()})
    told = ", ".join(shown(_HELD.sub("{{…}}", name)) for name in names[:_SOME]) + (", …" if len(names) > _SOME else "")
    raise UsageError(f"no such container: there are {told}")


def _told(face: Face, done: list[Done], choice: Choice) -> int:
    """Tell findings and reasons on stderr; return how many findings forbid the whole."""
    refused = 0
    for manifest, results in done:
        for result in results:
            for workload, finding in result.findings:
                text = f"{manifest.name}: {shown(workload.title)}: {finding.text}"
                if finding.level == "error":
                    refused += 1
                    complain(text)
                elif not face.quiet:
                    complain(text, "warning")
            if result.unsafe:
                complain(f"{manifest.name}: line {result.document.line}: no edit in place: {result.unsafe}", "warning")
    plans = [plan for _, results in done for result in results for plan in result.plans]
    for line in choice.lines:
        from aalearn.kubernetes.mapping import first

        if not any(
            first(choice.lines, plan.workload, one) is line for plan in plans for one in plan.workload.containers()
        ):
            face.detail(f"aalearn: note: no container fits the map's line {shown(line.text)}")
    if refused:
        complain("nothing was changed", "note")
    return refused
