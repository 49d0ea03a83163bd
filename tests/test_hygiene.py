"""What a study must not do: write outside the project, and use the network."""

import os
import subprocess
import sys
from pathlib import Path

import program

# loaded by all Python processes that are started below, workers too
WATCH = """
import os, sys
log = os.open(os.environ["WATCH"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
CHANGES = {"os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.link", "os.symlink", "os.truncate", "shutil.rmtree"}
def watch(event, details):
    if event == "open" and isinstance(details[0], (str, bytes)) and details[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        seen = "write", os.path.abspath(os.fsdecode(details[0]))
    elif event in CHANGES:
        seen = "write", os.path.abspath(os.fsdecode(details[0]))
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        seen = "connect", details[0]
    elif event == "socket.connect":
        seen = "connect", details[1][0] if isinstance(details[1], tuple) else "a file"
    else:
        return
    os.write(log, "{} {}\\n".format(*seen).encode())
sys.addaudithook(watch)
"""


def test_only_the_project_is_written_and_the_network_is_not_used(project, tmp_path_factory):
    watched, scratch = tmp_path_factory.mktemp("watch"), tmp_path_factory.mktemp("scratch")
    (watched / "sitecustomize.py").write_text(WATCH)
    folders = "HOME", "USERPROFILE", "TMPDIR", "TEMP", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"
    path = os.pathsep.join([str(watched), str(Path(__file__).parents[1])])
    env = os.environ | dict.fromkeys(folders, str(scratch))
    env |= {"WATCH": str(watched / "log"), "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run([sys.executable, program.__file__], cwd=project, env=env, check=True, capture_output=True)
    seen = [line.split(" ", 1) for line in (watched / "log").read_text().splitlines()]
    written = {Path(name) for event, name in seen if event == "write"}
    assert {project / "img" / f".s{end}.new" for end in (".local.csv", ".local.npz")} <= written
    own = project, scratch, watched, Path("/dev")  # libraries keep their caches at home, workers talk through /dev
    assert [path for path in written if not any(path.is_relative_to(folder) for folder in own)] == []
    assert {name for event, name in seen if event == "connect"} <= {"127.0.0.1", "localhost", "a file"}
    assert not [path for path in scratch.rglob("*") if "mnist" in path.name]
