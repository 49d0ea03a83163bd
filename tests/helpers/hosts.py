"""A Dask cluster whose hosts have cables of their own: network namespaces of this machine, made by root on Linux."""

import subprocess
import sys

ADDRESS = "tcp://10.77.7.1:8786"
HOSTS = (1, 2, 3, 4)  # the first has the scheduler, the others a worker each


def ip(*args: object, check: bool = True) -> None:
    subprocess.run(["ip", *map(str, args)], check=check, capture_output=True)


class Cluster:
    """A context manager. Raises OSError or CalledProcessError where it cannot be made."""

    def __init__(self, folder):
        self.folder, self.programs = folder, {}

    def __enter__(self) -> "Cluster":
        self.remove()  # what a test that was killed has left
        ip("link", "add", "lab-switch", "type", "bridge")
        ip("addr", "add", "10.77.7.254/24", "dev", "lab-switch")
        ip("link", "set", "lab-switch", "up")
        for host in HOSTS:
            ip("netns", "add", f"lab-{host}")
            ip("link", "add", f"lab-{host}", "type", "veth", "peer", "eth0", "netns", f"lab-{host}")
            ip("link", "set", f"lab-{host}", "master", "lab-switch", "up")
            ip("-n", f"lab-{host}", "addr", "add", f"10.77.7.{host}/24", "dev", "eth0")
            for device in ("lo", "eth0"):
                ip("-n", f"lab-{host}", "link", "set", device, "up")
        for host in HOSTS:
            self.start(host)
        return self

    def start(self, host: int) -> None:
        command = ["scheduler", "--host", "10.77.7.1"] if host == 1 else ["worker", ADDRESS]
        command += ["--nthreads", "1", "--name", f"lab-{host}"] * (host > 1) + ["--no-dashboard"]
        with open(self.folder / f"host-{host}.log", "a") as log:
            command = ["ip", "netns", "exec", f"lab-{host}", sys.executable, "-m", "dask", *command]
            self.programs[host] = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder)

    def cut_power(self, host: int) -> None:
        """It vanishes without a word: the cable goes before the programs do."""
        ip("link", "set", f"lab-{host}", "down")
        self.kill(host)

    def restore(self, host: int) -> None:
        ip("link", "set", f"lab-{host}", "up")
        self.start(host)

    def kill(self, host: int) -> None:
        pids = subprocess.run(["ip", "netns", "pids", f"lab-{host}"], capture_output=True, text=True).stdout
        subprocess.run(["kill", "-9", *pids.split()], capture_output=True)

    def remove(self) -> None:
        for host in HOSTS:
            self.kill(host)
            ip("link", "delete", f"lab-{host}", check=False)
            ip("netns", "delete", f"lab-{host}", check=False)
        ip("link", "delete", "lab-switch", check=False)

    def __exit__(self, *error) -> None:
        self.remove()
        for program in self.programs.values():
            program.wait()
