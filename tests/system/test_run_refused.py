"""Reasons for which `botctl run` does not start."""

from __future__ import annotations

import json
import re
import socket
from pathlib import Path

import pytest

from tests.support.cli import READY, Project
from tests.support.project_files import DISCORD_URL_MODULE


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A new bot."""
    return Project(tmp_path / "bot")


class TestRefusals:
    @pytest.mark.parametrize(
        ("env", "words"),
        [
            ({"BOTCTL_DISCORD__TOKEN": ""}, "BOTCTL_DISCORD__TOKEN"),
            ({"BOTCTL_PROFILE": "production"}, "token"),
            ({"BOTCTL_SHUTDOWN__DRAIN_S": "soon"}, "BOTCTL_SHUTDOWN__DRAIN_S"),
            ({"BOTCTL_SHUTDOWM__DRAIN_S": "1"}, "BOTCTL_SHUTDOWN__DRAIN_S"),
        ],
        ids=["empty token", "production without token", "not a number", "misspelt name"],
    )
    def test_wrong_setting_prevents_the_start(self, project: Project, env: dict[str, str], words: str) -> None:
        """Exit code 78; no folder is created."""
        done = project.call("run", **env)
        assert done.code == 78
        assert words in done.err
        assert "Traceback" not in done.err
        assert not (project.root / ".botctl").exists()

    def test_wrong_setting_is_named_with_file_and_line(self, project: Project) -> None:
        project.add_settings("[shutdown]\ndrain_s = -1\n")
        lines = (project.root / "config" / "botctl.toml").read_text().splitlines()
        done = project.call("run")
        assert done.code == 78
        assert f"config/botctl.toml:{len(lines)}" in done.err

    def test_faults_of_all_files_are_listed_before_anything_runs(self, project: Project) -> None:
        """Migrations, commands and services together; no store has been started."""
        project.add_settings('[services]\nmine = "nowhere:factory"\n')
        project.write("migrations/0003_wrong.py", "async def up(db):\n    yield\n")
        (project.root / "commands" / "fun").mkdir()
        project.write("commands/fun/wrong.py", "from botctl import Command\n\n\nclass Wrong(Command): ...\n")
        done = project.call("run", "--migrate")
        assert done.code == 78
        assert "migrations/0003_wrong.py:2: up yields" in done.err
        assert "commands/fun/wrong.py:4: Wrong has no execute" in done.err
        assert "services.mine: " in done.err
        assert not (project.root / ".botctl" / "mongo").exists()

    def test_broken_command_files_are_listed_and_can_be_skipped(self, project: Project) -> None:
        """With file and line. --skip-broken starts without them."""
        project.write("commands/broken.py", "from botctl import Command\n\nclass Broken(Command:\n    pass\n")
        project.write(
            "commands/naked.py", 'from botctl import Command\n\n\nclass Naked(Command):\n    """No execute."""\n'
        )
        done = project.call("run")
        assert done.code == 78
        assert "commands/broken.py:3:" in done.err
        assert "commands/naked.py:4:" in done.err
        with project.run("--skip-broken") as process:
            assert "left out: commands/broken.py:3" in process.output
            assert "Pong!" in project.call("sandbox", "send", "/ping").out

    def test_unreachable_server_is_named_without_its_password(self, project: Project) -> None:
        """Exit code 7."""
        done = project.call("run", BOTCTL_REDIS__URL="redis://user:hunter2@127.0.0.1:9/0")
        assert done.code == 7
        assert "127.0.0.1:9" in done.err
        assert "hunter2" not in done.err + done.out
        assert " ERROR " not in done.err  # only the log file has it: on stderr it would be the third copy
        assert "does not answer" in (project.root / "logs" / "botctl.jsonl").read_text()

    def test_unreachable_mongodb_is_one_line(self, project: Project) -> None:
        """Without the driver's description of its topology."""
        done = project.call("run", BOTCTL_MONGO__URL="mongodb://127.0.0.1:9/", BOTCTL_MONGO__TIMEOUT_S="1")
        (message,) = [line for line in done.err.splitlines() if line.startswith("botctl: ")]
        assert (done.code, message.count("127.0.0.1:9")) == (7, 2)
        assert not re.search("Topology|Timeout|timeouts|…", message)

    def test_missing_service_module_is_named_with_its_setting(self, project: Project) -> None:
        """Exit code 78."""
        project.add_settings('[services]\nmine = "nomod:fac"\n')
        done = project.call("run")
        assert (done.code, "botctl: services.mine: 'nomod:fac': there is no module nomod" in done.err) == (78, True)

    def test_stores_role_needs_an_embedded_part(self, project: Project) -> None:
        """Exit code 78."""
        env = {"BOTCTL_REDIS__URL": "redis://h", "BOTCTL_MONGO__URL": "mongodb://h", "BOTCTL_DISCORD__TOKEN": "a-token"}
        done = project.call("run", "--only", "stores", **env)
        assert (done.code, "`--only stores` has nothing to run" in done.err) == (78, True)

    def test_used_sandbox_port_prevents_the_start(self, project: Project) -> None:
        """Exit code 6, even if another program listens there."""
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
            done = project.call("run", BOTCTL_SANDBOX__PORT=str(port))
        assert done.code == 6
        sentence = f"The sandbox cannot listen on port {port}: address already in use."
        assert f"botctl: {sentence}" in done.err
        assert done.err.count(sentence) == 2  # the error, and the line of the service (no terminal)
        assert "✓ sandbox" not in done.err
        assert READY not in done.err

    def test_invalid_token_is_a_config_error(self, project: Project) -> None:
        """The sandbox of another project rejects it: exit code 78."""
        with project.process("run", "--only", "stores", until="project"):
            other = Project(project.root.parent / "other")
            other.add_settings('[services]\ndiscord-url = "discord_url:discord_url"\n')
            sandbox = json.loads((project.root / ".botctl" / "runtime.json").read_text())
            url = next(part["address"] for part in sandbox if part["name"] == "sandbox")
            other.write("discord_url.py", DISCORD_URL_MODULE.format(url=url))
            done = other.call("run", BOTCTL_DISCORD__TOKEN="an.invalid.token-for-this-test")
        assert done.code == 78
        assert "Discord refuses the token" in done.err

    def test_missing_project_has_a_hint_to_init(self, tmp_path: Path, project: Project) -> None:
        done = project.call("run", "--project", str(tmp_path))
        assert (done.code, "botctl init" in done.err) == (78, True)

    def test_error_is_json_with_json_option(self, project: Project) -> None:
        done = project.call("run", "--json", BOTCTL_DISCORD__TOKEN="")
        assert json.loads(done.err)["exit_code"] == 78
