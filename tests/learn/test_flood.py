"""Names by the thousand: what is kept, what is told, and that learning ends."""

import random
import time

import pytest

from aalearn.learn.options import Quorum
from tests.learn.accesses import Made
from tests.learn.conftest import learn, proof, texts


def flooded(names: int, seed: int = 3) -> Made:
    """Return `names` random names that run 1 makes in one folder, beside what two runs read."""
    made = Made()
    choice = random.Random(seed)
    for name in {choice.randrange(1 << 24) for _ in range(names)}:
        made.file(f"/srv/data/f{name:06x}", "wc", runs=(1,), operation="mknod")
    for at in range(5):
        made.file(f"/etc/{chr(97 + at) * 3}.conf")
    return made


def test_flood_is_cut_early_and_told() -> None:
    made = flooded(3000)
    before = time.process_time()
    found = learn(made.all)
    assert time.process_time() - before < 10
    assert len(found.learned) == 405
    notes = [note.text for note in found.notes if note.text.startswith("flood")]
    total = len(made.all) - 405
    assert f"flood: {total:,} further names in /srv/data/ by one run are left out, unheard" in notes
    assert "/etc/aaa.conf r," in texts(found)


def test_what_is_kept_of_a_flood_does_not_depend_on_order() -> None:
    made = flooded(1000).all
    assert learn(made).document == learn(made[::-1]).document


def test_what_several_runs_need_is_no_flood() -> None:
    made = Made()
    for at in range(600):
        made.file(f"/srv/data/{at}x{at * 7919 % 1000}y", "w", runs=(1, 2))
    assert len(learn(made.all).learned) == 600


def test_file_names_of_a_profile_are_capped() -> None:
    made = Made()
    for at in range(50):
        made.file(f"/etc/{at:02}q", runs=(1,))
    made.file("/etc/zz")
    found = learn(made.all, quorum=Quorum(names=20))
    assert len(found.learned) == 20
    assert "/etc/zz r," in texts(found)
    assert any("31 further file names" in note.text for note in found.notes)


@pytest.mark.parser
def test_the_proof_of_a_flood_holds(parser: str) -> None:
    assert proof(learn(flooded(1000).all), parser).proved
