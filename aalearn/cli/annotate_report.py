"""What `aalearn annotate` writes: manifests, patches, a diff, or the document for programs."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from aalearn.cli.output import count
from aalearn.model.errors import UsageError
from aalearn.model.text import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aalearn.cli.face import Face
    from aalearn.kubernetes.annotate import Plan
    from aalearn.kubernetes.manifests import Manifest
    from aalearn.kubernetes.rewrite import Result

Done = tuple["Manifest", tuple["Result", ...]]


def report(face: Face, done: list[Done], form: str | None, in_place: bool, dry_run: bool, refused: bool) -> None:
    """Write the result: manifests, patches, files, or the document for programs."""
    plans = [plan for _, results in done for result in results for plan in result.plans]
    changed = [plan for plan in plans if plan.changes]
    backups: dict[str, str] = {}
    text = ""
    if not refused:
        if form:
            resources = _resources(done)
            text = _patches(changed, form, resources)
            if form == "kustomize" and changed and len(resources) < len(done):
                face.say(
                    "aalearn: note: add under resources what could not be named: input, templates, files elsewhere"
                )
        elif in_place:
            text = _in_place(done, dry_run, backups)
        else:
            text = "".join(_printed(face, manifest, results, number) for number, (manifest, results) in enumerate(done))
    if face.settings.output == "text":
        sys.stdout.write(text)  # as it is: a manifest without a last newline keeps its end
        sys.stdout.flush()
    else:
        face.emit(_document(done, changed, backups, refused, text), "")
    if not refused:
        whole = f"{count(len(plans), 'workload')}, {count(sum(len(plan.effects) for plan in plans), 'place')}"
        left = sum(bool(plan.changes) for _, results in done for one in results if one.unsafe for plan in one.plans)
        if in_place:
            told = f"{len(changed) - left:,} {'would change' if dry_run else 'changed'}"
            told += f", {left:,} left to the patch" if left else ""
        else:
            told = f"{len(changed):,} to change"
        face.say(f"aalearn: {whole}; {told}")


def _printed(face: Face, manifest: Manifest, results: Sequence[Result], number: int) -> str:
    """Return a file's edited text; a Helm template as a patch, what can't be edited by position written anew."""
    if any(result.unsafe and (result.document.helm or "\t" in result.document.text) for result in results):
        plans = [plan for result in results for plan in result.plans if plan.changes]
        hint = "a chart's rendered text can be annotated whole: helm's --post-renderer with `aalearn annotate -`"
        face.say(f"aalearn: note: {manifest.name}: printed as a patch for kustomize; {hint}")
        body = _patches(plans, "kustomize", ())
    else:
        parts = []
        for result in results:
            if result.unsafe:
                face.say(f"aalearn: note: {manifest.name}: line {result.document.line}: printed without its comments")
            parts.append(result.anew if result.unsafe else result.text)
        body = "".join(parts)
    if number and not body.lstrip("\ufeff").startswith("---"):
        body = "---\n" + body.lstrip("\ufeff")
    return body if body.endswith("\n") or number == 0 else body + "\n"


def _in_place(done: list[Done], dry_run: bool, backups: dict[str, str]) -> str:
    """Write the files that change; return a diff (dry run), or the patch for what can't be edited in place."""
    import difflib

    from aalearn.kubernetes import manifests

    diffs, left = [], []
    for manifest, results in done:
        left += [plan for result in results if result.unsafe for plan in result.plans if plan.changes]
        new = "".join(result.text for result in results)
        if new == manifest.text:
            continue
        if dry_run:
            before, after = manifest.text.splitlines(keepends=True), new.splitlines(keepends=True)
            lines = difflib.unified_diff(before, after, manifest.name, manifest.name)
            diffs += [line if line.endswith("\n") else line + "\n\\ No newline at end of file\n" for line in lines]
        elif manifest.path is None:
            raise UsageError("standard input can't be edited in place: leave --in-place away")
        else:
            backups[str(manifest.path)] = str(manifests.write(manifest.path, new))
    return "".join(diffs) + (_patches(left, "kustomize", ()) if left else "")


def _resources(done: Sequence[Done]) -> list[str]:
    """Return the manifests that a kustomization can name: files of this folder and below, no templates."""
    found = []
    for manifest, results in done:
        path = manifest.path
        if path is not None and not path.is_absolute() and ".." not in path.parts:
            if any(result.document.helm for result in results):
                continue
            found.append(str(path))
    return found


def _patches(plans: Sequence[Plan], form: str, resources: Sequence[str]) -> str:
    from aalearn.kubernetes import patches

    if not plans:
        return ""
    if form == "kustomize":
        return patches.kustomization(plans, resources)
    parts = []
    for plan in plans:
        body = patches.strategic(plan) if form == "strategic" else patches.json_patch(plan)
        head = "" if len(plans) == 1 else f"---\n# {shown(plan.workload.title)}\n"
        parts.append(head + (patches.yaml(body) if form == "strategic" else json.dumps(body, indent=2) + "\n"))
    return "".join(parts)


def _document(
    done: Sequence[Done], changed: Sequence[Plan], backups: dict[str, str], refused: bool, text: str
) -> dict[str, Any]:
    """Return the result for programs."""
    rows = []
    for manifest, results in done:
        for result in results:
            for plan in result.plans:
                found = [one for workload, one in result.findings if workload.root == plan.workload.root]
                rows.append(_row(manifest, result, plan, found))
    return {
        "schema": 1,
        "refused": refused,
        "workloads": rows,
        "changed": len(changed),
        "backups": [{"file": file, "backup": backup} for file, backup in backups.items()],
        "text": text,
    }


def _row(manifest: Manifest, result: Result, plan: Plan, findings: Sequence[Any]) -> dict[str, Any]:
    return {
        "file": manifest.name,
        "kind": plan.workload.kind.name,
        "namespace": plan.workload.namespace,
        "name": plan.workload.name,
        "changed": bool(plan.changes),
        "unsafe": result.unsafe,
        "containers": [
            {
                "container": effect.container,
                "level": effect.noun,
                "before": None if effect.before is None else str(effect.before),
                "after": None if effect.after is None else str(effect.after),
            }
            for effect in plan.effects
        ],
        "findings": [
            {"level": str(one.level), "code": one.code, "container": one.container, "text": one.text}
            for one in findings
        ],
    }
