"""The learning profile: complain mode, nothing denied, every class of use logged; and what is in its way.

`audit /** ix,` keeps what the program executes in the same profile: children of `//null-` profiles log files and
capabilities only (measured on 6.1 and 6.12). Explicit denials are enforced in complain mode too, so there are none.
"""

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

from aalearn.grammar.edits import with_flags, without_denials
from aalearn.grammar.profiles import ProfileBlock, read_profiles
from aalearn.grammar.writer import write
from aalearn.lifecycle.finding import Found, find
from aalearn.lifecycle.judge import Judge
from aalearn.lifecycle.node import files
from aalearn.lifecycle.node.entries import ENFORCING
from aalearn.lifecycle.node.machine import Machine
from aalearn.lifecycle.node.tasks import UNCONFINED, Task, tasks
from aalearn.lifecycle.node.texts import on_disk
from aalearn.lifecycle.objections import denies
from aalearn.model.errors import BadInput, PolicyError, UsageError
from aalearn.model.profile import Document, Line, Profile
from aalearn.model.text import plain_name, shown, spell
from aalearn.policy.ask.subject import subject_of
from aalearn.policy.loaded import Loaded
from aalearn.policy.oracle import Oracle

FLAGS: Final = ("complain", "attach_disconnected", "mediate_deleted")
_COMMENTS: Final = (
    "Drafted by aalearn to learn from: complain mode, so nothing is forbidden and all that a program does is logged.",
    "`aalearn suggest` makes the profile from these logs, and `aalearn promote` puts that in this file's place.",
)


@dataclass(frozen=True, slots=True)
class _Fallback:
    """The rule that keeps executed programs in the profile; the log says `ix fallback` of each."""

    kind: ClassVar[str] = "file"

    def text(self) -> str:
        """Return the rule."""
        return "audit /** ix,"


@dataclass(frozen=True, slots=True)
class Draft:
    """A learning profile, ready to be written to `place` and loaded.

    `exe` is the resolved program, "" for none; `running` are the unconfined tasks of it, which must be restarted.
    `notes` are worth telling. `links` of the policy folder are taken away. `before` is what stands at `place` now, None
    for nothing.
    """

    name: bytes
    text: str
    place: str
    policy: bytes
    exe: str
    running: tuple[Task, ...]
    notes: tuple[str, ...]
    links: tuple[tuple[str, str], ...] = ()
    before: bytes | None = None


def plan(machine: Machine, name: str, *, exe: str = "", container: bool = False, source: str = "") -> Draft:
    """Return the draft of a learning profile for a program, for a container, or on top of the profile `source`.

    Raises UsageError for what stands in the way, with the mend; PolicyError when it does not compile.
    """
    judge = machine.judge()
    raw = os.fsencode(name)
    place = files.file_name(raw)
    notes: list[str] = []
    if name.startswith("/") and not (exe or container or source):
        exe = name  # a profile that is called as its program attaches to it
    resolved = _resolved(exe, notes) if exe else ""
    there = _there(machine, judge, raw, place)
    loaded = _loaded(machine, notes)
    _not_enforced(loaded, raw, there)
    _not_attached_twice(machine, loaded, raw, resolved)
    text = _on_top(judge, raw, source, notes) if source else _fresh(judge, machine, plain_name(raw), resolved)
    if there is not None:
        place = there.file.name
    if there is None and any(one.name == raw and not one.namespace for one in loaded):
        notes.append(f"a profile {shown(raw)} is loaded, and no file defines it: it is replaced")
    if not resolved:
        notes.append("it attaches to no program: whatever starts one must name the profile")
    running: tuple[Task, ...] = ()
    if resolved:
        program = os.fsencode(resolved)
        found = tasks(machine.proc, scripts=True)
        running = tuple(task for task in found if program in (task.exe, task.script) and task.label == UNCONFINED)
    compiled = judge.compile(text).compiled
    if compiled is None:
        raise PolicyError("the learning profile gives no policy")
    before = there.text.encode("utf-8", "surrogateescape") if there is not None else None
    links = _links(machine, place, notes)
    return Draft(raw, text, place, compiled.blob, resolved, running, tuple(notes), links, before)


