"""The two parsers that policy is tested with: the installed one (3.0.8 on Debian 12) and Debian 13's, unpacked."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from aalearn.policy.cache import Cache
from aalearn.policy.compiler import Parser
from tests.conftest import require
from tests.policy import seeds, trixie

T = TypeVar("T")


@pytest.fixture(scope="session")
def bookworm_parser(apparmor_parser: str) -> Parser:
    """The installed parser, without a cache."""
    return Parser((apparmor_parser,), Cache(None))


@pytest.fixture(scope="session")
def trixie_parser() -> Parser:
    """Debian 13's parser, without a cache."""
    return Parser(_fetched(trixie.parser), Cache(None))


@pytest.fixture(scope="session")
def trixie_base() -> Path:
    """Debian 13's /etc/apparmor.d, where abi/4.0 is."""
    return _fetched(trixie.base)


@pytest.fixture(scope="session")
def apparmor_source() -> Path:
    """AppArmor's source as in Debian 13, with `parser/tst/simple_tests`."""
    return _fetched(trixie.source)


@pytest.fixture(scope="session")
def blobs(bookworm_parser: Parser, trixie_parser: Parser, trixie_base: Path) -> dict[str, bytes]:
    """Compiled policy of every shape that the two parsers make, by name."""
    return seeds.blobs({"bookworm": bookworm_parser, "trixie": trixie_parser}, trixie_base)


@pytest.fixture(params=["bookworm", "trixie"])
def parser(request: pytest.FixtureRequest) -> Parser:
    """Each of the two parsers."""
    found = request.getfixturevalue(f"{request.param}_parser")
    assert isinstance(found, Parser)
    return found


def _fetched(what: Callable[[], T]) -> T:
    """Return what `what` fetches; skip when it can't be had, unless everything is required."""
    try:
        return what()
    except trixie.TrixieError as error:
        require(f"Debian 13's AppArmor ({error})", None)
        raise
