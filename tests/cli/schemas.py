"""What the JSON of each command must look like: enough to notice a change that would break a reader."""

from typing import Any

RULE = {
    "block": str,
    "rule": str,
    "kind": str,
    "state": str,
    "comments": [str],
    "events": int,
    "accesses": int,
    "runs": int,
    "first": str,
    "last": str,
    "programs": [str],
    "nodes": [str],
    "verdicts": [str],
    "trusted": bool,
    "record": str,
}
WAITING = {"block": str, "rule": str, "tier": int, "reasons": [str], "runs": int, "active": bool}
NOTE = {"level": str, "text": str}
PROOF = {
    "schema": int,
    "proved": bool,
    "parser": str,
    "abi": str,
    "features": str,
    "features_source": str,
    "sha256": str,
    "text_sha256": str,
    "counts": dict,
    "invariants": [{"number": int, "title": str, "holds": bool, "findings": list}],
}
ABSTRACTION = {
    "block": str,
    "name": str,
    "saves": int,
    "rules": [str],
    "opens_read": (int, type(None)),
    "opens_write": (int, type(None)),
    "offered": bool,
    "why": str,
}
SUGGEST = {
    "schema": int,
    "profile": str,
    "form": str,
    "file": (str, type(None)),
    "proved": bool,
    "text": (str, type(None)),
    "rules": [RULE],
    "review": [WAITING],
    "withheld": [WAITING],
    "notes": [NOTE],
    "abstractions": [ABSTRACTION],
    "proof": PROOF,
}
DENIED = {"rule": str, "who": str, "when": str, "why": str}
EXPLAIN = {"schema": int, "profile": str, "rules": [RULE], "denied": [DENIED], "notes": [NOTE]}
REVIEW = {"schema": int, "profile": str, "waiting": [WAITING], "denied": [DENIED]}
REPLY = {"block": str, "event": str, "why": str, "events": int, "record": str}
CHECK = {
    "schema": int,
    "results": [
        {
            "file": str,
            "profile": str,
            "complain": bool,
            "accesses": int,
            "counts": dict,
            "denied": [REPLY],
            "unproved": [REPLY],
            "risky": [{"block": str, "what": str, "permissions": str, "example": str, "why": str, "used": bool}],
            "over_grant": list,
        }
    ],
}
GRANT = {"kind": str, "permissions": str, "object": str}
DIFF = {
    "schema": int,
    "a": str,
    "b": str,
    "changes": [{"profile": str, "state": str, "gained": [GRANT], "lost": [GRANT]}],
}


STEP = {
    "step": int,
    "when": str,
    "state": str,
    "revision": (int, type(None)),
    "by": str,
    "reason": str,
    "detail": dict,
}
HISTORY = {
    "schema": int,
    "profile": str,
    "state": (str, type(None)),
    "revisions": [
        {
            "revision": int,
            "when": str,
            "author": str,
            "reason": str,
            "state": (str, type(None)),
            "text_sha256": str,
            "changed": [str],
            "detail": dict,
            "proof": dict,
        }
    ],
    "steps": [STEP],
}


ENTRY = {"revision": (int, type(None)), "mode": str, "text_sha256": (str, type(None))}
ROLLBACK = {
    "schema": int,
    "profile": str,
    "dry_run": bool,
    "from": ENTRY,
    "to": ENTRY,
    "tasks": [str],
    "changed": [str],
    "done": bool,
}


RETIRE = {
    "schema": int,
    "profile": str,
    "dry_run": bool,
    "end": str,
    "file": (str, type(None)),
    "package": (str, type(None)),
    "profiles": [str],
    "tasks": [str],
    "done": bool,
    "refused": str,
}


RECONCILE = {
    "schema": int,
    "differences": [{"profile": str, "kind": str, "what": str, "mend": str, "fixable": bool}],
    "mended": [str],
    "dry_run": bool,
    "not_compared": [str],
}


DENIAL = {
    "event": str,
    "profile": str,
    "label": str,
    "what": str,
    "times": int,
    "at_least": bool,
    "first": str,
    "last": str,
    "programs": [str],
    "nodes": [str],
    "trusted": bool,
    "tier": int,
    "rules": [{"block": str, "rule": str, "tier": int, "why": str, "refused": (str, type(None))}],
    "notes": [str],
    "record": str,
}
WATCH_LINE = {"schema": int, **DENIAL}
WATCH = {
    "schema": int,
    "profiles": [
        {
            "profile": str,
            "state": str,
            "revision": int,
            "since": str,
            "probation_seconds": float,
            "unit": (str, type(None)),
            "events": int,
            "at_least": bool,
            "more": int,
            "worst_tier": int,
            "denials": [DENIAL],
        }
    ],
}


def fits(value: Any, shape: Any, where: str = "document") -> None:
    """Assert that a value has a shape: a type, a tuple of types, a list of one shape, or a dict of shapes."""
    if isinstance(shape, dict):
        assert isinstance(value, dict), where
        for name, inner in shape.items():
            assert name in value, f"{where}.{name} is missing"
            fits(value[name], inner, f"{where}.{name}")
        if "schema" in shape:
            assert value["schema"] == 1
    elif isinstance(shape, list):
        assert isinstance(value, list), where
        for at, inner in enumerate(value):
            fits(inner, shape[0], f"{where}[{at}]")
    else:
        assert isinstance(value, shape), f"{where} is {type(value).__name__}"
