"""Questions about what changes the profile without an execution, capabilities and limits.

Layout of change_profile, in the file automaton (source: kernel domain.c, apparmor_parser parser_regex.c): the target's
label from the start, with "&" before it when it is stacked upon the present one.
"""

from typing import Final

from aalearn.model.event import Event
from aalearn.model.text import shown
from aalearn.policy.ask.base import ALLOWED, CLASSES, Answer, Subject, decide, denied, numbers, unproved
from aalearn.policy.ask.labels import match
from aalearn.policy.automaton import TRAP
from aalearn.policy.permissions import May

_CAPABILITIES: Final = numbers("capabilities")
_RLIMITS: Final = numbers("rlimits")


def change_profile(subject: Subject, event: Event, _owner: bool | None) -> Answer:
    """Answer for operations "change_profile", "change_onexec", "stack" and "stack_onexec"."""
    target = event.get("target") or event.get("name") or b""
    if subject.file is None:
        return denied("the profile has no change_profile rule")
    bits = May.ONEXEC if event.operation.endswith("onexec") else May.CHANGE_PROFILE
    state = subject.file.start
    if event.operation.startswith("stack"):
        state = subject.file.dfa.step(state, ord("&"))
    return match(subject.file, state, target, bits, f"{shown(event.operation)} to")


def change_hat(subject: Subject, event: Event, _owner: bool | None) -> Answer:
    """Answer for operation "change_hat": a hat needs no rule, it must exist."""
    hat = event.get("name")
    if not hat:
        return unproved("the record does not name the hat")
    top = subject.name.partition(b"//")[0]
    return ALLOWED if top + b"//" + hat in subject.names else denied(f"the profile has no hat {shown(hat)}")


def capability(subject: Subject, event: Event, _owner: bool | None) -> Answer:
    """Answer for operation "capable"."""
    name, number = event.text("capname"), event.text("capability")
    bit = _CAPABILITIES.get(name, int(number) if number.isdecimal() else None)
    if bit is None or bit > 63:
        return unproved(f"unknown capability {shown(name or number)!r}")
    if subject.start(CLASSES["capability"]) != TRAP:
        return unproved("this policy mediates capabilities by its automaton, which is not walked")
    return decide(subject.capabilities, 1 << bit, f"no rule permits capability {shown(name or number)}")


def rlimit(subject: Subject, event: Event, _owner: bool | None) -> Answer:
    """Answer for operation "setrlimit": only what a rule limits is limited."""
    number, value = _RLIMITS.get(event.text("rlimit")), event.text("value")
    if number is None or not value.isdecimal():
        return unproved(f"unknown limit {shown(event.text('rlimit'))!r}")
    limit = subject.rlimits.get(number)
    if limit is None or int(value) <= limit:
        return ALLOWED
    return denied(f"the rule permits at most {limit} for {shown(event.text('rlimit'))}")
