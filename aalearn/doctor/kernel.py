"""Checks of the kernel, of AppArmor in it, of the parser and of what both can mediate."""

from collections.abc import Iterator
from typing import Final

from aalearn.doctor.finding import Ask, Finding, Level, check
from aalearn.doctor.host import Host
from aalearn.model.errors import AalearnError
from aalearn.model.text import shown
from aalearn.policy.compiler import Parser
from aalearn.policy.features import Features

_SECURITYFS: Final = "/sys/kernel/security"
_PARAMETERS: Final = "/sys/module/apparmor/parameters"
_NO_AUDIT: Final = frozenset({"quiet_denied", "quiet"})
_COMMAND_LINE: Final = (
    "add apparmor=1 security=apparmor to GRUB_CMDLINE_LINUX in /etc/default/grub, then: sudo update-grub && sudo reboot"
)
# Classes whose absence narrows what a profile can hold (kinds of `aalearn.rules`), with what that means.
_WORTH_KNOWING: Final = {
    "unix": "unix sockets by name are not mediated: unix rules are not enforced",
    "dbus": "D-Bus is not mediated: dbus rules are not enforced",
    "userns": "the making of user namespaces is not mediated",
    "io_uring": "io_uring is not mediated",
    "mqueue": "message queues are not mediated",
}


@check("kernel")
def kernel(host: Host, _: Ask) -> Iterator[Finding]:
    """Which kernel this is; is securityfs there."""
    release = host.text("/proc/sys/kernel/osrelease")
    if release is None:
        yield Finding("kernel", Level.PROBLEM, "/proc can't be read", "sudo mount -t proc proc /proc")
        return
    yield Finding("kernel", Level.OK, f"Linux {shown(release)}")
    if not host.exists(_SECURITYFS) or not host.path(_SECURITYFS).is_dir():
        yield Finding("kernel", Level.PROBLEM, "there is no securityfs", _COMMAND_LINE)
    elif host.text(f"{_SECURITYFS}/lsm") is None and not host.exists(f"{_SECURITYFS}/apparmor"):
        mend = f"sudo mount -t securityfs securityfs {_SECURITYFS}"
        yield Finding("kernel", Level.PROBLEM, f"securityfs is not mounted on {_SECURITYFS}", mend)


@check("apparmor")
def apparmor(host: Host, _: Ask) -> Iterator[Finding]:
    """Is AppArmor on, does it enforce what profiles say, and does it log what it denies."""
    enabled = host.text(f"{_PARAMETERS}/enabled")
    modules = (host.text(f"{_SECURITYFS}/lsm") or "").split(",")
    if enabled is None:
        yield Finding("apparmor", Level.PROBLEM, "the kernel has no AppArmor", _COMMAND_LINE)
        return
    if enabled != "Y" or (modules != [""] and "apparmor" not in modules):
        yield Finding("apparmor", Level.PROBLEM, "AppArmor is off in the running kernel", _COMMAND_LINE)
        return
    yield Finding("apparmor", Level.OK, "AppArmor is on")
    mode = host.text(f"{_PARAMETERS}/mode")
    if mode is not None and mode != "enforce":
        yield Finding(
            "apparmor",
            Level.PROBLEM,
            f"the kernel's AppArmor mode is {shown(mode)} for every profile: enforced profiles do not enforce",
            f"take apparmor.mode={shown(mode)} from the kernel's command line and reboot",
        )
    audit = host.text(f"{_PARAMETERS}/audit")
    if audit in _NO_AUDIT:
        mend = f"echo normal | sudo tee {_PARAMETERS}/audit"
        yield Finding("apparmor", Level.PROBLEM, f"AppArmor logs little (audit={audit}): nothing can be learned", mend)
    if host.text(f"{_PARAMETERS}/export_binary") == "N":
        yield Finding(
            "apparmor",
            Level.NOTE,
            "the kernel keeps no copy of loaded policy (export_binary=N), so that what is loaded can't be verified",
            f"echo Y | sudo tee {_PARAMETERS}/export_binary, then load the profiles again",
        )


@check("parser")
def parser(_: Host, ask: Ask) -> Iterator[Finding]:
    """Is there an apparmor_parser that we know."""
    try:
        found = Parser.find(ask.parser)
    except AalearnError as error:
        yield Finding("parser", Level.PROBLEM, str(error), "sudo apt-get install apparmor")
        return
    yield Finding("parser", Level.OK, f"apparmor_parser {found.release}")


@check("features")
def features(host: Host, ask: Ask) -> Iterator[Finding]:
    """What the kernel and the parser together mediate."""
    folder = host.path(f"{_SECURITYFS}/apparmor/features")
    if not folder.is_dir():
        return
    try:
        version = Parser.find(ask.parser).version
        own = Features.of_node(folder)
        missing = set(_WORTH_KNOWING) - own.target(version, "4.0", own).mediates
    except AalearnError as error:
        yield Finding("features", Level.PROBLEM, str(error))
        return
    yield Finding("features", Level.OK, f"the kernel's features have the identity {own.identity[:16]}")
    for kind in sorted(missing):
        yield Finding("features", Level.NOTE, _WORTH_KNOWING[kind])
