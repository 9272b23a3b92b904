"""Names that nobody needs, made to stop learning: very deep and very long ones stay literal and cost little."""

import time

from tests.learn.accesses import Made
from tests.learn.conftest import learn, texts, withheld


def test_deep_and_long_names_stay_literal_and_cost_little() -> None:
    made = Made()
    for at in range(20):
        made.file("/d" + f"/a{at}" * 300)
        made.file("/srv/" + "/".join([chr(97 + at) * 250] * 15))
    before = time.process_time()
    found = withheld(learn(made.all))  # the parser needs minutes for them
    assert time.process_time() - before < 5
    assert sum("/d/" in text for text in found) == 20


def test_a_path_of_forty_segments_is_still_learned_like_any_other() -> None:
    made = Made()
    for at in range(12):
        made.file(f"/d{'/a' * 38}/{at:08x}{'0123456789abcdef' * 2}.tmp", "w")
    assert len(texts(learn(made.all))) < 12
