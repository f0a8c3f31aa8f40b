"""`make contract`: run the contract tests on servers that are not botctl's own.

SecantusDB is a MongoDB server on WiredTiger, under the GPL-2. So it is only ever a program of its own, in a virtual
environment of its own: botctl does not import it, lock it or ship it. Redis is Debian's redis-server: the one of this
machine, else one from apt that is unpacked, not installed. What cannot be had is named and left out.

Everything is on loopback, on free ports, with data in a temporary folder.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

ROOT = Path(__file__).parent.parent
CACHE = ROOT / ".botctl" / "contract"
VERSION = "0.7.0b3"
DEPENDENCIES = (
    "dnspython==2.9.2", "future==1.0.0", "numpy==2.4.6", "pymongo==4.20.1", "python-dateutil==4.0.0",
    "s2sphere==0.2.5", "shapely==2.2.0",
)  # fmt: skip
# Of all files of that version; pip takes the one for this machine.
HASHES = (
    "0a21af2f488d5263c45beb328e68cea989217edf6a385fc491c24ea62ac3cec0",
    "0b84368c9cf2edeaf9262463fe3b812576efd2c9f2dfcc6cae7bd1e8e1ef873d",
    "0f063776cbe738eb068c9a717d8d2b8320894655c93ab3114b30f986b55f4b2e",
    "17e39ed4b962be8f79d7554e06b9d5f02f8fb4f27cde7ed454f9024f645d00c1",
    "219af599ee573e54d726b970fb51bdd7d871a17f319455c6c5837ff4fff91f07",
    "2350a95f86ebb2f9ff46471064800bc06e298d4bb4264dc2971093fa259ee7a9",
    "26473440813bc51a937cbf7383a79eadcaeddefbc83146b12dd4da3685a448d6",
    "4124f017d13f370492faa2a3e3c78911e1382201030cee6d6f9c4c908f375334",
    "5108ba897b0640cb053393e11bbfcf15af836e905d2031b590d82fd623ce49df",
    "51a2dccec2d60d292dfa656b14e921ac300c7de2568fe1c9e7d3bd2f96bf202a",
    "5f2b2415bed673caf9e1ca9387e24722358e636b7e5a4f3dd3fdd4de05f94d8e",
    "5f94cd7d78d9bda488867429e7f08f2fb95b3a9dae75f14518dcc7c1815e0d3e",
    "6240de589ec53a4de0701d026e9131097464ac5a1eaa47eb0001c5fcb76a9150",
    "6521a1d3a95b180a41f0d91d6042c7c1f3f7a9ac6ed1f180174f75ae63e58a6d",
    "6563b94f288f0fde3db371ce6321600d854db668d55ec4fc9e1bc44d6a6af4bf",
    "844e4b012a33d5cf64f8b454262c9e60f436cb1cac2491e3c36a1fe522df0476",
    "8b77591cd9281d8244d6e01334fc5e1f81a9ddf1702b022e07e49f71f17d4f98",
    "9378836e42d2dd6cf7b750d0af01b2119eb0f0c1be0e5b3541450c2c0f0e4aed",
    "9f957daf3c030621d45c6b26e01576d8582d7a2cd2e2b53fcc20ee950c9e3796",
    "b248b4b1372460ed1d83c4d58b39cfbf0ef23b6b161e561a592420fc49898e82",
    "ba26333efc24f3b6c621ffa0b463a15e0d5f75ed34b33f6eeede8a3f9af2a64e",
    "edbfc1a9652ff25c23eeafc6091044114578bbf5915fd7b0f5d6db8469453693",
    "f11456e77f35c2b263d49a683835ff95ab182bc1970488ac58e758472ae4d197",
    "f18bea92ae6fc63490c15800d06fcecffc0007a7bb728a6aa91b348917e8fe16",
    "fda2f61c2428431e9d3b1ae25bf59c41bd2ee491de1593622066d845695c0a68",
)
DEBS = ("redis-server", "redis-tools", "libjemalloc2", "liblzf1", "libatomic1")
START_S = 60
_NOT_HERE = (
    "NewConnectionError",
    "Temporary failure in name resolution",
    "ConnectTimeout",
    "ProxyError",
    "No matching distribution found",
    "none of the wheel",
)


class NotToBeHad(Exception):
    """A server cannot be installed here. The text says why."""


def main(arguments: list[str]) -> int:
    """Run pytest on the servers that can be had. Returns its exit code; 0 if there is no server."""
    with ExitStack() as running, tempfile.TemporaryDirectory(prefix="botctl-contract-") as data:
        environment = dict(os.environ)
        for variable, start in (("BOTCTL_TEST_MONGO_URL", start_mongo), ("BOTCTL_TEST_REDIS_URL", start_redis)):
            try:
                environment[variable] = start(running, Path(data))
            except NotToBeHad as error:
                environment.pop(variable, None)
                print(f"contract: left out: {error}", flush=True)
            else:
                print(f"contract: {variable}={environment[variable]}", flush=True)
        if not {"BOTCTL_TEST_MONGO_URL", "BOTCTL_TEST_REDIS_URL"} & environment.keys():
            return 0
        command = (sys.executable, "-m", "pytest", "-n", "0", "-m", "not soak", "-k", "real", *arguments)
        return subprocess.run((*command, "tests/contract"), cwd=ROOT, env=environment, check=False).returncode


def start_mongo(running: ExitStack, data: Path) -> str:
    """Start SecantusDB twice, alone and as a replica set. Returns both URLs, with a space between them."""
    python, urls = install_secantus(), []
    for face in ("standalone", "replica_set"):
        port = free_port()
        options = ["--host", "127.0.0.1", "--port", str(port), "--storage-path", str(data / face)]
        options += ["--cache-size", "256M", "--enable-test-commands", "--config", str(data / f"{face}.toml")]
        (data / f"{face}.toml").touch()  # or it would read one of the user's
        options += ["--standalone"] if face == "standalone" else []
        program = python.with_name("secantusd-py")
        running.enter_context(server([str(program), *options], port, data / f"{face}.log"))
        urls.append(f"mongodb://127.0.0.1:{port}/")
    return " ".join(urls)


def install_secantus() -> Path:
    """The Python of the environment of SecantusDB."""
    folder = CACHE / f"secantusdb-{VERSION}-py{sys.version_info.major}.{sys.version_info.minor}"
    python = folder / "bin" / "python"
    if (folder / "complete").exists():
        return python
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run((sys.executable, "-m", "venv", str(folder)), check=True)
    requirement = folder / "secantusdb.txt"
    requirement.write_text(f"secantusdb=={VERSION} " + " ".join(f"--hash=sha256:{each}" for each in HASHES))
    _pip(python, "--require-hashes", "--no-deps", "--only-binary", ":all:", "-r", str(requirement))
    _pip(python, "--only-binary", ":all:", *DEPENDENCIES)
    (folder / "complete").touch()
    return python


def _pip(python: Path, *arguments: str) -> None:
    command = (str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return
    last = next((line for line in reversed(done.stderr.splitlines()) if line.startswith("ERROR")), done.stderr[-300:])
    if any(word in done.stderr for word in _NOT_HERE):
        raise NotToBeHad(f"SecantusDB {VERSION} cannot be installed here: {last}")
    raise SystemExit(f"contract: SecantusDB {VERSION} was refused: {last}")  # a wrong hash, for instance


def start_redis(running: ExitStack, data: Path) -> str:
    """Start a redis-server. Returns its URL."""
    program, libraries = find_redis()
    port, folder = free_port(), data / "redis"
    folder.mkdir()
    command = [str(program), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", ""]
    paths = ":".join(filter(None, (libraries, os.environ.get("LD_LIBRARY_PATH"))))
    environment = {**os.environ, "LD_LIBRARY_PATH": paths} if paths else None
    running.enter_context(server(command, port, data / "redis.log", environment))
    return f"redis://127.0.0.1:{port}/0"


def find_redis() -> tuple[Path, str]:
    """The server's program, and the folder of its libraries if it was unpacked here."""
    if (there := shutil.which("redis-server")) is not None:
        return Path(there), ""
    folder = CACHE / "redis"
    if not (folder / "complete").exists():
        if shutil.which("apt-get") is None:
            raise NotToBeHad("redis-server is not on this machine, and neither is apt-get.")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        done = subprocess.run(("apt-get", "download", *DEBS), cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or ["no reason"])[-1]
            raise NotToBeHad(f"apt-get has no redis-server ({last}). Perhaps `apt-get update` helps.")
        for package in folder.glob("*.deb"):
            subprocess.run(("dpkg-deb", "--extract", str(package), str(folder)), check=True)
        (folder / "complete").touch()
    return folder / "usr/bin/redis-server", ":".join(map(str, (folder / "usr/lib").glob("*-linux-gnu*")))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def server(command: list[str], port: int, log: Path, environment: dict[str, str] | None = None) -> Iterator[None]:
    """Run ``command`` while the block runs. Raises SystemExit, with its log, if it does not listen."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL, env=environment)
    try:
        deadline = time.monotonic() + START_S
        while not _listens(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"contract: {command[0]} does not start:\n{log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
