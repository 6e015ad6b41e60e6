"""bench/territory.py: one site and one hub, real daemons, in a directory of their own; what the benches share."""
import json
import os
import signal
import subprocess
import sys
import time

NAME = os.path.basename(sys.argv[0])
TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def program(build, where):
    """A program of ours: in a build directory, or, where that is a prefix, as it was installed."""
    path = os.path.join(build, where)
    name = os.path.basename(where)
    return path if os.path.exists(path) else next(
        (p for p in (os.path.join(build, d, name) for d in ("bin", "sbin")) if os.path.exists(p)), path)


def say(text):
    print(text, flush=True)


def give_up(text):
    sys.exit(f"bench/{NAME}: {text}")


def run(argv, **more):
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **more)
    if done.returncode != 0:
        give_up(f"{' '.join(argv)} exited {done.returncode}:\n{done.stdout}")
    return done.stdout


class Territory:
    """`groups`: the text of the site's [group] and [volume] sections; `prefix`: by who, the first words
    of the command that starts a daemon where it is to live; `options`: more lines for the site's [site]."""

    def __init__(self, build, root, groups, spool_budget="8GiB", address="127.0.0.1", prefix=None, options=""):
        self.relais = program(build, "tools/relais")
        self.daemon = program(build, "engine/daemon/relaisd")
        self.root = root
        self.procs = []
        self.prefix = prefix or {}
        words = {}
        for who in ("site", "hub"):
            run([self.relais, "keygen", "all", os.path.join(root, who)])
            for kind in ("link", "sign", "restore"):
                shown = run([self.relais, "keygen", "--show", os.path.join(root, who, kind + ".key")])
                words[who, kind] = shown.split("\n")[0]
        port = 20000 + os.getpid() % 20000
        self.conf = {}
        for who, other in (("site", "hub"), ("hub", "site")):
            d = os.path.join(root, who)
            text = (f"[site]\nname = {who}\nstate = {d}/state\nspool = {d}/spool\ncontrol = {d}/control\n"
                    f"link-key = {d}/link.key\nsign-key = {d}/sign.key\nhash-key = {d}/hash.key\n")
            if who == "site":
                text += f"spool-budget = {spool_budget}\nhub = hub\nreaders = {words['site', 'restore']}\n{options}"
            text += f"[peer {other}]\nlink-key = {words[other, 'link']}\nsign-key = {words[other, 'sign']}\n"
            if who == "site":
                text += f"address = {address}:{port}\n{groups}"
            else:
                text += f"[hub]\nlisten = {address}:{port}\nstore = dir:{root}/store\n"
            self.conf[who] = os.path.join(d, "relais.conf")
            with open(self.conf[who], "w") as f:
                f.write(text)

    def start(self):
        for who in ("hub", "site"):
            self.start_one(who)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            done = subprocess.run([self.relais, "-c", self.conf["site"], "status", "--json"],
                                  stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            if done.returncode in (0, 1) and json.loads(done.stdout).get("connected"):
                return
            time.sleep(0.1)
        self.stop()
        give_up(f"the daemons did not connect; logs in {self.root}")

    def start_one(self, who):
        """The daemon's process."""
        with open(os.path.join(self.root, who, "log"), "a") as log:
            argv = self.prefix.get(who, []) + [self.daemon, "-c", self.conf[who]]
            self.procs.append(subprocess.Popen(argv, stderr=log))
        deadline = time.monotonic() + 20
        control = os.path.join(self.root, who, "control")
        while not os.path.exists(control):
            if time.monotonic() > deadline:
                give_up(f"the {who} did not start; logs in {self.root}")
            time.sleep(0.02)
        return self.procs[-1]

    def kill(self, proc):
        """As a power cut would end it."""
        proc.kill()
        proc.wait()
        self.procs.remove(proc)

    def status(self):
        done = subprocess.run([self.relais, "-c", self.conf["site"], "status", "--json"],
                              stdout=subprocess.PIPE, text=True)
        return done.stdout

    def cli(self, *args):
        return run(self.prefix.get("site", []) + [self.relais, "-c", self.conf["site"], *args])

    def cut(self, group="records"):
        """Seconds until a recovery point of now is committed."""
        began = time.monotonic()
        self.cli("mark", group, "--wait")
        return time.monotonic() - began

    def memory(self):
        """Peak resident MiB of hub and site."""
        peaks = []
        for p in self.procs:
            with open(f"/proc/{p.pid}/status") as f:
                peaks += [int(line.split()[1]) / 1024 for line in f if line.startswith("VmHWM")]
        return peaks

    def cpu(self):
        """Seconds of processor that each has used, in the order they were started."""
        used = []
        for p in self.procs:
            with open(f"/proc/{p.pid}/stat") as f:
                words = f.read().rsplit(")", 1)[1].split()
            used.append((int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK"))
        return used

    def stop(self):
        for p in self.procs:
            p.send_signal(signal.SIGTERM)
        for p in self.procs:
            try:
                p.wait(30)
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait()
