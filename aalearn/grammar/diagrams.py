"""Railroad diagrams of the record grammar: `python -m aalearn.grammar.diagrams` writes docs/grammar.html anew.

A development command: it needs the `railroad-diagrams` package (extra `dev`). A test checks that the page is fresh.
"""

import re
import sys
from io import StringIO
from pathlib import Path

from railroad import DEFAULT_STYLE

from aalearn.grammar.records import record_grammar

_TITLE = "The grammar of AppArmor's log records"
_TEXT = (
    "What aalearn reads as a record. Boxes with square corners are rules, explained further down; those with round "
    "corners are regular expressions over the bytes of a line. Made from the code by "
    "<code>python -m aalearn.grammar.diagrams</code>."
)


def page() -> str:
    """Return the page: one diagram a rule, no scripts, nothing loaded from elsewhere, the same bytes each time."""
    out = StringIO()
    record_grammar().create_diagram(out, vertical=4, show_results_names=False, embed=True)
    diagrams = re.sub(r"<style>.*?</style>|<meta [^>]*>", "", out.getvalue(), flags=re.DOTALL)
    style = f"body {{ font-family: sans-serif; }}\n.railroad-svg {{ overflow-x: auto; }}\n{DEFAULT_STYLE}"
    head = f'<meta charset="utf-8">\n<title>{_TITLE}</title>\n<style>\n{style}\n</style>'
    body = f"<h1>{_TITLE}</h1>\n<p>{_TEXT}</p>\n{diagrams}"
    text = f'<!DOCTYPE html>\n<html lang="en">\n<head>\n{head}\n</head>\n<body>\n{body}\n</body>\n</html>\n'
    return "\n".join(line.rstrip() for line in text.splitlines() if line.strip()) + "\n"


def main() -> None:
    """Write docs/grammar.html of this checkout, or the file named as the only argument."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[2] / "docs" / "grammar.html"
    target.write_text(page(), "utf-8")


if __name__ == "__main__":
    main()
