"""The page of railroad diagrams is what the grammar of today gives."""

from pathlib import Path

from aalearn.grammar.diagrams import page


def test_the_page_of_diagrams_is_fresh(root: Path) -> None:
    """Write it anew with `python -m aalearn.grammar.diagrams`."""
    assert (root / "docs" / "grammar.html").read_text("utf-8") == page()


def test_the_page_loads_nothing_from_elsewhere() -> None:
    text = page().replace("http://www.w3.org/", "")
    assert "http" not in text
    assert "<script" not in text
