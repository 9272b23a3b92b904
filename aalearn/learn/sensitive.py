"""What no generalisation goes into or across (generalise-and-risk §1, "Never into or across").

Everything here is asked of observed or possible *literal* paths, so it holds for any pattern that a candidate makes: a
pattern that matches a path of this list which no event named is refused.
"""

import re

from aalearn.model.pattern import Literal, Pattern, Token

# One alternative a line of the facts. `~` is /root and every folder of /home. Written over whole paths; a trailing
# slash (a folder itself) counts as inside.
_NEVER = re.compile(
    rb"""
    /etc/(?: shadow | gshadow | sudoers | cron | ld\.so\.preload )[^/]* (?:/.*)?
  | /etc/(?: ssh | kubernetes | ssl/private ) (?:/.*)?
  | /root (?:/.*)?
  | /home/[^/]+/\..*
  | (?:/var)?/run/secrets (?:/.*)?
  | (?:/var)?/run/.*\.sock(?:et)? | (?:/var)?/run/(?:.*/)?(?: dbus/.* | bus | dbus-[^/]* )
  | /proc/sys (?:/.*)?
  | /proc/(?:.*/)?(?: mem | environ | maps )
  | /proc/(?: sysrq-trigger | kcore )
  | /dev/(?: mem | kmem | port | kmsg | core | [shv]d[a-z][^/]* | nvme[^/]* | dm-[^/]* | mmcblk[^/]* | loop[^/]*
          | md[^/]* | mapper/.* | disk/.* | block/.* | raw/.* | bsg/.* | sg[0-9]+ | sr[0-9]+ )
  | /boot (?:/.*)?
  | .*/(?: [^/]*\.key | [^/]*\.pem | \.ht[^/]* )/?
  | .*/\.\. (?:/.*)?
    """,
    re.VERBOSE | re.DOTALL,
)
# Folders of programs and libraries, wherever they stand; /var/lib is data.
_NEVER_WRITE = re.compile(
    rb"/sys(?:/.*)?|.*/(?:s?bin|lib32|lib64|libx32|libexec)(?:/.*)?|.*(?<!/var)/lib(?:/.*)?",
    re.DOTALL,
)
# What a credential looks like: reading it is tier 2 (generalise-and-risk §6).
_CREDENTIAL = re.compile(
    rb"""
    /etc/(?: shadow | gshadow )-? | /etc/sudoers (?:\.d/.*)? | /etc/ssl/private/.* | /etc/kubernetes/.*\.(?:key|conf)
  | /etc/ssh/ssh_host_[^/]*_key | (?:/root|/home/[^/]+)/\.(?:ssh|gnupg|aws|kube|docker)/.*
  | (?:/var)?/run/secrets/.*
  | .*\.key | .*/\.ht[^/]*
    """,
    re.VERBOSE | re.DOTALL,
)


def never(path: bytes, write: bool = False) -> bool:
    """Return whether no rule may come to match `path` by generalisation; `write` asks for w, a and x too."""
    if _NEVER.fullmatch(path) is not None:
        return True
    return write and _NEVER_WRITE.fullmatch(path) is not None


def credential(path: bytes) -> bool:
    """Return whether `path` names a secret: password hashes, private keys, tokens."""
    return _CREDENTIAL.fullmatch(path) is not None


def bin_or_lib(path: bytes) -> bool:
    """Return whether `path` lies in a folder of programs or libraries."""
    return _NEVER_WRITE.fullmatch(path) is not None and not path.startswith(b"/sys")


# Names that stand for the never-across list in any folder: if a segment's pattern matches one of them there and the
# path is on the list, the pattern is refused. `%` is where a prefix of the pattern stands.
_WITNESSES = (
    *(b"shadow", b"gshadow", b"sudoers", b"sudoers.d", b"crontab", b"cron.d", b"ssh", b"kubernetes", b"ld.so.preload"),
    *(
        b"ssl",
        b"private",
        b"root",
        b".ssh",
        b".bashrc",
        b"secrets",
        b"docker.sock",
        b"containerd.sock",
        b"dbus",
        b"bus",
    ),
    *(b"system_bus_socket", b"mem", b"environ", b"maps", b"sysrq-trigger", b"kcore", b"sys", b"kmem", b"port", b"kmsg"),
    *(b"sda", b"sdb1", b"vda", b"hda", b"nvme0n1", b"dm-0", b"loop0", b"md0", b"mmcblk0", b"mapper", b"disk", b"boot"),
    *(b"server.key", b"server.pem", b".htpasswd", b".htaccess", b"..", b"bin", b"sbin", b"lib", b"lib64", b"libexec"),
    *(b"%.key", b"%.pem", b"%.sock", b"%.socket", b"%0", b"%1", b"%a"),
)
_INSIDE = (b"", b"/x", b"/private/x")


def crosses(folder: bytes, segment: tuple[Token, ...], write: bool) -> bool:
    """Return whether a pattern `segment` in `folder` (ends in `/`) could match into the never-across list."""
    pattern = Pattern.of(*segment)
    prefix = segment[0].value if segment and isinstance(segment[0], Literal) else b""
    for witness in _WITNESSES:
        name = witness.replace(b"%", prefix)
        if pattern.matches(name) and any(never(folder + name + inside, write) for inside in _INSIDE):
            return True
    return False
