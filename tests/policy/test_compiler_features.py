"""Features of a node, a file and our own table are read alike, and say what a target mediates."""

from pathlib import Path

import pytest

from aalearn.model.errors import PolicyError
from aalearn.model.target import Target
from aalearn.policy.compiler import Parser
from aalearn.policy.features import ABIS, Features, Tree, find, newest, shipped
from tests.policy import seeds

KERNELS = sorted(seeds.ABIS.glob("*.abi"))


def write(tree: Tree, folder: Path) -> None:
    """Lay a tree out as securityfs does: a name whose names are all bare is a file of words."""
    folder.mkdir()
    for name, inner in tree.items():
        if any(inner.values()):
            write(inner, folder / name)
        else:
            (folder / name).write_text(" ".join(inner) + "\n")


@pytest.mark.parametrize("path", KERNELS, ids=lambda path: path.stem)
def test_a_nodes_folder_reads_as_its_file(path: Path, tmp_path: Path) -> None:
    saved = Features.of_file(path)
    write(saved.tree, tmp_path / "features")
    (tmp_path / "features" / ".hidden").write_text("no\n")
    node = Features.of_node(tmp_path / "features")
    assert node.tree == saved.tree
    assert node.text == saved.text
    assert node == saved
    assert node.identity == saved.identity
    assert find(tmp_path / "features", (3, 0)) == find(path, (3, 0)) == saved


@pytest.mark.parser
@pytest.mark.parametrize("abi", ABIS)
def test_our_own_abis_are_the_installed_ones(abi: str, trixie_base: Path) -> None:
    assert shipped(abi).tree == Features.of_file(trixie_base / "abi" / abi).tree
    if abi == "3.0":
        assert Features.of_abi(abi).tree == shipped(abi).tree


def test_has() -> None:
    features = shipped("4.0")
    assert features.has("namespaces/mask/userns_create")
    assert features.has("policy/permstable32_version/0x000002")
    assert features.has("dbus")
    for path in (
        "namespaces/mask/userns",
        "userns_create",
        "dbus/mask/receive/more",
        "",
        "policy/permstable32_version/0x000003",
    ):
        assert not features.has(path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is not a features file"),
        ("profile p { /x r, }", "is not a features file|a brace"),
        ("#!/bin/sh\necho {a}", "is not a features file"),
        ("a {b", "is not a features file"),
        ("a {b}}", "a brace closes that none opened"),
        ("{a}", "a brace opens without a name"),
        ("a {b} {c}", "a brace opens without a name"),
        ("a {\xe9}", "outside of ASCII"),
        ("word word", "is not a features file"),
        ("a {" + "b " * 5000 + "}", "too large"),
    ],
)
def test_what_is_no_features_file(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "some\x1bfile"
    path.write_text(text, "latin-1")
    with pytest.raises(PolicyError, match=words) as told:
        Features.of_file(path)
    assert str(told.value).isprintable()


def test_what_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="missing can't be read: No such file"):
        Features.of_file(tmp_path / "missing")
    with pytest.raises(PolicyError, match="missing can't be read: No such file"):
        Features.of_node(tmp_path / "missing")
    with pytest.raises(PolicyError, match=r"abi 9\.0 is unknown and not installed; known are 3\.0 and 4\.0"):
        Features.of_abi("9.0", tmp_path)


@pytest.mark.parser
def test_without_a_node_the_newest_abi_counts(parser: Parser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aalearn.policy.features.NODE", tmp_path / "no-node")
    abi = newest(parser.version)
    assert find(None, parser.version, tmp_path) == shipped(abi)
    assert parser.compile("profile p { /x r, }", base=tmp_path).features == shipped(abi).identity


def test_targets() -> None:
    common = Target().mediates
    assert shipped("3.0").target((3, 0), "3.0").mediates == common
    assert shipped("4.0").target((4, 1), "4.0").mediates == common | {"userns", "mqueue"}
    assert shipped("4.0").target((4, 1), "3.0").mediates == common, "a profile with abi 3.0 drops newer rules"
    assert shipped("4.0").target((3, 0), "4.0").mediates == common, "3.0 has no rules for them"
    kernels = {path.stem: Features.of_file(path).target((4, 1), "4.0") for path in KERNELS}
    assert kernels["kernel-6.1"].mediates == common - {"dbus", "unix"}
    assert kernels["kernel-6.12"].mediates == common - {"dbus", "unix"} | {"userns"}
    assert kernels["kernel-7.2"].mediates == common - {"unix"} | {"userns"}
    fine = seeds.targets()["fine-inet"]
    assert not fine.target((4, 1), "4.0").fine_inet, "abi 4.0 does not have it"
    assert fine.target((4, 1), "4.0", fine).fine_inet
    assert not fine.target((3, 0), "4.0", fine).fine_inet
    assert fine.target((4, 1), "4.0") == Target("4.0", (4, 1), common | {"userns", "mqueue"}, False)


@pytest.mark.parser
def test_the_parser_agrees_on_what_is_mediated(parser: Parser) -> None:
    """For every target here: a class is in `mediates` exactly if its rules compile without being left out."""
    rules = {
        "network": "network inet,", "dbus": "dbus,", "mount": "mount,", "signal": "signal,", "ptrace": "ptrace,",
        "userns": "userns,", "mqueue": "mqueue,", "io_uring": "io_uring,", "unix": "unix,",
    }  # fmt: skip
    for name, features in seeds.targets().items():
        if name == "old-network":  # older than any kernel that we support
            continue
        for abi in ABIS:
            mediates = features.target(parser.version, abi).mediates
            for kind, rule in rules.items():
                if kind in {"userns", "mqueue", "io_uring"} and parser.version < (4, 0):
                    assert kind not in mediates
                    continue
                text = f"abi <abi/{abi}>,\nprofile p {{ {rule} }}\n"
                warnings = parser.compile(text, features=features, strict=False).warnings
                assert (kind in mediates) == (not warnings), (name, abi, kind, warnings)
