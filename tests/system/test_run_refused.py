"""`botctl run` that does not start, and says why."""

from __future__ import annotations

import json
import re
import socket
from pathlib import Path

import pytest

from tests.support.cli import READY, Project
from tests.support.project_files import POINT


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A new bot."""
    return Project(tmp_path / "bot")


class TestRefusals:
    """What does not start, and says why."""

    @pytest.mark.parametrize(
        ("env", "words"),
        [
            ({"BOTCTL_DISCORD__TOKEN": ""}, "BOTCTL_DISCORD__TOKEN"),
            ({"BOTCTL_PROFILE": "production"}, "token"),
            ({"BOTCTL_SHUTDOWN__DRAIN_S": "soon"}, "BOTCTL_SHUTDOWN__DRAIN_S"),
            ({"BOTCTL_SHUTDOWM__DRAIN_S": "1"}, "BOTCTL_SHUTDOWN__DRAIN_S"),
        ],
        ids=["empty token", "production without token", "no number", "misspelt"],
    )
    def test_a_wrong_setting_is_one_sentence(self, project: Project, env: dict[str, str], words: str) -> None:
        """Exit code 78; nothing was started, nothing was made."""
        done = project.call("run", **env)
        assert done.code == 78
        assert words in done.err
        assert "Traceback" not in done.err
        assert not (project.root / ".botctl").exists()

    def test_a_file_and_line_are_named(self, project: Project) -> None:
        """Where the wrong setting stands."""
        project.settings("[shutdown]\ndrain_s = -1\n")
        lines = (project.root / "config" / "botctl.toml").read_text().splitlines()
        done = project.call("run")
        assert done.code == 78
        assert f"config/botctl.toml:{len(lines)}" in done.err

    def test_broken_commands_are_told_all_at_once_and_can_be_left_out(self, project: Project) -> None:
        """File and line of each; --skip-broken starts without them."""
        project.write("commands/broken.py", "from botctl import Command\n\nclass Broken(Command:\n    pass\n")
        project.write(
            "commands/naked.py", 'from botctl import Command\n\n\nclass Naked(Command):\n    """No execute."""\n'
        )
        done = project.call("run")
        assert done.code == 78
        assert "commands/broken.py:3:" in done.err
        assert "commands/naked.py:4:" in done.err
        with project.run("--skip-broken") as process:
            assert "left out: commands/broken.py:3" in process.said
            assert "Pong!" in project.call("sandbox", "send", "/ping").out

    def test_a_server_that_does_not_answer_is_named(self, project: Project) -> None:
        """Exit code 7, without the password."""
        done = project.call("run", BOTCTL_REDIS__URL="redis://user:hunter2@127.0.0.1:9/0")
        assert done.code == 7
        assert "127.0.0.1:9" in done.err
        assert "hunter2" not in done.err + done.out
        assert " ERROR " not in done.err  # it is in the log's file; here it would be said a third time
        assert "does not answer" in (project.root / "logs" / "botctl.jsonl").read_text()

    def test_a_mongodb_that_does_not_answer_is_one_line(self, project: Project) -> None:
        """Without what the driver knows of every server of its topology."""
        done = project.call("run", BOTCTL_MONGO__URL="mongodb://127.0.0.1:9/", BOTCTL_MONGO__TIMEOUT_S="0.2")
        (said,) = [line for line in done.err.splitlines() if line.startswith("botctl: ")]
        assert (done.code, said.count("127.0.0.1:9")) == (7, 2)
        assert not re.search("Topology|Timeout|timeouts|…", said)

    def test_a_service_that_cannot_be_loaded_is_named_as_in_the_settings(self, project: Project) -> None:
        """Exit code 78."""
        project.settings('[services]\nmine = "nomod:fac"\n')
        done = project.call("run")
        assert (done.code, "botctl: services.mine: 'nomod:fac': there is no module nomod" in done.err) == (78, True)

    def test_with_real_servers_there_is_nothing_to_keep(self, project: Project) -> None:
        """Exit code 78."""
        env = {"BOTCTL_REDIS__URL": "redis://h", "BOTCTL_MONGO__URL": "mongodb://h", "BOTCTL_DISCORD__TOKEN": "a-token"}
        done = project.call("run", "--only", "stores", **env)
        assert (done.code, "`--only stores` has nothing to run" in done.err) == (78, True)

    def test_a_taken_port_of_the_sandbox_is_not_taken_for_the_sandbox(self, project: Project) -> None:
        """Exit code 6: whoever listens there, it is said once, and nothing looks ready."""
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
            done = project.call("run", BOTCTL_SANDBOX__PORT=str(port))
        assert done.code == 6
        sentence = f"The sandbox cannot listen on port {port}: address already in use."
        assert f"botctl: {sentence}" in done.err
        assert done.err.count(sentence) == 2  # with the line of the service, where there is no terminal
        assert "✓ sandbox" not in done.err
        assert READY not in done.err

    def test_a_dead_token_is_never_tried_again(self, project: Project) -> None:
        """The sandbox of another project refuses it: exit code 78."""
        with project.process("run", "--only", "stores", until="project"):
            other = Project(project.root.parent / "other")
            other.settings('[services]\npoint = "point:point"\n')
            sandbox = json.loads((project.root / ".botctl" / "runtime.json").read_text())
            url = next(part["address"] for part in sandbox if part["name"] == "sandbox")
            other.write("point.py", POINT.format(url=url))
            done = other.call("run", BOTCTL_DISCORD__TOKEN="a.dead.token-that-nobody-knows")
        assert done.code == 78
        assert "Discord refuses the token" in done.err

    def test_no_project_here(self, tmp_path: Path, project: Project) -> None:
        """And what to do about it."""
        done = project.call("run", "--project", str(tmp_path))
        assert (done.code, "botctl init" in done.err) == (78, True)

    def test_errors_are_json_on_request(self, project: Project) -> None:
        """For programs that call botctl."""
        done = project.call("run", "--json", BOTCTL_DISCORD__TOKEN="")
        assert json.loads(done.err)["exit_code"] == 78
