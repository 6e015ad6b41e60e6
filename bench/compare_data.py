"""bench/compare_data.py: a database volume and what changes in it, for bench/compare.

A volume is an image; a change is a file of records, each the offset of a 4 KiB sector (8 bytes, little-endian)
and the sector as it is afterwards, ascending. Both stay in a directory and are made once.
"""
import glob
import os
import random
import shutil
import struct
import subprocess

from territory import give_up, run, say

SECTOR = 4096
RECORD = 8 + SECTOR
PAGE = 8192
CHUNK = 1 << 20


def data_bytes(path):
    return os.stat(path).st_blocks * 512


def differences(old, new, out):
    """Writes the sectors of `new` that differ from `old` to `out`; returns how many."""
    count = 0
    with open(old, "rb") as a, open(new, "rb") as b, open(out, "wb") as f:
        at = 0
        while True:
            x, y = a.read(CHUNK), b.read(CHUNK)
            if not y:
                return count
            if x != y:
                for i in range(0, len(y), SECTOR):
                    if x[i:i + SECTOR] != y[i:i + SECTOR]:
                        f.write(struct.pack("<Q", at + i) + y[i:i + SECTOR])
                        count += 1
            at += len(y)


def runs(change):
    """The change as (offset, bytes), neighbours joined, at most CHUNK each."""
    start, parts = None, []
    with open(change, "rb") as f:
        while record := f.read(RECORD):
            at = struct.unpack_from("<Q", record)[0]
            if start is not None and (at != start + len(parts) * SECTOR or len(parts) * SECTOR == CHUNK):
                yield start, b"".join(parts)
                start, parts = None, []
            if start is None:
                start = at
            parts.append(record[8:])
    if start is not None:
        yield start, b"".join(parts)


def apply(change, path):
    fd = os.open(path, os.O_WRONLY)
    for at, piece in runs(change):
        os.pwrite(fd, piece, at)
    os.fsync(fd)
    os.close(fd)


