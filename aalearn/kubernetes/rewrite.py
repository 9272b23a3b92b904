"""A document with its workloads annotated: the edited text, or why only a patch can do it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from aalearn.kubernetes import annotate, checks, patches
from aalearn.kubernetes.annotate import Plan
from aalearn.kubernetes.choice import Choice, wishes
from aalearn.kubernetes.edits import applied, edit
from aalearn.kubernetes.manifests import TEMPLATED, Document
from aalearn.kubernetes.profiles import Style
from aalearn.kubernetes.spelling import UnsafeEdit
from aalearn.kubernetes.workloads import Workload

_HELM: Final = "it is a Helm template, of which only the rendered text is sure"
_UNKNOWN: Final = "; it names containers only by rendering, so the patch is for the Pod level"


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a document.

    `text` is its edited text, the old one where nothing changed or `unsafe` says why no edit by position is possible.
    `plans` are of its workloads of which anything was meant; `findings` are what then stands against them.
    """

    document: Document
    text: str
    plans: tuple[Plan, ...]
    findings: tuple[tuple[Workload, checks.Finding], ...]
    unsafe: str = ""

    @property
    def anew(self) -> str:
        """The document written anew (comments and anchors are lost): for output of what can't be edited by position."""
        changes = [change for plan in self.plans for change in plan.changes]
        mark = "---\n" if self.document.text.startswith("---") else ""
        return mark + patches.yaml(applied(self.document.value, changes))


def rewrite(document: Document, choice: Choice, style: Style, handlers: Mapping[str, str]) -> Result:
    """Return the document with what was chosen."""
    plans, findings = [], []
    for workload in document.workloads():
        wanted = wishes(workload, choice)
        if not wanted:
            continue
        helm = document.helm and any(TEMPLATED in one.name for one in workload.containers())
        plan = annotate.plan(workload, wanted, Style.FIELD if helm else style)
        plans.append(plan)
        findings += [(workload, one) for one in _after(document, plan, handlers)]
    changes = [change for plan in plans for change in plan.changes]
    done = Result(document, document.text, tuple(plans), tuple(findings))
    if not changes or any(one.level is checks.Level.ERROR for _, one in findings):
        return done
    if document.root is None:
        unknown = any(TEMPLATED in one.name for plan in plans for one in plan.workload.containers())
        return Result(document, document.text, done.plans, done.findings, _HELM + (_UNKNOWN if unknown else ""))
    try:
        return Result(document, edit(document.text, document.root, changes), done.plans, done.findings)
    except UnsafeEdit as error:
        return Result(document, document.text, done.plans, done.findings, str(error))


def _after(document: Document, plan: Plan, handlers: Mapping[str, str]) -> tuple[checks.Finding, ...]:
    """Return what is found about a workload once it is changed; what a template only gets by rendering is not."""
    try:
        value = applied(document.value, plan.changes)
    except UnsafeEdit as error:
        return (checks.Finding(checks.Level.ERROR, "shape", "", str(error)),)
    for workload in Document(document.text, document.line, None, value, document.helm).workloads():
        if workload.root == plan.workload.root:
            found = checks.findings(workload, handlers)
            return tuple(
                one for one in found if not (document.helm and one.code in ("container-name", "no-containers"))
            )
    return ()
