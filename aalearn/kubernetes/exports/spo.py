"""`spo`: an AppArmorProfile for the Security Profiles Operator, proved by what the operator makes of it."""

from collections.abc import Sequence
from typing import Any, ClassVar

from aalearn.kubernetes.exports.base import Choice, Exported, Exporter, File, Outgoing, Report, register
from aalearn.kubernetes.exports.yaml import dump
from aalearn.kubernetes.spo.objects import (
    LEARNED,
    LOST,
    WIDER,
    Generation,
    binding_object,
    check_name,
    profile_object,
    told,
)
from aalearn.kubernetes.spo.rendering import rendered
from aalearn.kubernetes.spo.replay import Replayed, replayed
from aalearn.kubernetes.spo.shape import shaped
from aalearn.model.errors import UsageError
from aalearn.model.text import shown


@register
class Spo(Exporter):
    """Objects for `kubectl apply --server-side`."""

    format: ClassVar[str] = "spo"
    help: ClassVar[str] = "AppArmorProfile objects of the Security Profiles Operator"

    def export(self, profiles: Sequence[Outgoing], choice: Choice) -> Exported:
        generation = Generation.of(choice.spo_version)
        if choice.binding and len(profiles) != 1:
            raise UsageError("--binding binds one image to one profile: name one profile")
        made = [
            _raw(one, choice) if generation is Generation.RAW else _abstract(one, choice, generation)
            for one in profiles
        ]
        files = []
        for one, (found, _) in zip(profiles, made, strict=True):
            documents: list[dict[str, Any]] = [found]
            if choice.binding:
                documents.append(binding_object(generation, one.name, choice.binding, choice.namespace))
            files.append(File(f"{one.name}.yaml", dump(documents)))
        notes = ["apply it by: kubectl apply --server-side -f FILE"]
        if choice.binding:
            label = f"kubectl label namespace {choice.namespace or 'default'} spo.x-k8s.io/enable-binding="
            notes.append(f"a binding works in labelled namespaces only: {label}")
        return Exported(tuple(files), tuple(report for _, report in made), "yaml", tuple(notes))


def _raw(one: Outgoing, choice: Choice) -> tuple[dict[str, Any], Report]:
    """Return the object that holds the text itself: nothing is lost, and its proof is the text's."""
    notes = {LEARNED: shown(one.learned)}
    found = profile_object(
        Generation.RAW, one.name, one.text, enforce=one.enforce, namespace=choice.namespace, notes=notes
    )
    return found, Report(one.learned, one.name)


def _abstract(one: Outgoing, choice: Choice, generation: Generation) -> tuple[dict[str, Any], Report]:
    check_name(one.name)
    shape = shaped(one.synthesis.judged)
    # In enforce mode SPO adds denies, so that is what is asked, whatever mode the object begins with.
    result = replayed(rendered(one.name, shape.abstract, enforce=True), one.name, one.questions, choice.target)
    notes = {LEARNED: shown(one.learned), "aalearn/replayed": _summary(result)}
    notes |= {key: told(remarks) for key, remarks in ((LOST, shape.lost), (WIDER, shape.widened)) if remarks}
    found = profile_object(generation, one.name, shape.abstract, enforce=one.enforce, notes=notes)
    report = Report(one.learned, one.name, shape.lost, shape.widened, result.denied, result.unproved, result.granted)
    return found, report


def _summary(result: Replayed) -> str:
    return f"{result.allowed} allowed, {len(result.denied)} denied, {len(result.unproved)} unproved in enforce mode"
