"""What the node that shall enforce a profile can do, as far as the spelling of rules depends on it."""

from dataclasses import dataclass

# Classes that every supported kernel (6.1 on) and parser (3.0 on) mediate.
_COMMON = frozenset(
    {"file", "capability", "network", "mount", "signal", "ptrace", "unix", "dbus", "rlimit", "change_profile"}
)


@dataclass(frozen=True, slots=True)
class Target:
    """The target of a profile: abi, the parser's version and the classes that its kernel features mediate.

    `mediates` holds kind names (the registry of `aalearn.rules`); `fine_inet` is true where the features have
    `network_v8/af_inet`, so that addresses and ports can stand in network rules. The default is the least of all
    targets: what is spelled for it compiles everywhere.
    """

    abi: str = "3.0"
    parser: tuple[int, int] = (3, 0)
    mediates: frozenset[str] = _COMMON
    fine_inet: bool = False
