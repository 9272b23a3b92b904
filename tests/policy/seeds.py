"""Real compiled policy of every shape that the two parsers make: what decoder and fuzz tests start from."""

from collections.abc import Mapping
from pathlib import Path

from aalearn.policy.cache import Cache
from aalearn.policy.compiler import Parser
from aalearn.policy.features import Features, shipped

ABIS = Path(__file__).resolve().parents[1] / "data" / "features"

# Understood by both parsers; each line is there for an element of the stream.
PLAIN = """
profile one /usr/bin/{one,uno}* flags=(attach_disconnected,mediate_deleted) {
  capability sys_admin, audit capability chown, deny capability bpf,
  network inet stream, signal send peer=two, ptrace read, mount fstype=ext4 /dev/* -> /mnt/*/, dbus send bus=session,
  set rlimit nofile <= 1024, set rlimit cpu <= 10,
  change_profile -> two,
  /etc/** r, owner /home/*/.x{a,b}* rw, /lib/*.so* mr, deny /etc/shadow r, link /a -> /b,
  /bin/sh ix, /bin/two Px -> two, /bin/cat Cx -> kitty, /bin/ns Px -> :space:far, /bin/u Ux,
  profile kitty flags=(complain) { /bin/cat mr, }
  ^hat { /x r, }
}
profile two { audit /y rwkl, }
profile free flags=(unconfined) { }
"""
LATER = """
profile later /usr/bin/later xattrs=(user.one=a user.two="b") flags=(kill, attach_disconnected.path=/away) {
  userns, mqueue (read) /q, io_uring, priority=3 /p r, /** r,
}
profile asked flags=(prompt) { prompt /x rw, all, }
"""
MANY = "profile many {\n" + "".join(f"  /srv/{n * 7919 % 9973:x}/{n % 7}/** r,\n" for n in range(40)) + "}\n"


def with_words(features: Features, **more: str) -> Features:
    """Return `features` with words added, e.g. `policy="diff_encode {yes\\n}\\n"`."""
    text = features.text
    for name, words in more.items():
        text = text.replace(f"\n{name} {{", f"\n{name} {{{words}", 1)
    return Features.parse(text, "words added")


def targets() -> Mapping[str, Features]:
    """Return the features of abis and kernels, and made-up ones that ask for forms that no present kernel asks for."""
    found = {f"abi-{name}": shipped(name) for name in ("3.0", "4.0")}
    found |= {path.stem: Features.of_file(path) for path in sorted(ABIS.glob("*.abi"))}
    found["diff"] = with_words(shipped("4.0"), policy="diff_encode {yes\n}\nstate32 {yes\n}\n")
    found["diff-inline"] = with_words(shipped("3.0"), policy="diff_encode {yes\n}\n")
    old = shipped("3.0").text
    cut = old.index("network_v8 {")
    found["old-network"] = Features.parse(old[:cut] + old[old.index("policy {") :], "no network_v8")
    found["fine-inet"] = with_words(shipped("4.0"), network_v8="af_inet {yes\n}\n")
    return found


def blobs(parsers: Mapping[str, Parser], base: Path) -> dict[str, bytes]:
    """Return compiled policy by a name that says parser, target and text."""
    made = {}
    for who, parser in parsers.items():
        classes = Parser((*parser.command, "-O", "equiv"), Cache(None))
        for target, features in targets().items():
            for what, text in (("plain", PLAIN), ("later", LATER), ("many", MANY)):
                if what == "later" and parser.version < (4, 0):
                    continue
                made[f"{who} {target} {what}"] = parser.compile(text, features=features, base=base, strict=False).blob
        for abi in ("3.0", "4.0"):
            blob = classes.compile(PLAIN, features=shipped(abi), base=base).blob
            made[f"{who} abi-{abi} classes"] = blob
    return made
