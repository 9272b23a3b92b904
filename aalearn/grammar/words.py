"""The word tables of `grammars/records.toml`, checked and typed, for every module of the record grammar."""

import re
from dataclasses import dataclass
from functools import cache
from typing import Any

from aalearn.model.data import words


@dataclass(frozen=True, slots=True)
class Sign:
    """One text that says that records were lost; `amount` finds how many, where the text says so."""

    name: str
    has: bytes
    amount: re.Pattern[bytes] | None


@dataclass(frozen=True, slots=True)
class RecordWords:
    """`grammars/records.toml` as a value; see the comments there for what each table means."""

    verdicts: tuple[str, ...]
    untrusted: frozenset[str]
    abstract: frozenset[str]
    subject: tuple[str, ...]
    volatile: frozenset[str]
    libaudit: frozenset[str]
    kernel_types: tuple[str, ...]
    user_types: tuple[str, ...]
    companions: frozenset[bytes]
    companion_numbers: str
    tags: tuple[str, ...]
    line_limit: int
    kmsg_limit: int
    audit_limit: int
    ephemeral: int
    local_keys: frozenset[str]
    foreign_keys: frozenset[str]
    foreign_addresses: frozenset[str]
    local_ports: frozenset[str]
    foreign_ports: frozenset[str]
    required_all: frozenset[str]
    required_dbus: frozenset[str]
    required_family: frozenset[str]
    required_file: frozenset[str]
    file_operations: frozenset[str]
    required: dict[str, frozenset[str]]
    losses: tuple[Sign, ...]


def _sign(table: dict[str, str]) -> Sign:
    amount = table.get("amount")
    return Sign(table["sign"], table["has"].encode(), re.compile(amount.encode()) if amount else None)


@cache
def record_words() -> RecordWords:
    """Return the tables; read once. A missing table is a KeyError: the installation is broken, not the input."""
    data: dict[str, Any] = words("records")
    keys, types, limits, required = data["keys"], data["types"], data["limits"], data["required"]
    return RecordWords(
        verdicts=tuple(data["verdicts"]),
        untrusted=frozenset(keys["untrusted"]),
        abstract=frozenset(keys["abstract"]),
        subject=tuple(keys["subject"]),
        volatile=frozenset(keys["volatile"]),
        libaudit=frozenset(keys["libaudit"]),
        kernel_types=tuple(types["kernel"]),
        user_types=tuple(types["user"]),
        companions=frozenset(word.encode() for word in types["companions"]),
        companion_numbers=types["companion_numbers"],
        tags=tuple(data["tags"]["words"]),
        line_limit=limits["line"],
        kmsg_limit=limits["kmsg"],
        audit_limit=limits["audit"],
        ephemeral=limits["ephemeral"],
        local_keys=frozenset(data["ports"]["local_keys"]),
        foreign_keys=frozenset(data["ports"]["foreign_keys"]),
        foreign_addresses=frozenset(data["ports"]["foreign_addresses"]),
        local_ports=frozenset(data["ports"]["local"]),
        foreign_ports=frozenset(data["ports"]["foreign"]),
        required_all=frozenset(required["all"]),
        required_dbus=frozenset(required["dbus"]),
        required_family=frozenset(required["family"]),
        required_file=frozenset(required["file"]),
        file_operations=frozenset(required["file_operations"]),
        required={operation: frozenset(names) for operation, names in required["operations"].items()},
        losses=tuple(_sign(table) for table in data["loss"]),
    )
