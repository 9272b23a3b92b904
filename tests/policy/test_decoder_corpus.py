"""AppArmor's own parser test tree: all of it that compiles decodes, and is written again byte for byte.

The tree comes with Debian's source package and is fetched by apt into a cache; it is no part of this repository.
"""

import os
import re
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from aalearn.model.errors import PolicyError
from aalearn.policy.compiler import Parser
from aalearn.policy.decoder import decode
from aalearn.policy.emitter import emit
from aalearn.policy.features import Features, shipped
from aalearn.policy.oracle import Oracle

pytestmark = [pytest.mark.parser, pytest.mark.real, pytest.mark.slow]

_RESULT = re.compile(r"^#=EXRESULT\s*(\w+)", re.MULTILINE)
# Debian's 4.1 ends with an assertion on profiles whose rules leave no state, when it shall make a permission table.
_PARSER_BUG = "compute_perms_table"


@dataclass(frozen=True, slots=True)
class Case:
    """One `.sd` file; `passes` says that the tree expects it to compile."""

    path: Path
    passes: bool

    @staticmethod
    def read(path: Path) -> "Case":
        text = path.read_text("latin-1")
        results = _RESULT.findall(text)
        known = not re.search(r"^#=(TODO|DISABLED)", text, re.MULTILINE)
        return Case(path, known and (not results or results[-1] == "PASS"))


def run(parser: Parser, cases: list[Case], features: Features, base: Path, includes: Path) -> Counter[str]:
    """Compile, decode, ask for the rights and write again; count what came of it. Raises when a decoded one differs."""

    def one(case: Case) -> str:
        try:
            blob = parser.compile(case.path, features=features, base=base, includes=[includes], strict=False).blob
        except PolicyError as error:
            if str(error).endswith("it holds no profile"):
                return "no profile"
            if _PARSER_BUG in str(error):
                return "the parser's bug"
            return f"refused: {error}"
        profiles = decode(blob)
        assert emit(profiles) == blob, case.path
        for profile in profiles:
            Oracle(profile)
        return "fine"

    with ThreadPoolExecutor(2) as pool:
        return Counter(pool.map(one, cases))


@pytest.fixture(scope="module")
def tree(apparmor_source: Path) -> Iterator[Path]:
    """The tests' folder as working folder: some of them include by a path from there."""
    folder = apparmor_source / "parser" / "tst"
    with _inside(folder):
        yield folder


@contextmanager
def _inside(folder: Path) -> Iterator[None]:
    before = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


@pytest.mark.parametrize("target", ["features.all", "features.af_inet", "abi-4.0"])
def test_every_one_that_should_pass_decodes(trixie_parser: Parser, trixie_base: Path, tree: Path, target: str) -> None:
    simple = tree / "simple_tests"
    cases = [case for case in (Case.read(path) for path in sorted(simple.rglob("*.sd"))) if case.passes]
    assert len(cases) > 1200
    if target != "features.all":  # with a permission table: every third is enough for CI, the rest was tried by hand
        cases = cases[::3]
    features = shipped("4.0") if target == "abi-4.0" else Features.of_file(tree / "features_files" / target)
    counts = run(trixie_parser, cases, features, trixie_base, simple)
    print(f"{target}: {dict(counts)}")
    assert not {what for what in counts if what.startswith("refused")}
    assert counts["fine"] >= len(cases) * 0.97
    assert counts["the parser's bug"] == 0 or target != "features.all"


def test_what_the_older_parser_knows_of_it_decodes_too(bookworm_parser: Parser, trixie_base: Path, tree: Path) -> None:
    simple = tree / "simple_tests"
    cases = [case for case in (Case.read(path) for path in sorted(simple.rglob("*.sd"))) if case.passes][::3]
    features = Features.of_file(tree / "features_files" / "features.all")
    counts = run(bookworm_parser, cases, features, trixie_base, simple)
    assert counts["fine"] > len(cases) / 2
