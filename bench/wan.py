"""bench/wan.py: an emulated link (relais-bench wan) for the benches and end-to-end tests."""
import json
import os
import subprocess
import tempfile
import time

from territory import program


class Wan:
    def __init__(self, build, profile, settings):
        self.bench = program(build, "bench/relais-bench")
        self.dir = tempfile.mkdtemp(prefix="relais-wan-", dir="/tmp")
        sets = [x for k, v in settings.items() for x in ("--set", f"{k}={v}")]
        self.proc = subprocess.Popen([self.bench, "wan", "--dir", self.dir, *sets, profile],
                                     stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while not os.path.exists(os.path.join(self.dir, "control")):
            if self.proc.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"the emulated link did not start: exit status {self.proc.poll()}")
            time.sleep(0.02)

    def at(self, end):
        """What runs a command at an end: its first words."""
        return ["nsenter", f"--net={self.dir}/{end}"]

    def tell(self, *words):
        return subprocess.run([self.bench, "wan", "--tell", self.dir, *words], check=True,
                              stdout=subprocess.PIPE, text=True).stdout

    def stats(self):
        return json.loads(self.tell("stats"))

    def stop(self):
        self.proc.terminate()
        self.proc.wait(30)
        if os.path.isdir(self.dir):
            os.rmdir(self.dir)
