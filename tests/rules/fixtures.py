"""The compilers that tests use: the installed one, and Debian 13's for what 3.0 has no words for."""

import pytest

from tests.conftest import require
from tests.policy import trixie
from tests.rules.compiling import FEATURES, Compiler

BASE = "/etc/apparmor.d"


@pytest.fixture(scope="session")
def compiler(apparmor_parser: str) -> Compiler:
    """The installed parser with abi 3.0, which compiles all classes that 3.0 knows."""
    return Compiler((apparmor_parser,), BASE, f"{BASE}/abi/3.0", "3.0")


def _trixie() -> tuple[str, ...]:
    try:
        return trixie.parser()
    except trixie.TrixieError as error:
        require(f"Debian 13's apparmor_parser ({error})", found=False)
        raise


@pytest.fixture(scope="session")
def compiler41() -> Compiler:
    """Debian 13's parser with abi 4.0: userns, message queues, inet addresses and ports."""
    command = (*_trixie(), "--Werror=rule-not-enforced")
    return Compiler(command, str(trixie.base()), str(trixie.base() / "abi" / "4.0"), "4.0")


@pytest.fixture(scope="session")
def compiler72() -> Compiler:
    """Debian 13's parser with the features of a 7.2 kernel: io_uring, fine unix sockets; no abi line."""
    command = (*_trixie(), "--Werror=rule-not-enforced")
    return Compiler(command, str(trixie.base()), str(FEATURES / "kernel-7.2.abi"), "")
