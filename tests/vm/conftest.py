"""The virtual machine needs QEMU, mmdebstrap and root (to keep the owners of the files in the disk)."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import require
from tests.vm.bed import Bed
from tests.vm.containers import FILES, SETTING

HERE = Path(__file__).resolve().parent
LONGEST = {
    f"test_{name}": at for at, name in enumerate(("watch", "service", "containers", "pods", "promotion", "workloads"))
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let xdist's workers begin with the virtual machines, the longest first: the many short tests fill the end.

    Which tests stay together on one boot says `share_of` in tests/conftest.py.
    """
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=lambda item: LONGEST.get(item.path.stem, len(LONGEST)) if item.path.parent == HERE else 99)


@pytest.fixture(scope="session")
def vm_ready() -> None:
    """Skip (or, in CI, fail) where no virtual machine can be built."""
    require("qemu-system-x86_64", shutil.which("qemu-system-x86_64"))
    require("mmdebstrap", shutil.which("mmdebstrap"))
    require("root (to build the virtual machine's disk)", os.geteuid() == 0)


@pytest.fixture(scope="session")
def container_bed(vm_ready: None) -> Iterator[Bed]:
    """A guest with what containers need: bundles, podman, containerd at work with an image, the CRI client."""
    with Bed("6.12", memory=1024, aalearn=True) as bed:
        for path, text in FILES.items():
            bed.put(path, text)
        bed.put("/run/cri.py", (HERE / "probes" / "cri.py").read_bytes())
        bed.check(SETTING, 300)
        yield bed


@pytest.fixture(autouse=True, scope="module")
def _paused(request: pytest.FixtureRequest) -> Iterator[None]:
    """The containers' machine outlives its modules; it stands still while others work."""
    mine = request.module.__name__.rpartition(".")[2] in ("test_containers", "test_pods")
    bed: Bed | None = request.getfixturevalue("container_bed") if mine else None
    if bed is not None:
        bed.pause(False)
    yield
    if bed is not None:
        bed.pause()
