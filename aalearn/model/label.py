"""AppArmor labels as the kernel prints them: namespaces, stacked members, `//null-` children and hats.

Source: kernel security/apparmor/label.c (aa_label_snxprint), lib.c (aa_splitn_fqname) and policy.c
(aa_new_learning_profile): `:ns:profile`, `:ns1//ns2:profile`, `a//&b`, `P//child`, `P//null-/usr/bin/x`, and
`P//null-1f` where the name was too long.
"""

from dataclasses import dataclass

STACK = b"//&"
NULL = b"//null-"


@dataclass(frozen=True, slots=True, order=True)
class Label:
    """A label, taken apart.

    `namespace` is what stands between the colons, `ns1//ns2`, or b"". `base` is the profile's name with its hat or
    child parts (`P//child`), before the first `//null-`. `nulls` are what followed each `//null-`: an exec'd path,
    the name of a hat that does not exist, or a hexadecimal counter. `stacked` are the further members of a stack, in
    the order logged.
    """

    base: bytes
    nulls: tuple[bytes, ...] = ()
    namespace: bytes = b""
    stacked: tuple["Label", ...] = ()

    @staticmethod
    def parse(value: bytes) -> "Label":
        """Return the label that `value` spells. Every byte string is some label; an empty one has an empty base."""
        first, *others = value.split(STACK)
        return Label._member(first)._with(tuple(Label._member(other) for other in others))

    @staticmethod
    def _member(value: bytes) -> "Label":
        namespace, rest = Label._namespace(value)
        while namespace and rest.startswith(b"//"):
            rest = rest[2:]
        base, *nulls = rest.split(NULL)
        return Label(base, tuple(nulls), namespace)

    @staticmethod
    def _namespace(value: bytes) -> tuple[bytes, bytes]:
        """Split `:ns:profile` and `//ns//profile` into the namespace, b"" for none, and the rest."""
        opening = next((mark for mark in (b":", b"//") if value.startswith(mark)), b"")
        namespace, closing, rest = value[len(opening) :].partition(opening) if opening else (b"", b"", value)
        return (namespace, rest) if namespace and closing else (b"", value)

    def _with(self, stacked: tuple["Label", ...]) -> "Label":
        return Label(self.base, self.nulls, self.namespace, stacked)

    @property
    def parts(self) -> tuple[bytes, ...]:
        """The profile and its hat or child names: `P//child` gives (P, child)."""
        return tuple(self.base.split(b"//"))

    @property
    def execs(self) -> tuple[bytes, ...]:
        """The paths of the exec'd programs among `nulls`, in order."""
        return tuple(null for null in self.nulls if null.startswith(b"/"))

    @property
    def is_null(self) -> bool:
        """Whether this is a generated child, made by the kernel because no rule named one."""
        return bool(self.nulls)

    @property
    def is_nameless(self) -> bool:
        """Whether a member has no profile's name (``, `//null-x`, `:ns:`, blanks): the kernel writes no such label."""
        return not all(member.parts[0].strip() for member in (self, *self.stacked))

    def folded(self) -> "Label":
        """Return the label without generated children, each member folded, members named once."""
        seen: dict[Label, None] = {}
        for member in (self, *self.stacked):
            seen.setdefault(Label(member.base, (), member.namespace))
        first, *others = seen
        return first._with(tuple(others))

    def __bytes__(self) -> bytes:
        """Return the label as the kernel spells it."""
        name = NULL.join((self.base, *self.nulls))
        own = b":" + self.namespace + b":" + name if self.namespace else name
        return STACK.join((own, *(bytes(member) for member in self.stacked)))


def fold(label: bytes) -> bytes:
    """Return the label with its `//null-` children folded into the profile that they came from."""
    if NULL not in label and STACK not in label:
        return label
    return bytes(Label.parse(label).folded())
