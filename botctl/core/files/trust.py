"""Whose code botctl runs: a project that another user could have written is refused, unless it is trusted by name.

botctl imports what a project's settings name, also when it has found the project in a folder above the current one. So
a user who may write to that folder could run code as the caller (git had this as CVE-2022-24765).
"""

from __future__ import annotations

import functools
import grp
import os
import pwd
import shlex
import stat
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from botctl.core.errors import ConfigError
from botctl.core.escape import safe

TRUST_VARIABLE: Final = "BOTCTL_TRUSTED"
EVERY_PROJECT: Final = "*"
_TRUST_FILE: Final = Path("botctl", "trusted")
_PARTS: Final = ("config", ".env", ".botctl")  # of the project's root; each is checked if it exists

_MAX_LINKS: Final = 40  # in a row; Linux follows no more
_FIXED_UIDS: Final = range(1, 500)  # accounts of the system itself, such as sync: some are in the group of root
_UNKNOWN: Final = -1  # the id of a user that the system does not list

Stat = Callable[[str | Path], os.stat_result]
"""`os.stat`, or that of a test. Raises OSError."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who runs botctl. ``uids``: the users who may own a project. ``members``: the users in a group, by its id."""

    uids: frozenset[int]
    members: Callable[[int], Collection[int]]

    def fault(self, info: os.stat_result) -> str | None:
        """What is wrong with a file or folder of the project, or None. The sticky bit does not keep files out."""
        if info.st_uid not in self.uids:
            return f"belongs to {_user(info.st_uid)}"
        return "can be written by other users" if self._is_open(info) else None

    def fault_above(self, info: os.stat_result) -> str | None:
        """What is wrong with a folder above the project: the project could be replaced. Not with the sticky bit."""
        return None if info.st_mode & stat.S_ISVTX or not self._is_open(info) else "can be written by other users"

    def is_exposed(self, info: os.stat_result) -> bool:
        """Whether a user who is not one of ``uids`` may read it."""
        return self._is_allowed(info, stat.S_IROTH, stat.S_IRGRP)

    def _is_open(self, info: os.stat_result) -> bool:
        """Whether a user who is not one of ``uids`` may write to it."""
        return self._is_allowed(info, stat.S_IWOTH, stat.S_IWGRP)

    def _is_allowed(self, info: os.stat_result, others: int, group: int) -> bool:
        """Whether these bits allow it to another user. Of a group, it depends on who is in it."""
        if info.st_mode & others:
            return True
        return bool(info.st_mode & group) and not set(self.members(info.st_gid)) <= self.uids


def this_caller(env: Mapping[str, str]) -> Caller:
    """The user of this process, root, and for root the user who has called sudo."""
    uid = os.geteuid()
    sudo = env.get("SUDO_UID", "")
    called_by = {int(sudo)} if uid == 0 and sudo.isascii() and sudo.isdigit() else set()
    return Caller(frozenset({0, uid} | called_by), _members)


def require_trusted(root: Path, env: Mapping[str, str], *, caller: Caller | None = None, read: Stat = os.stat) -> None:
    """Raise ConfigError if another user could have written the settings of the project in ``root``.

    ``root`` is absolute and without symbolic links. The project is trusted anyway if `TRUST_VARIABLE` or the user's
    file of trusted projects names it.
    """
    caller = caller or this_caller(env)
    paths = (root, *(root / part for part in _PARTS), *sorted((root / "config").glob("*.toml")))
    above = (*root.parents, *_above_links(path for path in paths if path.is_symlink()))
    faults = [*_faults(paths, caller.fault, read), *_faults(dict.fromkeys(above), caller.fault_above, read)]
    _refuse(root, env, caller, faults)


def require_trusted_code(
    root: Path,
    folders: Iterable[str],
    modules: Iterable[str],
    env: Mapping[str, str],
    *,
    caller: Caller | None = None,
    read: Stat = os.stat,
) -> None:
    """Raise ConfigError if another user could have written what botctl may import from the project.

    These are what the settings name, ``folders`` relative to ``root`` and ``modules`` with dots, and what these can
    import: the modules in ``root`` and beside each of the folders. Modules that are not there are installed ones.
    """
    caller = caller or this_caller(env)
    trees = {root / folder for folder in folders}
    searched = {root, *(tree.parent for tree in trees)}
    packages = {file.parent for folder in searched for file in folder.glob("*/__init__.py")}
    named = {folder / name.partition(".")[0] for folder in searched for name in modules}
    compiled = {folder / "__pycache__" for folder in searched}
    paths = {*map(str, searched), *(str(file) for folder in searched for file in folder.glob("*.py"))}
    paths.update(str(folder) for tree in trees for folder in tree.parents if folder.is_relative_to(root))
    paths.update(map(str, trees | packages | named | compiled))
    links = {path for path in paths if Path(path).is_symlink()}
    entered: set[str] = set()
    for tree in trees | packages | named | compiled:
        for entry in _all_in(str(tree), entered):
            paths.add(entry.path)
            if entry.is_symlink():
                links.add(entry.path)
    faults = [*_faults(sorted(paths), caller.fault, read)]
    faults += _faults(dict.fromkeys(_above_links(sorted(links))), caller.fault_above, read)
    _refuse(root, env, caller, faults)


