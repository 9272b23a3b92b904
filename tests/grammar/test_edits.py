"""Denials left out and flags set, while every other byte stays."""

import pytest

from aalearn.grammar.edits import with_flags, without_denials
from aalearn.grammar.profiles import read_profiles
from aalearn.model.errors import UsageError

TEXT = """\
profile a /bin/a flags=(audit) {
  # deny /commented r,
  /x r,
  deny /y r,   # told
  deny /z/{a,b} rw,
  audit deny network inet,
  owner /deny rw,
  priority=3 deny capability
    sys_admin,
  profile b { deny /b w, /c r, }
  ^hat flags=(complain) {
    deny /d r,
  }
}
"""


def test_denials_are_left_out_and_nothing_else() -> None:
    text, gone = without_denials(TEXT)
    assert gone == 6
    assert (
        text
        == """\
profile a /bin/a flags=(audit) {
  # deny /commented r,
  /x r,
     # told
  owner /deny rw,
  profile b {  /c r, }
  ^hat flags=(complain) {
  }
}
"""
    )
    assert without_denials(text) == (text, 0)
    assert [block.path for block in read_profiles(text).walk()] == ["a", "a//b", "a//hat"]


def test_a_block_of_denials() -> None:
    with pytest.raises(UsageError, match="a block of deny rules"):
        without_denials("profile a {\n  deny { /x r, }\n}\n")


def test_flags_of_every_block() -> None:
    text = with_flags(TEXT, "a", ("complain", "mediate_deleted"))
    assert [block.flags for block in read_profiles(text).walk()] == [
        ("complain", "mediate_deleted", "audit"),
        ("complain", "mediate_deleted"),
        ("complain", "mediate_deleted"),
    ]
    assert with_flags(text, "a", ("complain",)) == text
    with pytest.raises(UsageError, match="the profile x is not there"):
        with_flags(TEXT, "x", ("complain",))
