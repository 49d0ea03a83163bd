"""What our code must not do: write outside the project, and ask the network."""

import os
import subprocess
import sys
from pathlib import Path

# loaded by every Python process that is started below, workers and kernels too
WATCH = """
import os, sys
log = os.open(os.environ["WATCH"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
CHANGES = {"os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.link", "os.symlink", "os.truncate", "shutil.rmtree"}
def watch(event, details):
    if event == "open" and isinstance(details[0], (str, bytes)) and details[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        told = "write", os.path.abspath(os.fsdecode(details[0]))
    elif event in CHANGES:
        told = "write", os.path.abspath(os.fsdecode(details[0]))
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        told = "connect", details[0]
    elif event == "socket.connect":
        told = "connect", details[1][0] if isinstance(details[1], tuple) else "a file"
    else:
        return
    os.write(log, "{} {}\\n".format(*told).encode())
sys.addaudithook(watch)
"""


def test_only_the_project_is_written_and_nobody_is_asked(project, tmp_path_factory):
    watched, scratch = tmp_path_factory.mktemp("watch"), tmp_path_factory.mktemp("scratch")
    (watched / "sitecustomize.py").write_text(WATCH)
    program = Path(__file__).with_name("program.py")
    home = {
        name: str(scratch) for name in ("HOME", "USERPROFILE", "TMPDIR", "TEMP", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")
    }
    path = os.pathsep.join([str(watched), str(Path(__file__).parents[1])])
    environment = {
        **os.environ,
        **home,
        "WATCH": str(watched / "log"),
        "PYTHONPATH": path,
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    subprocess.run([sys.executable, program], cwd=project, env=environment, check=True, capture_output=True)
    seen = [line.split(" ", 1) for line in (watched / "log").read_text().splitlines()]
    written = {Path(where) for what, where in seen if what == "write"}
    assert project / "img" / ".s.local.csv.new" in written
    ours = (project, scratch, watched, Path("/dev"))  # libraries keep their caches at home, workers talk through /dev
    assert [path for path in written if not any(path.is_relative_to(folder) for folder in ours)] == []
    assert {where for what, where in seen if what == "connect"} <= {"127.0.0.1", "localhost", "a file"}
    assert not [path for path in scratch.rglob("*") if "mnist" in path.name]