def _resolved(exe: str, notes: list[str]) -> str:
    """Return the path that a process attaches by, and note what is worth it."""
    if not exe.startswith("/"):
        raise UsageError(f"--exe must be an absolute path: {shown(exe)}")
    path = os.path.realpath(exe)
    if path != os.path.normpath(exe):
        notes.append(f"{shown(exe)} leads to {shown(path)}: a process attaches by the resolved path, so that is used")
    try:
        about = Path(path).stat()
    except OSError as error:
        notes.append(
            f"{shown(path)} can't be looked at ({error.strerror}): is that the program's path on this machine?"
        )
        return path
    if not stat.S_ISREG(about.st_mode):
        raise UsageError(f"{shown(path)} is no file: --exe names a program")
    if not about.st_mode & 0o111:
        raise UsageError(f"{shown(path)} is not executable: --exe names a program")
    return path


def _there(machine: Machine, judge: Judge, name: bytes, place: str) -> Found | None:
    """Return our own file of that profile, None for none. Raises UsageError for another's, or a name that is taken."""
    found, _ = find(name, machine.profiles, judge)
    if found is None:
        if files.read(machine.profiles, place) is not None:
            file = shown(str(machine.profiles / place))
            raise UsageError(f"{file} is there already and defines another profile: choose another name")
        return None
    if found.ours:
        return found
    package = files.package_of(found.file)
    whose = f"the package {package} brought it" if package else "aalearn did not write it"
    file = shown(str(found.file))
    raise UsageError(
        f"{file} defines {shown(name)} already, and {whose}: `aa-complain {file}` puts it into complain mode, and "
        f"what is logged then is learned as what it lacks; or draft another name with --from {shown(name)}"
    )


def _loaded(machine: Machine, notes: list[str]) -> tuple[Loaded, ...]:
    """Return what the kernel has loaded; where that can't be seen (a dry run without root) nothing, with a note."""
    try:
        return machine.kernel.loaded()
    except PolicyError as error:
        notes.append(f"what is loaded was not looked at: {error}")
        return ()


def _not_enforced(loaded: Sequence[Loaded], name: bytes, there: Found | None) -> None:
    """Raise UsageError when the kernel enforces a profile of that name: a draft would disarm it.

    The store's stage tells less: it may be new, another machine's, or know of a step back to what is still enforced.
    """
    mode = next((one.mode for one in loaded if one.name == name and not one.namespace), "")
    if mode not in ENFORCING:
        return
    why = f"{shown(name)} is loaded in {mode} mode, and a draft would disarm it"
    if there is None:
        raise UsageError(f"{why}: draft another name, or unload it first")
    raise UsageError(f"{why}: take it back to complain mode first with `aalearn rollback {shown(name)} --complain`")


def _not_attached_twice(machine: Machine, loaded: Sequence[Loaded], name: bytes, exe: str) -> None:
    """Raise UsageError when another profile, loaded or on disk, is for the same program: a kernel would choose none."""
    if not exe:
        return
    path = os.fsencode(exe)
    others = [shown(one.name) for one in loaded if one.name != name and _attaches(one, path)]
    others += [f"{shown(block.path)} of {shown(file)}" for file, block in _on_disk(machine) if _written(block, exe)]
    others = [other for other in others if other.split(" of ")[0] != shown(name)]
    if others:
        hint = "draft it with --from that profile, or disable that one (aa-disable)"
        raise UsageError(f"{shown(exe)} has a profile already, {', '.join(sorted(set(others)))}: {hint}")


def _attaches(one: Loaded, path: bytes) -> bool:
    if one.namespace or b"//" in one.name or one.blob is None:
        return False
    try:
        return Oracle.of(subject_of(one.profile())).attaches(path)
    except PolicyError:
        return False


def _on_disk(machine: Machine) -> Iterator[tuple[str, ProfileBlock]]:
    for file in sorted(machine.profiles.iterdir()):
        if file.is_file() and not file.name.startswith("."):
            try:
                blocks = read_profiles(file.read_bytes().decode("utf-8", "surrogateescape")).profiles
            except (BadInput, OSError):
                continue
            if not os.path.lexists(machine.profiles / files.DISABLE / file.name):
                yield from ((file.name, block) for block in blocks)