class Synthetic:
    """An image that looks like a database's, the same for a seed everywhere: a table of 8 KiB pages of rows, of
    which a change rewrites scattered ones in part, and a log that goes round, which takes a copy of each."""

    name = "synthetic"

    def __init__(self, directory, size, share, seed=20261122):
        self.dir, self.size, self.share, self.seed = directory, size, share, seed
        self.log = size // 8 // PAGE  # pages of the log, at the end
        self.pages = size // PAGE - self.log
        self.base = os.path.join(directory, "base.img")

    def page(self, rng):
        rows = b""
        while len(rows) < PAGE:
            rows += (f"{rng.getrandbits(40):012x}|{rng.choice(self.names)}|19{rng.randrange(30, 99)}-"
                     f"{rng.randrange(1, 13):02d}|{rng.getrandbits(128):032x}|admission|").encode() + bytes(24)
        return rows[:PAGE]

    names = ["Lefebvre", "Dupont", "Bethencourt", "Noel", "Facon", "Martin", "Bernard", "Petit"]

    def make(self, changes):
        rng = random.Random(self.seed)
        if not os.path.exists(self.base):
            with open(self.base + ".new", "wb") as f:
                for _ in range(self.pages):
                    f.write(self.page(rng))
                f.truncate(self.size)
            os.rename(self.base + ".new", self.base)
        return [self.change(n) for n in range(1, changes + 1)]

    def change(self, n):
        path = os.path.join(self.dir, f"change-{n}")
        if os.path.exists(path):
            return path
        rng = random.Random(self.seed + n)
        count = max(1, int(self.pages * self.share / 2))
        chosen, new, log = sorted(rng.sample(range(self.pages), count)), {}, b""
        with open(self.base, "rb") as f:
            for k, page in enumerate(chosen):
                f.seek(page * PAGE)
                old, fresh = f.read(PAGE), self.page(rng)
                cut = rng.randrange(1, PAGE // 2)  # the rows that were touched
                new[page] = fresh[:cut] + old[cut:]
                log += struct.pack("<QQQ", n, k, page) + new[page]
        for k in range(len(log) // PAGE):
            new[self.pages + (n * count + k) % self.log] = log[k * PAGE:(k + 1) * PAGE]
        with open(path + ".new", "wb") as f:
            for page in sorted(new):
                for i in (0, SECTOR):
                    f.write(struct.pack("<Q", page * PAGE + i) + new[page][i:i + SECTOR])
        os.rename(path + ".new", path)
        return path


class Postgres:
    """PostgreSQL's data directory on ext4 in an image: pgbench's tables, with text in their fillers instead of
    blanks; changes are pgbench's own transactions, ended by a checkpoint and an unmount."""

    name = "postgres"

    def __init__(self, directory, size, share):
        self.dir, self.size, self.share = directory, size, share
        self.base = os.path.join(directory, "base.img")
        self.now = os.path.join(directory, "now.img")
        self.mount = os.path.join(directory, "mnt")
        self.bin = self.find()

    @staticmethod
    def find():
        found = sorted(glob.glob("/usr/lib/postgresql/*/bin"), key=lambda p: int(p.split("/")[4]))
        return found[-1] if found and os.path.exists(found[-1] + "/pgbench") else None

    def do(self, program, *args, **more):
        env = dict(os.environ, PGHOST=self.dir, PGDATABASE="postgres", LANG="C.UTF-8")
        return run(["setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups",
                    os.path.join(self.bin, program), *args], env=env, cwd="/", **more)

    def sql(self, text):
        return self.do("psql", "-qAtX", "-v", "ON_ERROR_STOP=1", "-c", text)

    def start(self):
        run(["mount", "-o", "loop", self.now, self.mount])
        self.do("pg_ctl", "-D", self.mount + "/pg", "-w", "-l", self.dir + "/postgres.log", "start")

    def stop(self):
        self.do("pg_ctl", "-D", self.mount + "/pg", "-m", "fast", "-w", "stop")
        run(["umount", self.mount])

    def create(self):
        say(f"making a PostgreSQL database of about {self.size / 2**30 / 2:.1f} GiB in {self.base}")
        with open(self.now, "wb") as f:
            f.truncate(self.size)
        run(["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", self.now])
        run(["mount", "-o", "loop", self.now, self.mount])
        shutil.chown(self.mount, "postgres", "postgres")
        self.do("initdb", "-D", self.mount + "/pg", "-A", "trust", "--no-sync")
        with open(self.mount + "/pg/postgresql.conf", "a") as f:
            f.write(f"listen_addresses = ''\nunix_socket_directories = '{self.dir}'\nfsync = off\n"
                    "autovacuum = off\nmax_wal_size = 256MB\ncheckpoint_timeout = 1h\n")
        run(["umount", self.mount])
        self.start()
        scale = max(1, int(self.size / 2 / (15 << 20)))
        self.do("pgbench", "-i", "-q", "-I", "dt")
        self.sql(f"INSERT INTO pgbench_branches SELECT g, 0 FROM generate_series(1, {scale}) g")
        self.sql(f"INSERT INTO pgbench_tellers SELECT g, (g - 1) / 10 + 1, 0 FROM generate_series(1, {scale * 10}) g")
        self.sql("INSERT INTO pgbench_accounts SELECT g, (g - 1) / 100000 + 1, 0, "
                 "(ARRAY['Lefebvre','Dupont','Bethencourt','Noel','Facon','Martin'])[1 + g % 6] || ' ' || md5(g::text) "
                 f"|| ' admission ' || g % 31 FROM generate_series(1, {scale * 100000}) g")
        self.do("pgbench", "-i", "-q", "-I", "vp", "-s", str(scale))
        self.stop()
        run(["cp", "--sparse=always", self.now, self.base + ".new"])
        os.rename(self.base + ".new", self.base)

    def change(self, n, before):
        """Transactions until the share has changed; the sectors that differ are the change."""
        path, wanted = os.path.join(self.dir, f"change-{n}"), data_bytes(self.base) * self.share / SECTOR
        done = tried = 0
        while done < wanted:
            self.start()
            each = max(50, int(wanted * SECTOR / 32768)) if not done else max(50, int(tried * (wanted / done - 1)))
            self.do("pgbench", "-n", "-c", "2", "-t", str(each // 2 + 1))
            tried += each
            self.stop()
            done = differences(before, self.now, path + ".new")
        os.rename(path + ".new", path)
        say(f"change {n}: {tried} transactions, {done * SECTOR / 2**20:.0f} MiB in 4 KiB sectors")
        return path

    def make(self, changes):
        os.makedirs(self.mount, exist_ok=True)
        shutil.chown(self.dir, "postgres", "postgres")
        try:
            if not os.path.exists(self.base):
                self.create()
            paths = [os.path.join(self.dir, f"change-{n}") for n in range(1, changes + 1)]
            if not all(map(os.path.exists, paths)):
                before = os.path.join(self.dir, "before.img")
                run(["cp", "--sparse=always", self.base, self.now])
                for n, path in enumerate(paths, 1):
                    run(["cp", "--sparse=always", self.now, before])
                    if os.path.exists(path):
                        apply(path, self.now)
                    else:
                        self.change(n, before)
                os.unlink(before)
                os.unlink(self.now)
        finally:
            if os.path.ismount(self.mount):
                subprocess.run([self.bin + "/pg_ctl", "-D", self.mount + "/pg", "-m", "immediate", "stop"],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, user="postgres", cwd="/")
                run(["umount", self.mount])
        return paths


def volume(kind, directory, size, share):
    if kind == "auto":
        kind = "postgres" if Postgres.find() and os.geteuid() == 0 else "synthetic"
    if kind == "postgres" and not Postgres.find():
        give_up("PostgreSQL is not installed; run: deploy/install-deps demo, or use --volume synthetic")
    where = os.path.join(directory, f"{kind}-{size >> 20}-{share:g}")
    os.makedirs(where, exist_ok=True)
    return (Postgres if kind == "postgres" else Synthetic)(where, size, share)
