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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let xdist (`--dist loadgroup`) give all tests of one boot to one worker: a module's, for each of its kernels.

    Modules that share a boot name it: BOOT.

    They are the longest, so that workers begin with them and share the many short ones at the end.
    """
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=lambda item: not item.path.is_relative_to(HERE))
    for item in items:
        if item.path.is_relative_to(HERE):
            call = getattr(item, "callspec", None)
            boot = getattr(getattr(item, "module", None), "BOOT", item.path.stem)
            kernel = call.params.get("bed", "") if call is not None else ""
            item.add_marker(pytest.mark.xdist_group(f"{boot}{kernel}"))


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