def _written(block: ProfileBlock, exe: str) -> bool:
    """Return whether a profile on disk names this very program; patterns are asked of the kernel."""
    return (block.attachment or block.name).strip('"') in (exe, spell(os.fsencode(exe)).strip('"'))


def _fresh(judge: Judge, machine: Machine, name: str, exe: str) -> str:
    abi = judge.target.abi
    if not (machine.profiles / "abi" / abi).is_file():
        abi = "3.0"
    attachment = spell(os.fsencode(exe)) if exe and exe != name else None
    profile = Profile(name, (Line(_Fallback()),), attachment, FLAGS)
    return write(Document(profile, abi=abi, comments=_COMMENTS))


def _on_top(judge: Judge, name: bytes, source: str, notes: list[str]) -> str:
    """Return the text of another profile under a new name, in complain mode and without its denials."""
    found = on_disk(judge, os.fsencode(source))
    text, gone = without_denials(found.text)
    text = with_flags(_alone(text, found.block.path, plain_name(name)), plain_name(name), FLAGS)
    if gone:
        notes.append(f"{gone} deny rules of {shown(source)} are left out: they would be enforced in complain mode too")
    compiled = judge.compile(text, strict=False)
    if any(denies(profile, subject_of(profile)) for profile in compiled.profiles):
        notes.append(
            "what it includes holds deny rules: those are enforced while learning, and nothing is logged of it"
        )
    notes.append(
        "what it executes runs under //null- children: their network, mount, signal and unix use is not logged"
    )
    notes.append(f"start the program under it by its name: {shown(source)} keeps the attachment")
    return text


def _alone(text: str, old: str, new: str) -> str:
    """Return the text with the profile renamed, without its attachment, and without other profiles of the file."""
    parsed = read_profiles(text)
    block = parsed.find(old)
    for other in sorted(parsed.profiles, key=lambda one: -one.header_at):
        if other.path != old:
            text = text[: other.header_at] + text[other.close + 1 :]
    block = read_profiles(text).find(old)
    flags = f"flags=({','.join(block.flags)}) " if block.flags else ""
    return f"{text[: block.header_at]}profile {new} {flags}{text[block.open :]}"


def _links(machine: Machine, place: str, notes: list[str]) -> tuple[tuple[str, str], ...]:
    """Return the links that keep the file from being loaded, to be taken away."""
    found = []
    for folder in (files.DISABLE, files.COMPLAIN):
        link = f"{folder}/{place}"
        if files.link_target(machine.profiles, link):
            notes.append(f"the link {shown(link)} is taken away")
            found.append((link, ""))
    return tuple(found)


def write_only(machine: Machine, draft: Draft) -> None:
    """Write the file and load nothing. Raises UsageError where somebody changed it meanwhile, OSError as it comes."""
    if files.read(machine.profiles, draft.place) != draft.before:
        raise UsageError(f"{shown(str(machine.profiles / draft.place))} was changed by somebody else meanwhile")
    files.write(machine.profiles, draft.place, draft.text.encode("utf-8", "surrogateescape"))


def ways_to_start(name: str, exe: str, units: Sequence[str], *, container: bool) -> tuple[tuple[str, str], ...]:
    """Return how a workload comes under the profile, as (what, how) pairs. `units` are those that run it now."""
    unit = units[0] if units else "NAME.service"
    ways = []
    if exe and not container:
        ways.append(("attached", f"whatever executes {exe} from now on runs under it"))
    if not container:
        ways += [
            ("systemd", f"systemctl edit {unit}: [Service] AppArmorProfile={name}, then systemctl restart {unit}"),
            ("aa-exec", f"aa-exec -p {name} -- {exe or 'COMMAND'}"),
        ]
    return (
        *ways,
        ("docker", f"docker run --security-opt apparmor={name} IMAGE"),
        ("podman", f"podman run --security-opt apparmor={name} IMAGE"),
        (
            "containerd",
            f"nerdctl run --security-opt apparmor={name} IMAGE, or ctr run --apparmor-profile {name} IMAGE ID",
        ),
        (
            "Pod",
            f"securityContext: {{appArmorProfile: {{type: Localhost, localhostProfile: {name}}}}} (aalearn annotate)",
        ),
    )
