"""No name, path or comment leaves its place in the YAML: what is read back is what was meant, by every reader."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from aalearn.kubernetes.exports import FORMATS
from aalearn.kubernetes.exports.yaml import dump
from aalearn.kubernetes.spo.abstract import Abstract, Remark
from aalearn.kubernetes.spo.objects import LOST, Generation, profile_object, told
from aalearn.kubernetes.spo.paths import spelled
from aalearn.model.pattern import Pattern
from tests.kubernetes.exported import choice, documents, fits, made
from tests.learn.accesses import Made

_WORDS = ["yes", "No", "on", "null", "~", "012", "1e3", "0x1f", "12:30:00", "=", "<<", "---", "...", ".inf", ".nan"]
_TRAPS = [
    "",
    "- a",
    "a: b",
    "a #b",
    "a\n---\nkind: Pod",
    "a\n  b: c\n",
    "\ufeffx",
    "\u2028",
    "\x85",
    "\x00",
    " a",
    "a ",
]
_TEXT = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
    st.text(alphabet="ab:#-|>&*!%@`'\"\\ \n\t{}[],?~", max_size=30),
    st.sampled_from([*_WORDS, *_TRAPS]),
)
_VALUES = st.recursive(
    st.one_of(_TEXT, st.booleans(), st.integers(-1000, 10**12)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(_TEXT, inner, max_size=4)),
    max_leaves=12,
)


def _read(text: str, version: str) -> list[Any]:
    yaml = YAML(typ="safe", pure=True)
    yaml.version = version
    return list(yaml.load_all(text))


@given(st.lists(st.dictionaries(_TEXT, _VALUES, min_size=1, max_size=4), min_size=1, max_size=3))
def test_what_is_read_is_what_was_written(documents: list[dict[str, Any]]) -> None:
    text = dump(documents)
    assert _read(text, "1.2") == documents
    assert _read(text, "1.1") == documents
    assert text.isascii() or "\n" in text


_NAMES = st.one_of(
    st.binary(min_size=1, max_size=30),
    st.sampled_from(
        [b"a\n- /etc/shadow", b'a" r,\n  /** rwx,', b"a: b", b"{x}", b"*/**", b"@{PROC}", b"\xff", b"#", b"'"]
    ),
)


@settings(max_examples=40)
@given(st.lists(_NAMES, max_size=6), st.lists(_TEXT, max_size=3))
def test_hostile_paths_and_rules_stay_where_they_are(names: list[bytes], rules: list[str]) -> None:
    paths = sorted({way.text for name in names for way in spelled(Pattern.literal(b"/" + name.replace(b"\0", b"")))})
    abstract = Abstract(read_only=tuple(paths), executables=tuple(paths[:1]))
    notes = {LOST: told([Remark(rule, "why") for rule in rules])} if rules else {}
    for generation in (Generation.COMPLAIN_MODE, Generation.MODE):
        meant = profile_object(generation, "web-1", abstract, enforce=False, notes=notes)
        (read,) = _read(dump([meant]), "1.1")
        assert read == meant
        fits(read, f"apparmorprofile-{generation}")
    raw = profile_object(Generation.RAW, "web-1", "\n".join(rules), enforce=False, namespace="x")
    assert _read(dump([raw]), "1.1") == [raw]


def test_a_profile_is_readable_in_a_block() -> None:
    text = "# a\n\nprofile x {\n  /a r,\n}\n"
    assert dump([{"data": {"x": text}}]) == "data:\n  x: |\n    # a\n\n    profile x {\n      /a r,\n    }\n"


@pytest.mark.parser
@settings(max_examples=8)
@given(names=st.lists(_NAMES.map(lambda name: name.replace(b"\0", b"x").replace(b"/", b"_")), min_size=1, max_size=4))
def test_learned_hostile_names_stay_inside_every_export(apparmor_parser: str, names: list[bytes]) -> None:
    log = Made()
    for at, name in enumerate(names):
        log.file(b"/srv/" + name, ("r", "wc", "rk")[at % 3])
        log.add("signal", class_="signal", requested_mask="send", denied_mask="send", signal="term", peer=name)
    one = made(log.all, apparmor_parser)
    for format_ in ("spo", "configmap", "raw"):
        done = FORMATS[format_].export([one], choice(apparmor_parser))
        for file in done.files if done.stream == "yaml" else ():
            found = documents(file.content)
            assert found == _read(file.content, "1.1")
            assert {document["kind"] for document in found} <= {
                "AppArmorProfile",
                "ConfigMap",
                "DaemonSet",
                "ServiceAccount",
            }
            if format_ == "spo":
                fits(found[0], "apparmorprofile-1.0")
            else:
                assert found[1]["data"] == {one.name: one.text}
