"""A project that another user could have written is refused, unless its user trusts it by name."""

from __future__ import annotations

import functools
import os
import shlex
import shutil
import stat
import subprocess
from collections.abc import Callable, Collection
from pathlib import Path
from types import SimpleNamespace

import pytest

from botctl.core.config.loading import load
from botctl.core.errors import ConfigError
from botctl.core.files.paths import find_root
from botctl.core.files.trust import ProjectUsers, _members, project_users, require_trusted, require_trusted_code

ALICE, MALLORY, STAFF = 1001, 1002, 50
GROUPS: dict[int, Collection[int]] = {ALICE: {ALICE}, STAFF: {ALICE, MALLORY}}
CALLER = ProjectUsers(frozenset({0, ALICE}), GROUPS.__getitem__)
Reader = Callable[[str | Path], os.stat_result]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project of Alice."""
    root = tmp_path / "home" / "bot"
    for name in ("config", "commands", "migrations", ".botctl", "tools"):
        (root / name).mkdir(parents=True)
    for name in ("config/botctl.toml", "config/low.toml", ".env", "commands/hi.py", "helper.py", "tools/clock.py"):
        (root / name).write_text("")
    return root


def reader(root: Path, **changes: tuple[int, int, int]) -> Reader:
    """Everything belongs to Alice, with mode 0755, but for ``changes``: owner, group and mode by path ("_": `root`)."""
    changed = {root if name == "_" else root / name: change for name, change in changes.items()}

    def read(path: str | Path) -> os.stat_result:
        real = Path(path).stat()
        uid, gid, mode = changed.get(Path(path), (ALICE, ALICE, 0o755))
        return os.stat_result((stat.S_IFMT(real.st_mode) | mode, 0, 0, 1, uid, gid, 0, 0, 0, 0))

    return read


def examine(root: Path, read: Reader, env: dict[str, str] | None = None) -> None:
    env = {} if env is None else env
    require_trusted(root, env, caller=CALLER, read=read)
    require_trusted_code(root, ("commands", "migrations"), ["tools.clock"], env, caller=CALLER, read=read)


@pytest.mark.parametrize(
    "change",
    [(ALICE, STAFF, 0o755), (0, 0, 0o755), (ALICE, ALICE, 0o775), (0, ALICE, 0o664)],
    ids=["own", "root's", "private group", "root's, private group"],
)
@pytest.mark.parametrize("path", ["_", "config/botctl.toml", "commands"])
def test_project_of_the_caller_or_root_is_trusted(root: Path, path: str, change: tuple[int, int, int]) -> None:
    examine(root, reader(root, **{path: change}))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ((MALLORY, ALICE, 0o755), "belongs to the user"),
        ((ALICE, ALICE, 0o757), "can be written by other users"),
        ((ALICE, STAFF, 0o775), "can be written by other users"),
        ((ALICE, ALICE, 0o1777), "can be written by other users"),
    ],
    ids=["another owner", "everyone writes", "a group writes", "everyone adds files"],
)
@pytest.mark.parametrize(
    "path",
    [
        *("_", "config", "config/botctl.toml", "config/low.toml", ".env", ".botctl"),
        *("commands", "commands/hi.py", "migrations", "helper.py", "tools", "tools/clock.py"),
    ],
)
def test_project_that_others_could_have_written_is_refused(
    root: Path, path: str, change: tuple[int, int, int], said: str
) -> None:
    with pytest.raises(ConfigError, match=said) as refused:
        examine(root, reader(root, **{path: change}))
    assert str(root / path.removeprefix("_")) in str(refused.value)


def test_modules_beside_the_commands_are_examined(root: Path) -> None:
    """They can import each other."""
    (root / "src" / "commands" / "fun").mkdir(parents=True)
    for name in ("src/commands/fun/joke.py", "src/shared.py"):
        (root / name).write_text("")
    for path in ("src", "src/shared.py", "src/commands/fun", "src/commands/fun/joke.py"):
        read = reader(root, **{path: (ALICE, ALICE, 0o777)})
        with pytest.raises(ConfigError, match="can be written"):
            require_trusted_code(root, ("src/commands",), (), {}, caller=CALLER, read=read)


@pytest.mark.parametrize(
    ("link", "opened"),
    [
        ("commands", "shared/real"),
        ("commands", "shared/real/hi.py"),
        ("commands", "shared/real/sub/joke.py"),
        ("commands/sub", "shared/real/sub/joke.py"),
        ("commands/hi.py", "shared/real/hi.py"),
        ("commands", "shared"),
        ("commands/hi.py", "shared/real"),
        ("tools", "shared/real/hi.py"),
        ("config/low.toml", "shared"),
        (".env", "shared/real"),
    ],
)
def test_what_links_lead_to_is_examined(root: Path, link: str, opened: str) -> None:
    """Code is imported through links, too, and a folder above the target could replace it."""
    shared = root.parent / "shared" / "real"
    (shared / "sub").mkdir(parents=True)
    for file in ("hi.py", "sub/joke.py", "low.toml", ".env"):
        (shared / file).write_text("")
    (shared / "sub" / "back").symlink_to(shared)
    place = root / link
    if place.is_dir():
        shutil.rmtree(place)
    place.unlink(missing_ok=True)
    (root.parent / "hop").symlink_to(shared if link in ("commands", "tools") else shared / place.name)
    place.symlink_to("../hop" if place.parent == root else "../../hop")
    inode = (root.parent / opened).stat().st_ino

    def read(path: str | Path, mode: int = 0o757) -> os.stat_result:
        real = Path(path).stat()
        mode = mode if real.st_ino == inode else 0o755
        return os.stat_result((stat.S_IFMT(real.st_mode) | mode, 0, 0, 1, ALICE, ALICE, 0, 0, 0, 0))

    examine(root, functools.partial(read, mode=0o755))
    with pytest.raises(ConfigError, match="can be written by other users"):
        examine(root, read)


PASSWD = {"root": (0, 0), "sync": (5, 0), "alice": (ALICE, ALICE), "mallory": (MALLORY, STAFF), "bob": (1003, 1003)}


@pytest.mark.parametrize(
    ("group", "listed", "members"),
    [
        (("alice", ALICE, []), ["root"], {ALICE}),
        (("alice", ALICE, ["mallory"]), ["root"], {MALLORY}),
        (("alice", ALICE, ["unlisted"]), ["root"], {-1}),
        (("staff", STAFF, []), ["root"], {-1}),
        (("mallory", ALICE, []), ["root"], {-1}),
        (("root", 0, []), ["root", "sync"], {0}),
        (("root", 0, ["mallory"]), ["root", "sync", "mallory"], {0, MALLORY}),
        (("root", 0, ["unlisted"]), ["root", "sync"], {0, -1}),
        (("staff", STAFF, ["alice"]), ["root", "alice", "mallory"], {ALICE, MALLORY}),
    ],
    ids=str,
)
def test_group_has_members_that_no_list_names(
    group: tuple[str, int, list[str]], listed: list[str], members: set[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A directory (LDAP) answers for a name, but lists none. The group of root has system accounts such as sync."""

    def user(name: str) -> SimpleNamespace:
        return SimpleNamespace(pw_name=name, pw_uid=PASSWD[name][0], pw_gid=PASSWD[name][1])

    monkeypatch.setattr("pwd.getpwall", lambda: [user(name) for name in listed])
    monkeypatch.setattr("pwd.getpwnam", user)
    name, gid, named = group
    found = SimpleNamespace(gr_name=name, gr_gid=gid, gr_mem=named)
    monkeypatch.setattr("grp.getgrgid", {gid: found}.__getitem__)
    assert _members.__wrapped__(gid) == members


