"""What the tests of exports share: profiles learned from real logs, ready to go out; schemas; made-up profiles."""

import json
import tempfile
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from aalearn.cli.export import prepared
from aalearn.intake.engine import ingest
from aalearn.intake.summary import Options as IntakeOptions
from aalearn.kubernetes.exports import Choice, Outgoing
from aalearn.learn.options import Mode, Options
from aalearn.lifecycle.judge import Judge
from aalearn.model.event import Access
from aalearn.store import Store
from tests.conftest import ROOT

LOGS = ROOT / "tests/data/logs"
SPO = ROOT / "tests/data/spo"


@cache
def judge(parser: str) -> Judge:
    """Return the judge for the least target."""
    return Judge.find(parser)


@cache
def learned(case: str, parser: str, *, enforce: bool = False) -> tuple[Outgoing, ...]:
    """Return the profiles of a real log, in the form of a container's, all rules active (but for strange names)."""
    with tempfile.TemporaryDirectory() as folder, Store.open(f"sqlite:///{folder}/x.db") as store:
        ingest([LOGS / case / "audit.log.xz"], store, IntakeOptions(node="vm"))
        names = [profile.name for profile in store.profiles() if profile.name != b"unconfined"]
        mode = Mode.DEFAULT if case.endswith("names") else Mode.ALL  # names of 4,000 bytes stop the parser
        options = Options(target=judge(parser).target, mode=mode, container=True)
        return tuple(prepared(name, store.accesses(name), options, judge(parser), enforce=enforce) for name in names)


def made(accesses: list[Access], parser: str, *, enforce: bool = False, **options: Any) -> Outgoing:
    """Return the profile `p` of accesses made by hand."""
    values: dict[str, Any] = {"target": judge(parser).target, "mode": Mode.ALL, "container": True, **options}
    chosen = Options(**values)
    return prepared(b"p", accesses, chosen, judge(parser), enforce=enforce)


def choice(parser: str, **more: Any) -> Choice:
    """Return what the command line would say."""
    return Choice(target=judge(parser).gate(strict=False), **more)


def fits(document: dict[str, Any], name: str) -> None:
    """Raise ValidationError unless one of the operator's schemas takes the document."""
    validate = import_module("jsonschema").validate  # it has no types
    validate(document, json.loads((SPO / f"{name}.json").read_text()))


def documents(text: str) -> list[dict[str, Any]]:
    """Return the documents of a YAML stream, as a plain reader sees them."""
    from ruamel.yaml import YAML

    return [document for document in YAML(typ="safe", pure=True).load_all(text) if document is not None]


def path_of(case: str) -> Path:
    """Return the log of a case."""
    return LOGS / case / "audit.log.xz"
