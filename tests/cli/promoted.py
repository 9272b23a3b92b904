"""A machine in a folder with a profile that was drafted and promoted, for the commands that change machines."""

import hashlib
import json

from aalearn.lifecycle.node.applier import Change, apply
from aalearn.store import Store
from tests.lifecycle.simulated import Simulated

DRAFT = "abi <abi/3.0>,\nprofile app /usr/bin/app flags=(complain) {\n}\n"
ONE = "abi <abi/3.0>,\nprofile app /usr/bin/app {\n  /a r,\n}\n"
TWO = "abi <abi/3.0>,\nprofile app /usr/bin/app {\n  /a r,\n  /b r,\n}\n"
T0 = 1_700_000_000_000


def promote(node: Simulated, db: str, text: str, stage: str, revision: int) -> None:
    """Apply a text and write it down, as draft and promote do."""
    origin = hashlib.sha256(text.encode()).hexdigest()
    change = Change(b"app", "app", text.encode(), node.policy(text), stage, "anna", revision=revision, origin=origin)
    done = apply(node.machine, change)
    assert done.applied is not None
    with Store.open(db) as store:
        if revision > len(store.revisions(b"app")):
            store.save_revision(b"app", text, "{}", author="anna", reason="", when=T0)
        store.step(b"app", stage, revision=revision, who="anna", reason="", when=done.applied.when)


def last_step(db: str) -> tuple[str, int, str, dict[str, object]]:
    """Return state, revision, reason and detail of app's last step."""
    with Store.open(db, readonly=True) as store:
        step = store.steps(b"app")[-1]
    return step.state, step.revision, step.reason, json.loads(step.detail)


def text_of(node: Simulated) -> str:
    """Return what stands in app's file."""
    return (node.base / "app").read_text()