def test_all_folders_around_the_commands_are_examined(root: Path) -> None:
    (root / "src" / "my" / "commands").mkdir(parents=True)
    for path in ("src", "src/my"):
        read = reader(root, **{path: (ALICE, ALICE, 0o777)})
        with pytest.raises(ConfigError, match="can be written"):
            require_trusted_code(root, ("src/my/commands",), (), {}, caller=CALLER, read=read)


def test_folder_above_must_keep_the_project_in_place(root: Path) -> None:
    """As /tmp does by its sticky bit."""
    examine(root, reader(root, **{"..": (0, 0, 0o755)}))
    above = root.parent
    for mode, refused in ((0o1777, False), (0o777, True), (0o775, True)):

        def read(path: str | Path, mode: int = mode) -> os.stat_result:
            return reader(above, _=(0, STAFF, mode))(path)

        if refused:
            with pytest.raises(ConfigError, match="can be written by other users"):
                examine(root, read)
        else:
            examine(root, read)


@pytest.mark.parametrize("env", [{"BOTCTL_TRUSTED": "/else:{root}"}, {"BOTCTL_TRUSTED": "*"}, {"HOME": "{home}"}])
def test_project_trusted_by_name_is_not_refused(root: Path, tmp_path: Path, env: dict[str, str]) -> None:
    home = tmp_path / "alice"
    (home / ".config" / "botctl").mkdir(parents=True)
    (home / ".config" / "botctl" / "trusted").write_text(f"# mine\n\n{root}\n")
    foreign = reader(root, _=(MALLORY, MALLORY, 0o755))
    with pytest.raises(ConfigError):
        examine(root, foreign, {"BOTCTL_TRUSTED": f"{root}/commands:{root.parent}:bot"})
    named = {name: value.format(root=root, home=home) for name, value in env.items()}
    require_trusted(root, named, read=foreign)


