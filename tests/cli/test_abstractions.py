"""`suggest --abstractions`: none unless asked for, and what a person and a script are told."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Done, Face
from tests.cli.schemas import SUGGEST, fits
from tests.lifecycle.shelves import NAMES, base_of, rules

pytestmark = pytest.mark.parser

Suggest = Callable[..., Done]


@pytest.fixture
def suggest(aalearn: Face, tmp_path: Path) -> Suggest:
    """Return a function that suggests the profile `app`, which reads seven files of /opt/app, with options."""
    base = base_of(tmp_path, small=rules(), dear=rules() + "/srv/x w,\n/srv/y w,\n/srv/z w,\n", bad="nonsense\n")
    log, files = tmp_path / "audit.log", tmp_path / "files"
    files.write_text("/srv/x\n/srv/y\n/srv/z\n" + "".join(f"/opt/app/{name}\n" for name in NAMES))
    lines = [
        f'type=AVC msg=audit(1795450774.{run}{at:02}:{run}{at:02}): apparmor="ALLOWED" operation="open" '
        f'class="file" profile="app" name="/opt/app/{name}" pid={run}7 comm="app" requested_mask="r" '
        'denied_mask="r" fsuid=1 ouid=2\n'
        for run in (1, 2)
        for at, name in enumerate(NAMES)
    ]
    log.write_text("".join(lines))
    database = f"sqlite:///{tmp_path / 'x.db'}"
    assert aalearn("--db", database, "--quiet", "ingest", "--trusted", log).code == 0

    def call(*options: str | Path, before: tuple[str, ...] = (), root: Path | None = files) -> Done:
        where = ("--root", root) if root is not None else ()
        return aalearn("--db", database, *before, "suggest", "app", "--base", base, *where, *options)

    return call


def test_none_is_the_default(suggest: Suggest) -> None:
    done = suggest()
    assert done.code == 0, done.err
    assert "abstractions/" not in done.out + done.err
    assert suggest("--abstractions", "none").out == done.out


def test_the_chosen_ones_are_told(suggest: Suggest) -> None:
    done = suggest("--abstractions", "measured")
    assert done.code == 0, done.err
    assert "  include <abstractions/small>\n" in done.out
    assert "aalearn: included: abstractions/small in app: saves 7 rules; opens 0 files for reading" in done.err
    assert "not included" not in done.err
    assert suggest("--abstractions", "measured").out == done.out


def test_the_refused_ones_are_told_with_verbose(suggest: Suggest) -> None:
    done = suggest("--abstractions", "measured", before=("--verbose",))
    assert done.code == 0, done.err
    assert "aalearn: not included: abstractions/bad in app: does not compile on its own: " in done.err


def test_json_has_all_of_them(suggest: Suggest) -> None:
    done = suggest("--abstractions", "measured", before=("--output", "json"))
    document = json.loads(done.out)
    fits(document, SUGGEST)
    found = {one["name"]: one for one in document["abstractions"]}
    assert sorted(found) == ["bad", "dear", "small"]
    assert (found["small"]["offered"], found["small"]["saves"], found["small"]["opens_read"]) == (True, 7, 0)
    assert not found["dear"]["offered"]
    assert document["rules"][0]["rule"] == "include <abstractions/small>"
    assert document["rules"][0]["events"] == 14
    assert json.loads(suggest(before=("--output", "json")).out)["abstractions"] == []


@pytest.mark.parametrize(
    ("options", "root", "words"),
    [
        (("--abstractions", "maybe"), True, ("--abstractions", "maybe", "none", "measured")),
        (("--abstractions",), True, ("--abstractions",)),
        (("--abstractions", "measured", "--container"), True, ("container",)),
        (("--abstractions", "measured"), False, ("--root",)),
    ],
)
def test_wrong_use_is_told(
    suggest: Suggest, tmp_path: Path, options: tuple[str, ...], root: bool, words: tuple[str, ...]
) -> None:
    done = suggest(*options, root=tmp_path / "files" if root else None)
    assert (done.code, done.out) == (2, "")
    assert all(word in done.err for word in words), done.err
    assert "Traceback" not in done.err


def test_a_profile_on_disk_is_measured_as_a_whole_only(suggest: Suggest, tmp_path: Path) -> None:
    file = tmp_path / "apparmor.d" / "app"
    file.write_text("abi <abi/3.0>,\nprofile app {\n  /etc/mine r,\n}\n")
    done = suggest("--abstractions", "measured")
    assert "include" not in done.out
    assert "add --whole" in done.err
    assert "include <abstractions/small>" in suggest("--abstractions", "measured", "--whole").out
