"""Risk tiers: one sentence a rule, no ordinary rule that alarms."""

import pytest

from aalearn.learn.risk import Risk, assess
from aalearn.model.event import Event, Verdict
from aalearn.model.target import Target
from aalearn.rules import rules_of


def risk(operation: str, **fields: str) -> Risk:
    """Return the worst risk of what an event gives."""
    pairs = tuple(sorted((key.rstrip("_"), value.encode()) for key, value in fields.items()))
    target = Target(abi="4.0", parser=(4, 1), mediates=Target().mediates | {"userns"})
    found = [assess(rule) for rule in rules_of(Event(Verdict.ALLOWED, operation, b"p", pairs), None, target).rules]
    assert found
    return min(found, key=lambda one: one.tier or 9)


@pytest.mark.parametrize(
    ("fields", "tier", "word"),
    [
        ({"name": "/mnt/", "flags": "rw"}, 1, "without a known source"),
        ({"name": "/mnt/", "flags": "ro, nosuid", "fstype": "ext4"}, 1, "without a known source"),
        ({"name": "/", "flags": "rw, rslave"}, 2, "spread"),
        ({"name": "/", "flags": "runbindable"}, 2, "spread"),
        ({"name": "/mnt/", "srcname": "tmpfs", "flags": "rw", "fstype": "tmpfs"}, 2, "stands where"),
        ({"name": "/mnt/", "srcname": "/a/", "flags": "rw, bind"}, 2, "stands where"),
    ],
)
def test_mounts(fields: dict[str, str], tier: int, word: str) -> None:
    found = risk("mount", **fields)
    assert (found.tier, word in found.why) == (tier, True), found


@pytest.mark.parametrize(
    ("name", "tier"),
    [
        ("unconfined", 1),
        (":ns:unconfined", 1),
        (":ns://unconfined", 1),
        ("p//unconfined", 1),
        ("p//&unconfined", 1),
        ("p//&:ns:unconfined", 1),
        ("unconfined_not", 3),
        ("q", 3),
    ],
)
def test_a_change_to_what_is_unconfined_in_any_namespace_is_an_escape(name: str, tier: int) -> None:
    assert risk("change_profile", name=name).tier == tier


@pytest.mark.parametrize(
    ("operation", "fields", "tier"),
    [
        ("signal", {"denied_mask": "send", "signal": "term"}, 1),
        ("signal", {"denied_mask": "send", "signal": "term", "peer": ""}, 1),
        ("signal", {"denied_mask": "send", "signal": "term", "peer": "q"}, 0),
        ("ptrace", {"denied_mask": "read"}, 1),
        ("ptrace", {"denied_mask": "tracedby", "peer": ""}, 1),
        ("ptrace", {"denied_mask": "read", "peer": "q"}, 0),
        ("connect", {"family": "unix", "sock_type": "stream", "addr": "none", "denied_mask": "connect"}, 1),
        ("sendmsg", {"family": "unix", "sock_type": "dgram", "addr": "none", "denied_mask": "send"}, 1),
        (
            "sendmsg",
            {"family": "unix", "sock_type": "dgram", "addr": "none", "denied_mask": "send", "peer_addr": "none"},
            0,
        ),
    ],
)
def test_a_rule_for_any_peer_is_withheld(operation: str, fields: dict[str, str], tier: int) -> None:
    assert risk(operation, **fields).tier == tier