def test_list_that_others_could_have_written_counts_for_nothing(root: Path, tmp_path: Path) -> None:
    file = tmp_path / "botctl" / "trusted"
    file.parent.mkdir()
    file.write_text(f"{root}\n")
    file.chmod(0o666)
    with pytest.raises(ConfigError):
        require_trusted(root, {"XDG_CONFIG_HOME": str(tmp_path)}, read=reader(root, _=(MALLORY, 0, 0o755)))


def test_command_of_the_hint_makes_the_project_trusted(tmp_path: Path) -> None:
    root, env = tmp_path / "its bot's", {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    (root / "config").mkdir(parents=True)
    foreign = reader(root, _=(MALLORY, 0, 0o755))
    with pytest.raises(ConfigError) as refused:
        require_trusted(root, env, read=foreign)
    command = refused.value.hint.partition("write to it: ")[2]
    assert shlex.split(command)[0] == "mkdir"
    subprocess.run(command, shell=True, env=env, check=True)  # as a person types it
    require_trusted(root, env, read=foreign)


@pytest.mark.parametrize(
    ("uid", "sudo_uid", "owners"),
    [
        (0, None, {0}),
        (0, str(ALICE), {0, ALICE}),
        (0, "root", {0}),
        (ALICE, None, {0, ALICE}),
        (ALICE, str(MALLORY), {0, ALICE}),
    ],
)
def test_only_root_may_have_been_called_by_sudo(
    uid: int, sudo_uid: str | None, owners: set[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    assert project_users({} if sudo_uid is None else {"SUDO_UID": sudo_uid}).uids == owners


def test_search_in_the_parents_ends_at_a_refused_project(root: Path) -> None:
    root.chmod(0o777)
    with pytest.raises(ConfigError, match="is not trusted"):
        find_root(None, {}, root / "commands")
    root.chmod(0o755)
    (root / "commands" / "hi.py").chmod(0o666)
    with pytest.raises(ConfigError, match=r"hi\.py can be written by other users"):
        load(root, None, {}, {})
    assert load(root, None, {"BOTCTL_TRUSTED": str(root)}, {}).root == root


@pytest.mark.parametrize(("file", "text"), [(".env", "BOTCTL_TRUSTED=*\n"), ("config/botctl.toml", 'trusted = "*"\n')])
def test_project_cannot_trust_itself(root: Path, file: str, text: str) -> None:
    (root / file).write_text(text)
    with pytest.raises(ConfigError, match=r"can only be set in the environment|trusted"):
        load(root, None, {}, {})
