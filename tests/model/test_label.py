"""Labels, as the kernel prints them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aalearn.model.label import Label, fold


@pytest.mark.parametrize(
    ("text", "label"),
    [
        (b"nginx", Label(b"nginx")),
        (b"P//child", Label(b"P//child")),
        (b"P//null-/usr/bin/x", Label(b"P", (b"/usr/bin/x",))),
        (b"P//null-/a//null-/b", Label(b"P", (b"/a", b"/b"))),
        (b"P//null-1f", Label(b"P", (b"1f",))),
        (b"P//hat//null-/b c", Label(b"P//hat", (b"/b c",))),
        (b":ns:inns", Label(b"inns", (), b"ns")),
        (b":ns1//ns2:p//null-/x", Label(b"p", (b"/x",), b"ns1//ns2")),
        (b":ns://p", Label(b"p", (), b"ns")),
        (b"//ns//p", Label(b"p", (), b"ns")),
        (b"s1//&s2", Label(b"s1", (), b"", (Label(b"s2"),))),
        (b"p//null-/x//&unconfined", Label(b"p", (b"/x",), b"", (Label(b"unconfined"),))),
        (b"", Label(b"")),
        (b"/usr/sbin/x", Label(b"/usr/sbin/x")),
        (b":broken", Label(b":broken")),
    ],
)
def test_parse(text: bytes, label: Label) -> None:
    assert Label.parse(text) == label


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        (b"nginx", b"nginx"),
        (b"P//null-/usr/bin/x", b"P"),
        (b"P//hat//null-/a//null-/b", b"P//hat"),
        (b":ns:p//null-/x", b":ns:p"),
        (b"p//null-/x//&unconfined", b"p//&unconfined"),
        (b"p//null-/x//&p", b"p"),
        (b"unconfined", b"unconfined"),
    ],
)
def test_fold(text: bytes, folded: bytes) -> None:
    assert fold(text) == folded


def test_parts() -> None:
    assert Label.parse(b"P//child//null-/x").parts == (b"P", b"child")
    assert Label.parse(b"P//null-NoSuchHat//null-/bin/x").execs == (b"/bin/x",)
    assert Label.parse(b"P//null-1").is_null
    assert not Label.parse(b"P").is_null


@given(
    st.one_of(
        st.binary(max_size=30), st.lists(st.sampled_from([b"//&", b"//null-", b":", b"//", b"a", b"/x"])).map(b"".join)
    )
)
def test_any_bytes_parse_and_folding_twice_is_folding_once(value: bytes) -> None:
    bytes(Label.parse(value))
    assert fold(fold(value)) == fold(value)


@given(st.lists(st.sampled_from([b"//&", b"//null-", b"//h", b"a", b"/x"])).map(b"".join))
def test_a_label_without_namespace_comes_back_exactly(value: bytes) -> None:
    label = Label.parse(b"p" + value)
    if not any(member.namespace for member in label.stacked):
        assert bytes(label) == b"p" + value
