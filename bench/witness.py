"""bench/witness.py: who looks on while a site has trouble: clients that log what they were told, an onlooker
of the site's bounds, and loads whose latency is measured."""
import json
import os
import subprocess
import threading
import time

from territory import give_up, run


class Oracle:
    """Live clients of volumes, who judge whether images of them are one cut at a known instant."""

    def __init__(self, build, root, uris, seed=1, connections=1):
        self.log = open(os.path.join(root, "clients.log"), "w")
        self.proc = subprocess.Popen([os.path.join(build, "tests/oracle/oracle-clients"), str(seed), str(connections),
                                      *uris], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True)

    def ask(self, *words):
        self.proc.stdin.write(" ".join(str(w) for w in words) + "\n")
        self.proc.stdin.flush()
        verdict, _, text = self.proc.stdout.readline().strip().partition(" ")
        return verdict == "ok", text

    def end(self):
        self.proc.kill()
        self.proc.wait()
        self.log.close()


class Watch(threading.Thread):
    """Samples what the spool and the site's daemon take, ten times a second; the states that the group is in."""

    def __init__(self, territory, pid):
        super().__init__(daemon=True)
        self.t, self.pid = territory, pid
        self.spool_most = self.memory_most = 0
        self.foreign = 0  # bytes in the spool's directory that somebody else put there
        self.states, self.errors, self.levels = set(), set(), set()
        self.over = threading.Event()

    def spool_bytes(self):
        total = 0
        for where, _, names in os.walk(os.path.join(self.t.root, "site/spool")):
            for n in names:
                try:
                    if n != "filler":
                        total += os.stat(os.path.join(where, n)).st_blocks * 512
                except FileNotFoundError:
                    pass  # it was shipped
        return total

    def look(self):
        self.spool_most = max(self.spool_most, self.spool_bytes())
        with open(f"/proc/{self.pid}/status") as f:
            kib = [int(line.split()[1]) for line in f if line.startswith("VmHWM")]
        self.memory_most = max([self.memory_most, *kib])
        s = json.loads(self.t.status() or "{}")
        if s:
            self.states.add(s["groups"][0]["state"])
            self.levels.add(s["level"])
            self.errors.update(x for x in (s["groups"][0]["error"], s["hub_error"]) if x)

    def run(self):
        while not self.over.wait(0.1):
            self.look()

    def end(self):
        self.over.set()
        self.join()


def fio(uri, options, seconds, where):
    """One window of a load: writes, bytes a second, latencies in microseconds. A write that fails ends the bench."""
    out = run(["fio", "--name=window", "--ioengine=nbd", "--uri=" + uri, "--time_based", f"--runtime={seconds:g}",
               "--norandommap", "--randrepeat=0", "--refill_buffers", "--output-format=json", *options.split()],
              cwd=where)
    job = json.loads(out[out.index("{"):])["jobs"][0]
    if job["error"]:
        give_up(f"a write on {uri} failed: error {job['error']}")
    w = job["write"]
    return {"writes": w["total_ios"], "bytes": w["io_bytes"], "rate": w["bw_bytes"], "mean": w["clat_ns"]["mean"] / 1000,
            "p99": w["clat_ns"]["percentile"]["99.000000"] / 1000, "most": w["clat_ns"]["max"] / 1000}


def iperf(wan, size):
    """Bits a second that the receiver saw of one BBR stream."""
    server = subprocess.Popen(wan.at("hub") + ["iperf3", "-s", "-1"], stdout=subprocess.DEVNULL)
    time.sleep(0.3)
    shown = run(wan.at("site") + ["iperf3", "-C", "bbr", "-c", "10.77.0.2", "-n", str(size), "--json"])
    server.wait(30)
    return json.loads(shown)["end"]["sum_received"]["bits_per_second"]


def memory_bound(t):
    """MiB that the site's configuration implies at most, as it says itself."""
    for line in t.cli("config", "check").splitlines():
        if line.startswith("memory:"):
            return int(line.split()[3])
    give_up("relais config check does not tell of memory")


def quantile(values, q):
    return sorted(values)[min(len(values) - 1, int(q * len(values)))]
