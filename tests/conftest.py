"""What all tests share: the rule for outside components, the paths of the checkout, who runs what in parallel."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent
REQUIRE_ALL = os.environ.get("AALEARN_REQUIRE_ALL") == "1"

# No deadlines: a shared machine's pauses are not a property of our code.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", parent=settings.get_profile("default"), derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")


def require(name: str, found: object) -> None:
    """Skip the test when an outside component is missing, unless everything is required (CI): then it fails."""
    if found:
        return
    if REQUIRE_ALL:
        pytest.fail(f"{name} is missing, and AALEARN_REQUIRE_ALL=1 says that nothing may be skipped")
    pytest.skip(f"{name} is not installed")


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def apparmor_parser() -> str:
    """The path of the installed apparmor_parser."""
    found = shutil.which("apparmor_parser", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    require("apparmor_parser", found)
    assert found is not None
    return found


_BOOTS = {"test_containers": "containers", "test_pods": "containers"}  # modules of tests/vm that share a boot


def share_of(nodeid: str) -> str:
    """Return what a test is sent to one worker together with: its file; in tests/vm its boot (a module on a kernel)."""
    file = nodeid.partition("::")[0]
    stem = Path(file).stem
    if not file.startswith("tests/vm/"):
        return file
    kernel = nodeid.rpartition("[")[2] if stem == "test_calibration" else ""
    return f"tests/vm/{_BOOTS.get(stem, stem)} {kernel}"


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Let `--dist loadscope` share the tests out by `share_of`.

    (xdist's own groups don't reach its scheduler with this pytest: it no longer takes the names that xdist gives.)
    """
    if config.getvalue("dist") != "loadscope":
        return None
    from xdist.scheduler.loadscope import LoadScopeScheduling

    class ByShare(LoadScopeScheduling):  # type: ignore[misc, unused-ignore]
        def _split_scope(self, nodeid: str) -> str:
            return share_of(nodeid)

        def _reschedule(self, node: Any) -> None:
            # The next share is for whoever is done first, not for one that has a long test of this one before it.
            if not (self.workqueue and self._pending_of(self.assigned_work[node]) > 1):
                super()._reschedule(node)

    return ByShare(config, log)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):  # type: ignore[no-untyped-def]
    """Where everything is required, a skip by any other way is a failure too."""
    outcome = yield
    report = outcome.get_result()
    if REQUIRE_ALL and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, but AALEARN_REQUIRE_ALL=1: {report.longrepr}"