TAKEOVER = [
    "/etc/systemd/system/x.service",
    "/lib/systemd/system/x.service",
    "/run/systemd/system/x.service",
    "/etc/init.d/x",
    "/etc/rc.local",
    "/etc/profile",
    "/etc/profile.d/x.sh",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d/x.conf",
    "/etc/ld.so.preload",
    "/etc/modprobe.d/x.conf",
    "/etc/modules",
    "/etc/modules-load.d/x.conf",
    "/etc/udev/rules.d/x.rules",
    "/etc/polkit-1/rules.d/x",
    "/etc/dbus-1/system.d/x.conf",
    "/etc/environment",
    "/etc/subuid",
    "/etc/subgid",
    "/etc/passwd",
    "/etc/group",
    "/etc/shadow",
    "/etc/gshadow",
    "/etc/sudoers",
    "/etc/sudoers.d/x",
    "/etc/pam.d/su",
    "/etc/security/limits.conf",
    "/etc/apparmor.d/x",
    "/etc/apt/sources.list",
    "/etc/crontab",
    "/etc/cron.d/x",
    "/var/spool/cron/crontabs/root",
    "/root/.bashrc",
    "/home/ann/.bashrc",
    "/home/ann/.profile",
    "/home/ann/.ssh/authorized_keys",
    "/home/ann/.config/autostart/x.desktop",
]
RAW = [
    "/dev/mmcblk0p1",
    "/dev/xvda1",
    "/dev/vda",
    "/dev/nvme0n1p1",
    "/dev/loop0",
    "/dev/dm-0",
    "/dev/md0",
    "/dev/mapper/control",
    "/dev/kmsg",
    "/run/systemd/private",
    "/run/snapd.socket",
    "/run/docker.sock",
    "/var/run/docker.sock",
    "/run/containerd/containerd.sock",
    "/run/crio/crio.sock",
    "/run/podman/podman.sock",
]
SECRETS = [
    "/etc/letsencrypt/live/x/privkey.pem",
    "/etc/letsencrypt/archive/x/privkey1.pem",
    "/srv/private-x.pem",
    "/srv/a_key.pem",
    "/etc/krb5.keytab",
    "/etc/wireguard/wg0.conf",
    "/etc/NetworkManager/system-connections/x.nmconnection",
    "/run/credentials/x/y",
    "/var/backups/shadow.bak",
    "/root/.bash_history",
    "/root/app/.env",
    "/root/.aws/credentials",
    "/home/ann/.bash_history",
    "/srv/app/secrets/db",
    "/srv/app/token",
    "/srv/app/credentials.json",
    "/srv/private/x",
    "/run/dbus/system_bus_socket",
    "/var/run/dbus/system_bus_socket",
]
ORDINARY = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/ssl/certs/x.pem",
    "/proc/sys/vm/overcommit_memory",
    "/etc/passwd",
    "/proc/sys/net/core/somaxconn",
    "/proc/sys/kernel/ngroups_max",
    "/proc/sys/kernel/pid_max",
    "/proc/sys/fs/nr_open",
    "/proc/sys/kernel/core_pattern",
    "/usr/lib/python3/secrets.py",
    "/usr/lib/python3.11/__pycache__/token.cpython-311.pyc",
    "/usr/lib/python3/dist-packages/certifi/cacert.pem",
    "/etc/profile",
    "/etc/ld.so.cache",
    "/etc/systemd/x.conf",
    "/dev/null",
    "/etc/ld.so.preload",
    "/srv/app/tokenizer/x",
    "/var/lib/private/x/state",
    "/tmp/x",
]


@pytest.mark.parametrize(
    ("mask", "tier", "paths"),
    [
        ("w", 1, TAKEOVER),
        ("wc", 1, RAW),
        ("r", 1, RAW),
        ("r", 2, SECRETS),
        ("m", 2, ["/tmp/x.so", "/var/tmp/x", "/dev/shm/x", "/run/user/1000/x", "/home/ann/x.so"]),
        ("w", 2, ["/run/x.sock", "/srv/x.pem", "/proc/sys/vm/overcommit_memory", "/root/x", "/boot/x"]),
        ("r", 3, ["/run/x.sock", "/srv/x.pem", "/boot/x", "/root/x", "/etc/ssh/sshd_config", "/proc/1/maps"]),
        ("r", 0, ORDINARY),
        ("m", 0, ["/usr/lib/x.so", "/srv/x.so"]),
    ],
)
def test_paths(mask: str, tier: int, paths: list[str]) -> None:
    found = {path: risk("open", name=path, denied_mask=mask) for path in paths}
    assert {path: one for path, one in found.items() if one.tier != tier} == {}
    assert all(one.why for one in found.values() if tier)


def test_what_runs_from_where_anyone_writes_is_red() -> None:
    for name in ("/tmp/x", "/dev/shm/x", "/home/ann/bin/x"):
        found = risk("exec", name=name, denied_mask="x", target=f"p//null-{name}")
        assert (found.tier, "drop and run" in found.why) == (2, True)


def test_a_second_name_in_a_place_that_takes_over_is_a_write_there() -> None:
    assert risk("link", name="/etc/cron.d/x", target="/srv/x", denied_mask="l").tier == 1
