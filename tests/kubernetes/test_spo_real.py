"""Real profiles as SPO's objects: valid by its schemas, and what its rendering denies is exactly what was said."""

import pytest

from aalearn.kubernetes.exports import FORMATS, Report
from aalearn.kubernetes.spo.rendering import rendered
from aalearn.kubernetes.spo.replay import replayed
from aalearn.kubernetes.spo.shape import shaped
from aalearn.policy.gate import describe, subjects
from aalearn.policy.oracle import Oracle
from aalearn.rules import kind_of
from tests.kubernetes.exported import choice, documents, fits, judge, learned

CASES = [
    *(f"kernel-6.12/{name}" for name in ("nginx", "redis", "curl", "caps", "dbus", "files", "names", "net", "unix")),
    *(f"kernel-6.12/{name}" for name in ("sysd", "mount", "sigpt", "special", "userns", "hat")),
    *(f"kernel-7.2/{name}" for name in ("nginx", "python_http", "unix_peer")),
    *(f"containers-6.12/{name}" for name in ("runc_complain_ix", "runc_complain_nnp1", "cri", "crun_complain_nnp0")),
    *(f"containers-7.2/{name}" for name in ("podman", "runc_exec")),
]
# What SPO has words for: of these kinds an event is denied only by its own denies.
_SAID = {"file", "capability"}

pytestmark = [pytest.mark.parser, pytest.mark.slow]


@pytest.mark.parametrize("case", CASES)
def test_objects_are_valid_and_what_is_denied_is_said(case: str, apparmor_parser: str) -> None:
    profiles = learned(case, apparmor_parser)
    assert profiles
    for one in profiles:
        assert one.proof.proved, (one.name, one.proof.failures)
    for release in ("0.8", "0.9", "1.0"):
        for enforce in (False, True):
            done = FORMATS["spo"].export(profiles, choice(apparmor_parser, spo_version=release, enforce=enforce))
            for file in done.files:
                (found,) = documents(file.content)
                fits(found, f"apparmorprofile-{release}")
                assert found["metadata"]["name"] == file.name.removesuffix(".yaml")
            for report in done.reports if release == "1.0" else ():
                _exactly(report)


def _exactly(report: Report) -> None:
    """Each denied event is of a kind that was reported lost, or one that SPO's own denies are about."""
    lost = " ".join(remark.rule for remark in report.lost)
    for finding in report.denied:
        operation = finding.what.split()[0]
        of_its_own = any(place in finding.what for place in (" /proc/", " /sys/firmware/efi/efivars/"))
        if operation in ("open", "mknod", "mkdir", "unlink", "truncate", "chmod", "chown", "rename_src", "rename_dest"):
            assert of_its_own or lost, finding
        else:
            assert lost, finding


@pytest.mark.parametrize("case", ["kernel-6.12/nginx", "kernel-6.12/redis", "containers-6.12/runc_complain_nnp1"])
def test_files_and_capabilities_of_services_survive(case: str, apparmor_parser: str) -> None:
    for one in learned(case, apparmor_parser):
        text = rendered(one.name, shaped(one.synthesis.judged).abstract, enforce=True)
        oracle = Oracle.of(subjects(judge(apparmor_parser).gate(strict=False).compile(text).blob)[one.name.encode()])
        for question in one.questions:
            name = question.event.get("name") or b""
            if kind_of(question.event) in _SAID and not name.startswith((b"/proc/sysrq", b"/proc/kcore")):
                event = question.event.with_(profile=one.name.encode())
                assert oracle.ask(event, question.owner).verdict != "denied", describe(question.event)


def test_what_complain_mode_shows_is_what_enforce_mode_will_do(apparmor_parser: str) -> None:
    """The object begins in complain mode, where SPO leaves its denies out; the replay asks the enforced text."""
    (one,) = learned("containers-6.12/cri", apparmor_parser)
    abstract = shaped(one.synthesis.judged).abstract
    target = judge(apparmor_parser).gate(strict=False)
    strict = replayed(rendered(one.name, abstract, enforce=True), one.name, one.questions, target)
    loose = replayed(rendered(one.name, abstract, enforce=False), one.name, one.questions, target)
    assert {finding.what for finding in loose.denied} < {finding.what for finding in strict.denied}
    (report,) = FORMATS["spo"].export([one], choice(apparmor_parser)).reports
    assert report.denied == strict.denied
