"""docs/kubernetes.md: the rights that it asks for are those of the tests, and its commands are ours."""

import re
import shlex

import yaml

from aalearn.kubernetes import mapping
from tests.cli.conftest import Face
from tests.cli.conftest import aalearn as aalearn  # the fixture
from tests.conftest import ROOT
from tests.kubernetes.apiserver import ROLE

TEXT = (ROOT / "docs" / "kubernetes.md").read_text()
BLOCKS = [re.sub(r"(?m)^    ", "", one) for one in re.findall(r"(?m)(?:^    .*\n|^\n(?=    ))+", TEXT)]


def test_the_role_is_what_the_tests_grant() -> None:
    (role,) = (yaml.safe_load(block) for block in BLOCKS if "kind: Role" in block)
    granted = {(verb, one) for rule in role["rules"] for one in rule["resources"] for verb in rule["verbs"]}
    assert granted == ROLE


def test_the_map_is_one() -> None:
    (block,) = (block for block in BLOCKS if "istio-proxy" in block)
    assert len(mapping.parse(block, "docs")) == 4


def test_every_option_of_our_commands_exists(aalearn: Face) -> None:
    lines = [
        line
        for block in BLOCKS
        for line in block.splitlines()
        if re.match(r"(sudo )?aalearn (annotate|check-pods)", line)
    ]
    assert len(lines) >= 5
    for line in lines:
        words = shlex.split(line.replace("|", " "), comments=True)
        command = words[words.index("aalearn") + 1]
        shown = aalearn(command, "--help").out
        for word in words:
            if word.startswith("--"):
                assert f"{word} " in shown or f"{word}\n" in shown, line