def _all_in(tree: str, entered: set[str]) -> Iterator[os.DirEntry[str]]:
    """All that is in ``tree``, compiled modules too, also through links, as a command or module is found.

    Python imports nothing from hidden folders. ``entered``: the real folders so far, since a link may lead back. There
    may be thousands of files at the start of each command: hence text, which is ten times as fast as `Path`.
    """
    folders = [tree]
    while folders:
        folder = folders.pop()
        real = os.path.realpath(folder)
        if real in entered:
            continue
        entered.add(real)
        for entry in _entries(folder):
            if not _is_folder(entry):
                yield entry
            elif not entry.name.startswith(".") and entry.name != "node_modules":
                yield entry
                folders.append(entry.path)


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:  # no folder, or one that botctl cannot read
        return []


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _above_links(links: Iterable[str | Path]) -> Iterator[Path]:
    """The folders above what each of ``links`` leads to: a user who may write there could replace it."""
    for link in links:
        path = Path(link)
        for _ in range(_MAX_LINKS):
            if not path.is_symlink():
                break
            path = path.parent / path.readlink()
            yield from path.parents
        yield from Path(os.path.realpath(link)).parents


def _faults(paths: Iterable[str | Path], fault: Callable[[os.stat_result], str | None], read: Stat) -> Iterator[str]:
    """A sentence for each of ``paths`` that exists and has a ``fault``."""
    for path in paths:
        try:
            found = fault(read(path))
        except FileNotFoundError:
            continue
        except OSError as error:
            found = f"cannot be examined ({error.strerror})"
        if found is not None:
            yield f"{safe(str(path))} {found}"


def _refuse(root: Path, env: Mapping[str, str], caller: Caller, faults: Sequence[str]) -> None:
    """Raise ConfigError for the first of ``faults``, unless the project is trusted by name."""
    if not faults or is_trusted_by_name(root, env, caller):
        return
    file = _trust_file(env)
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    folder = shlex.quote(str(root))
    if file is None:
        how = f"export {TRUST_VARIABLE}={folder}"
    else:
        how = f"mkdir -p {shlex.quote(str(file.parent))} && echo {folder} >> {shlex.quote(str(file))}"
    raise ConfigError(
        f"The project {safe(root)} is not trusted: {faults[0]}{more}. Nothing of it was run.",
        hint=f"botctl would run its code as you. If you trust everyone who may write to it: {safe(how, 1000)}",
    )


def is_trusted_by_name(root: Path, env: Mapping[str, str], caller: Caller) -> bool:
    """Whether `TRUST_VARIABLE` or the user's file of trusted projects names the project in ``root``."""
    if _is_named(root, env.get(TRUST_VARIABLE, "").split(os.pathsep)):
        return True
    file = _trust_file(env)
    return file is not None and _is_named(root, _lines(file, caller))


def _is_named(root: Path, names: Iterable[str]) -> bool:
    """Whether one of ``names`` is ``root`` or `EVERY_PROJECT`. A relative name counts for nothing."""
    for name in map(str.strip, names):
        if name == EVERY_PROJECT or (name.startswith("/") and Path(name).resolve() == root):
            return True
    return False


def _trust_file(env: Mapping[str, str]) -> Path | None:
    """The user's list of trusted projects, if the user has a home: an absolute path a line, ``#`` for comments."""
    config = env.get("XDG_CONFIG_HOME", "")
    if config.startswith("/"):
        return Path(config) / _TRUST_FILE
    home = env.get("HOME", "")
    return Path(home) / ".config" / _TRUST_FILE if home.startswith("/") else None


def _lines(file: Path, caller: Caller) -> list[str]:
    """The lines of ``file``. There are none if it is missing, or if another user could have written it."""
    try:
        with file.open(encoding="utf-8", errors="surrogateescape") as lines:
            info = os.fstat(lines.fileno())
            return lines.readlines() if caller.fault(info) is None else []
    except OSError:
        return []


@functools.cache
def _members(gid: int) -> Collection[int]:
    """The ids of all users in the group ``gid``. `_UNKNOWN` is among them if there may be others.

    A directory service (LDAP) may not list its users. So a group without any known member may have many, unless it is
    named like a user whose own group it is.
    """
    members = {user.pw_uid for user in pwd.getpwall() if user.pw_gid == gid}
    try:
        group = grp.getgrgid(gid)
    except KeyError:  # in a container, the ids of a user of the host have no names
        members |= {os.geteuid()} if gid == os.getegid() else set()
    else:
        members |= {_uid(name) for name in group.gr_mem}
        members |= set() if members else {_owner_of_private(group)}
    if gid == 0:
        return {uid for uid in members if uid not in _FIXED_UIDS} | {0}
    return members or {_UNKNOWN}


def _uid(name: str) -> int:
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        return _UNKNOWN


def _owner_of_private(group: grp.struct_group) -> int:
    """The user with the name of ``group``, if it is that user's own group (as useradd makes one)."""
    try:
        user = pwd.getpwnam(group.gr_name)
    except KeyError:
        return _UNKNOWN
    return user.pw_uid if user.pw_gid == group.gr_gid else _UNKNOWN


def _user(uid: int) -> str:
    try:
        return f"the user {safe(pwd.getpwuid(uid).pw_name)}"
    except KeyError:
        return f"the user with the id {uid}"
