"""Laws that every registered kind keeps."""

import re
from collections.abc import Iterable
from random import Random

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from aalearn.model.pattern import VARIABLES
from aalearn.rules import KINDS, Rule, register
from tests.rules.compiling import Compiler
from tests.rules.strategies import STRATEGIES, rules

# What a rule's text may hold outside quotes, and one quoted word.
QUOTED = re.compile(r'"(?:[^"\\\x00-\x20\x7f-\U0010ffff]|\\[0-3][0-7]{2}|\\[*?\[\]{}^,])*"')
OUTSIDE = re.compile(r"[A-Za-z0-9 /._\-+:=~%()\[\]{}*?@&>,\\^]+")
GROUPS = re.compile(r"\([^()]*\)|\{[^ ]*\}")
NEEDS_72 = {"io_uring"}
NEEDS_41 = {"userns", "mqueue"}

same_kind = st.sampled_from(sorted(STRATEGIES)).flatmap(lambda kind: st.tuples(*[STRATEGIES[kind]] * 3))


def test_every_kind_that_has_rules_has_a_strategy() -> None:
    assert set(STRATEGIES) == {kind for kind, cls in KINDS.items() if not cls.reported}


def test_the_registry_refuses_what_is_missing_or_double() -> None:
    with pytest.raises(TypeError, match="names no kind"):
        register(type("Nameless", (Rule,), {}))
    with pytest.raises(TypeError, match="already"):
        register(type("Twice", (Rule,), {"kind": "file", "order": 1, "needs": "file", "dimensions": {}}))
    with pytest.raises(TypeError, match="does not say"):
        register(type("Orderless", (Rule,), {"kind": "orderless"}))
    assert "orderless" not in KINDS


def test_kinds_have_their_own_names_and_places() -> None:
    assert all(cls.kind == kind for kind, cls in KINDS.items())
    assert len({cls.order for cls in KINDS.values()}) == len(KINDS)


@given(rules)
def test_a_rule_covers_itself(rule: Rule) -> None:
    assert rule.covers(rule)
    assert rule.merge(rule) == rule


@settings(max_examples=400)
@given(same_kind)
def test_covers_is_transitive(three: tuple[Rule, Rule, Rule]) -> None:
    one, two, last = three
    if one.covers(two) and two.covers(last):
        assert one.covers(last)


@settings(max_examples=400)
@given(same_kind)
def test_what_merges_is_covered_and_covers_nothing_more_than_either_kind_of_rule_can_say(
    three: tuple[Rule, Rule, Rule],
) -> None:
    """The merged rule covers both; and whatever covers both covers it too: it is the least such rule, so the union."""
    one, two, other = three
    merged = one.merge(two)
    if merged is not None:
        assert merged.covers(one)
        assert merged.covers(two)
        assert merged.kind == one.kind
        if other.covers(one) and other.covers(two):
            assert other.covers(merged)
    swapped = two.merge(one)
    assert (merged is None) == (swapped is None)
    if merged is not None and swapped is not None:
        assert merged.covers(swapped)
        assert swapped.covers(merged)


@given(rules, rules)
def test_kinds_never_mix(one: Rule, two: Rule) -> None:
    if one.kind != two.kind:
        assert not one.covers(two)
        assert one.merge(two) is None


@settings(max_examples=300)
@given(rules, rules)
def test_the_order_is_total_and_agrees_with_equality(one: Rule, two: Rule) -> None:
    assert (one < two) + (two < one) + (one == two) == 1
    assert (one.sort_key() == two.sort_key()) == (one == two)
    assert hash(one) == hash(one)


@settings(max_examples=300)
@given(st.lists(rules, max_size=8), st.randoms())
def test_the_order_does_not_depend_on_the_input(some: list[Rule], random: Random) -> None:
    shuffled = list(some)
    random.shuffle(shuffled)
    assert sorted(some) == sorted(shuffled)


@settings(max_examples=500)
@given(rules)
def test_a_text_is_one_rule_on_one_line(rule: Rule) -> None:
    text = rule.text()
    assert text.isascii()
    assert text.isprintable()
    assert text.endswith(",")
    bare = QUOTED.sub("Q", text)
    assert '"' not in bare
    assert OUTSIDE.fullmatch(bare), text
    rest = GROUPS.sub("G", bare)[:-1]
    assert not re.search(r",(?=\s|$)", rest), f"a comma ends a rule inside {text}"


@settings(max_examples=300)
@given(rules, rules)
def test_equal_texts_are_equal_rules(one: Rule, two: Rule) -> None:
    if one.text() == two.text():
        assert one.covers(two)
        assert two.covers(one)


def _texts(batch: Iterable[Rule]) -> list[str]:
    """The texts, with the exec modes of file rules made one: different modes on overlapping globs do not compile."""
    return [re.sub(r" ([rwakm]*)(?:[pcuPCU]{0,2}i?x)(?: -> \S+)?,$", r" \1ix,", rule.text()) for rule in batch]


def _preamble() -> str:
    return "\n".join(f"@{{{name}}}={' '.join(item.spelled)}" for name, item in VARIABLES.items())


_BIG = st.lists(rules, min_size=30, max_size=60)
# No shrinking: a compiler's complaint names the line.
_PHASES = [Phase.explicit, Phase.reuse, Phase.generate]
_FEW = settings(max_examples=12, phases=_PHASES, suppress_health_check=list(HealthCheck))


def _old(rule: Rule) -> bool:
    return rule.kind not in NEEDS_72 | NEEDS_41 and not (rule.kind == "network" and "(" in rule.text())


@pytest.mark.parser
@_FEW
@given(batch=_BIG)
def test_rules_compile(batch: list[Rule], compiler: Compiler) -> None:
    compiler.blob(_texts(rule for rule in batch if _old(rule)), _preamble())


@pytest.mark.parser
@_FEW
@given(batch=st.lists(same_kind, min_size=10, max_size=30))
def test_merged_rules_compile(batch: list[tuple[Rule, Rule, Rule]], compiler: Compiler) -> None:
    merged = [one.merge(two) for one, two, _ in batch if _old(one)]
    compiler.blob(_texts(rule for rule in merged if rule is not None and _old(rule)), _preamble())


@pytest.mark.real
@_FEW
@given(batch=_BIG)
def test_rules_compile_with_the_newer_parser(batch: list[Rule], compiler41: Compiler, compiler72: Compiler) -> None:
    sysv = re.compile(r"mqueue .*type=sysv")  # no features file that we have mediates it
    some = [rule for rule in batch if rule.kind not in NEEDS_72 and not sysv.match(rule.text())]
    compiler41.blob(_texts(some), _preamble())
    fine = [rule for rule in batch if rule.kind != "mqueue" and not (rule.kind == "network" and "(" in rule.text())]
    compiler72.blob(_texts(fine), _preamble())
