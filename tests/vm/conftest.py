"""The virtual machine needs QEMU, mmdebstrap and root (to keep the owners of the files in the disk)."""

import os
import shutil

import pytest

from tests.conftest import require


@pytest.fixture(scope="session")
def vm_ready() -> None:
    """Skip (or, in CI, fail) where no virtual machine can be built."""
    require("qemu-system-x86_64", shutil.which("qemu-system-x86_64"))
    require("mmdebstrap", shutil.which("mmdebstrap"))
    require("root (to build the virtual machine's disk)", os.geteuid() == 0)
