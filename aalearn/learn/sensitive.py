"""What no generalisation goes into or across (generalise-and-risk §1, "Never into or across").

Everything here is asked of observed or possible *literal* paths, so it holds for any pattern that a candidate makes: a
pattern that matches a path of this list which no event named is refused.
"""

import re

# One alternative a line of the facts. `~` is /root and every folder of /home. Written over whole paths; a trailing
# slash (a folder itself) counts as inside.
_NEVER = re.compile(
    rb"""
    /etc/(?: shadow | gshadow | sudoers | cron | ld\.so\.preload )[^/]* (?:/.*)?
  | /etc/(?: ssh | kubernetes | ssl/private | wireguard | letsencrypt/(?: archive | keys | live ) ) (?:/.*)?
  | /root (?:/.*)?
  | /home/[^/]+/\..*
  | (?:/var)?/run/(?: secrets | credentials ) (?:/.*)?
  | /var/backups/[^/]*shadow[^/]*
  | (?:/var)?/run/.*\.sock(?:et)? | (?:/var)?/run/(?:.*/)?(?: dbus/.* | bus | dbus-[^/]* )
  | /proc/sys (?:/.*)?
  | /proc/(?:.*/)?(?: mem | environ | maps )
  | /proc/(?: sysrq-trigger | kcore )
  | /dev/(?: mem | kmem | port | kmsg | core | (?:[shv]|xv)d[a-z][^/]* | nvme[^/]* | dm-[^/]* | mmcblk[^/]* | loop[^/]*
          | md[^/]* | mapper/.* | disk/.* | block/.* | raw/.* | bsg/.* | sg[0-9]+ | sr[0-9]+ )
  | /boot (?:/.*)?
  | .*/(?: [^/]*\.(?: key | pem | keytab | nmconnection ) | \.ht[^/]* )/?
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
  | /etc/wireguard/.* | /etc/letsencrypt/(?:.*/)?privkey[^/]*\.pem | /var/backups/[^/]*shadow[^/]*
  | (?:/var)?/run/credentials/.*
  | .*/[^/]*(?:priv|key)[^/]*\.pem | .*\.(?: key | keytab | nmconnection ) | .*/\.ht[^/]*
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
