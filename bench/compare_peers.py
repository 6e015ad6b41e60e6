"""bench/compare_peers.py: what one would use instead of relais, each at its best, for bench/compare.

A peer has first() (a first copy, outside of what is measured), changed(path of a change, applied to the shared
image already) and ship(): the command whose end says that all is safe at the hub. `readable`: whether the hosting
member could read what it stores. `durable`: what the command's end promises.
"""
import os
import shutil
import subprocess

from compare_data import apply, runs
from territory import TOP, Territory, give_up, run

HUB = "10.77.0.2"


class Ssh:
    """A server at the hub's end, with keys of its own, and what to type at the site's end."""

    def __init__(self, root, wan):
        self.dir, self.wan, self.port = os.path.join(root, "ssh"), wan, 22022
        os.makedirs(self.dir, 0o700)
        os.makedirs("/run/sshd", exist_ok=True)
        for k in ("host", "user"):
            run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{self.dir}/{k}"])
        shutil.copy(f"{self.dir}/user.pub", f"{self.dir}/authorized")
        with open(f"{self.dir}/sshd_config", "w") as f:
            f.write(f"ListenAddress {HUB}:{self.port}\nHostKey {self.dir}/host\nAuthorizedKeysFile {self.dir}/authorized\n"
                    f"PidFile none\nStrictModes no\nUsePAM no\nPermitRootLogin prohibit-password\nMaxStartups 100\n"
                    "PasswordAuthentication no\nSubsystem sftp internal-sftp\n")
        with open(f"{self.dir}/known", "w") as f, open(f"{self.dir}/host.pub") as k:
            f.write(f"[{HUB}]:{self.port} {k.read()}")
        self.log = open(f"{self.dir}/log", "w")
        self.server = subprocess.Popen(wan.at("hub") + ["/usr/sbin/sshd", "-D", "-e", "-f", f"{self.dir}/sshd_config"],
                                       stdout=self.log, stderr=self.log)
        # What OpenSSH itself would choose; compression is each peer's own business.
        self.words = ["ssh", "-F", "none", "-p", str(self.port), "-i", f"{self.dir}/user", "-o", "BatchMode=yes",
                      "-o", f"UserKnownHostsFile={self.dir}/known", "-o", "Compression=no", "-o", "ConnectionAttempts=20"]

    def stop(self):
        self.server.terminate()
        self.server.wait()
        self.log.close()


class Peer:
    readable = False
    missing = ()  # programs

    def __init__(self, stage):
        self.stage, self.root = stage, os.path.join(stage.root, self.name.split()[0] + self.suffix)
        os.makedirs(self.root)
        self.number = 0

    suffix = ""

    @classmethod
    def absent(cls):
        return [p for p in cls.missing if not shutil.which(p, path=os.environ["PATH"] + ":/usr/sbin")]

    def at_site(self, argv, **more):
        return run(self.stage.wan.at("site") + argv, **more)

    def first(self):
        self.ship()

    def changed(self, change):
        pass

    def returned(self, out):
        """Writes the volume to a file, from what is at the hub."""
        raise NotImplementedError

    def stop(self):
        pass


class RelaisScan(Peer):
    name, what = "relais scan", "relais mark --wait: scans the image, seals, ships"
    durable = "delta fdatasynced at the site, then every object and the head at the hub"
    group, suffix = "scanned", "-scan"

    def first(self):
        self.ship()

    def ship(self):
        self.stage.territory.cli("mark", self.group, "--wait")

    def returned(self, out):
        self.stage.territory.cli("restore", self.group + "@latest", "volume", out, "--key", f"{self.stage.root}/site/restore.key")


class RelaisLive(RelaisScan):
    name, what = "relais live", "relais mark --wait of a volume written through its NBD export"
    group, suffix = "live", "-live"

    def changed(self, change):
        import nbd
        h = nbd.NBD()
        h.connect_uri(f"nbd+unix:///live/volume?socket={self.stage.root}/nbd")
        for at, piece in runs(change):
            h.pwrite(piece, at)
        h.flush()
        h.shutdown()


class Restic(Peer):
    name = "restic"
    what = "restic backup to rclone serve restic over ssh, compression auto, warm cache"
    durable = "files written and renamed at the hub, not fsynced by rclone"
    missing = ("restic", "rclone", "sshd")

    def options(self):
        """Over sftp restic waits for each 32 KiB: at 20 ms that is 1.6 MB/s. Through rclone it does not."""
        ssh = " ".join(self.stage.ssh.words + [f"root@{HUB}", "rclone"])
        return ["-r", f"rclone:{self.root}/repo", "-o", f"rclone.program={ssh}",
                "-o", "rclone.args=serve restic --stdio --config /dev/null"]

    def restic(self, *args):
        env = dict(os.environ, RESTIC_PASSWORD="bench", RESTIC_CACHE_DIR=os.path.join(self.root, "cache"),
                   RESTIC_COMPRESSION="auto")
        return self.at_site(["restic", "-q", *self.options(), *args], env=env)

    def first(self):
        self.restic("init", "--repository-version", "2")
        self.ship()

    def ship(self):
        self.restic("backup", self.stage.image)

    def returned(self, out):
        self.restic("restore", "latest", "--target", self.root + "/back")
        os.rename(self.root + "/back" + self.stage.image, out)


class Borg(Peer):
    name, what = "borg", "borg create over ssh, zstd, chunks of 8 KiB (a page: its best for databases)"
    durable = "segments and index fsynced by borg serve at its commit"
    missing = ("borg", "sshd")
    chunker, suffix = "fixed,8192", ""

    def borg(self, *args, **more):
        env = dict(os.environ, BORG_PASSPHRASE="bench", BORG_RSH=" ".join(self.stage.ssh.words),
                   BORG_BASE_DIR=self.root, BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK="yes",
                   BORG_RELOCATED_REPO_ACCESS_IS_OK="yes")
        return self.at_site(["borg", *args], env=env, **more)

    def repo(self):
        return f"ssh://root@{HUB}:{self.stage.ssh.port}{self.root}/repo"

    def first(self):
        self.borg("init", "-e", "repokey-blake2", self.repo())
        self.ship()

    def ship(self):
        self.number += 1
        self.borg("create", "--compression", "zstd,3", "--chunker-params", self.chunker, "--files-cache", "disabled",
                  f"{self.repo()}::{self.number}", self.stage.image)

    def returned(self, out):
        os.mkdir(self.root + "/back")
        self.borg("extract", f"{self.repo()}::{self.number}", cwd=self.root + "/back")
        os.rename(self.root + "/back" + self.stage.image, out)


class BorgDefault(Borg):
    name, suffix = "borg 64k", "-64k"
    what = "the same with chunks of 64 KiB"
    chunker = "fixed,65536"


class Rsync(Peer):
    name, what = "rsync", "rsync --inplace -z (zstd) --block-size=8192 --fsync over ssh"
    durable, readable = "the copy fsynced; torn until the end, as it is written in place", True
    missing = ("rsync", "sshd")

    def ship(self):
        self.at_site(["rsync", "--inplace", "--ignore-times", "--no-whole-file", "--block-size=8192", "-z", "--compress-choice=zstd",
                      "--compress-level=3", "--fsync", "-e", " ".join(self.stage.ssh.words), self.stage.image,
                      f"root@{HUB}:{self.root}/copy.img"])

    def first(self):
        run(["cp", "--sparse=always", self.stage.image, f"{self.root}/copy.img"])

    def returned(self, out):
        os.link(f"{self.root}/copy.img", out)


class Rbd(Peer):
    name, what = "rbd", "rbd export-diff | zstd -3 -T0 | openssl enc -aes-256-ctr | ssh dd conv=fsync"
    durable = "the stream fsynced as a file; it is not applied, which its reader cannot, without the key"
    local = os.path.join(TOP, "deploy/ceph-local")
    missing = (local, "rbd", "ceph-mon", "ceph-osd", "ceph-mgr", "zstd", "openssl", "sshd")
    zstd = "-3"

    def first(self):
        self.ceph = os.path.join(self.root, "ceph")
        run([self.local, "start", self.ceph, "--size", str(self.stage.gib + 6)])
        self.conf = os.path.join(self.ceph, "ceph.conf")
        run(self.rbd("import", "--image-format", "2", self.stage.image, "relais/volume"))
        run(self.rbd("snap", "create", "relais/volume@0"))
        run(["openssl", "rand", "-hex", "-out", os.path.join(self.root, "key"), "32"])

    def rbd(self, *args):
        return ["rbd", "-c", self.conf, "--no-progress", *args]

    def changed(self, change):
        import rados
        import rbd
        with rados.Rados(conffile=self.conf, name="client.admin") as cluster, cluster.open_ioctx("relais") as pool, \
                rbd.Image(pool, "volume") as image:
            for at, piece in runs(change):
                image.write(piece, at)
            image.flush()

    def ship(self):
        self.number += 1
        n = self.number
        run(self.rbd("snap", "create", f"relais/volume@{n}"))
        diff = " ".join(self.rbd("export-diff", "--from-snap", str(n - 1), f"relais/volume@{n}", "-"))
        ssh = " ".join(self.stage.wan.at("site") + self.stage.ssh.words + [f"root@{HUB}"])
        run(["bash", "-c", f"set -o pipefail; {diff} | zstd -q {self.zstd} -T0 | openssl enc -aes-256-ctr -pbkdf2 -pass "
             f"file:{self.root}/key | {ssh} dd of={self.root}/diff-{n} bs=1M iflag=fullblock conv=fsync status=none"])

    def returned(self, out):
        """A second image takes the streams, one after the other, from the first copy on."""
        back = "relais/back"
        run(self.rbd("clone", "--rbd-default-clone-format", "2", "relais/volume@0", back))
        run(self.rbd("snap", "create", back + "@0"))
        for n in range(1, self.number + 1):
            run(["bash", "-c", f"set -o pipefail; openssl enc -d -aes-256-ctr -pbkdf2 -pass file:{self.root}/key -in "
                 f"{self.root}/diff-{n} | zstd -q -d --long=27 | {' '.join(self.rbd('import-diff', '-', back))}"])
        run(self.rbd("export", back, out))

    def stop(self):
        if hasattr(self, "ceph") and os.path.exists(self.ceph):
            subprocess.run([self.local, "stop", self.ceph], stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL)


class RbdLong(Rbd):
    name, suffix = "rbd long", "-long"
    what = "the same with zstd -3 --long=27: finds the pages that are in the write-ahead log, too"
    zstd = "-3 --long=27"


PEERS = {"relais-live": RelaisLive, "relais-scan": RelaisScan, "restic": Restic, "borg": Borg, "borg-64k": BorgDefault,
         "rsync": Rsync, "rbd": Rbd, "rbd-long": RbdLong}


class Stage:
    """One link, one image that all peers but the live volume and Ceph read, and the peers."""

    def __init__(self, args, base, wan, root):
        self.wan, self.root = wan, root
        self.image = os.path.join(root, "volume.img")
        self.gib = max(1, os.path.getsize(base) >> 30)
        run(["cp", "--sparse=always", base, self.image])
        live = os.path.join(root, "live.img")
        groups = f"[group scanned]\ninterval = never\n[volume scanned/volume]\npath = {self.image}\n"
        if "relais-live" in args.peers:
            run(["cp", "--sparse=always", base, live])
            groups += (f"[group live]\ninterval = never\n[volume live/volume]\npath = {live}\nsource = nbd\n"
                       f"export = unix:{root}/nbd\n")
        self.territory = Territory(args.build, root, groups, address=HUB, options=args.site,
                                   prefix={w: wan.at(w) for w in ("site", "hub")})
        self.ssh = Ssh(root, wan)
        self.peers = []
        try:
            self.territory.start()
            for name in args.peers:
                absent = PEERS[name].absent()
                if absent and args.asked:
                    give_up(f"{name} needs {' '.join(absent)}; run: deploy/install-deps compare ceph")
                if not absent:
                    self.peers.append(PEERS[name](self))
                    self.peers[-1].first()
        except BaseException:
            self.stop()
            raise

    def apply(self, change):
        apply(change, self.image)
        for p in self.peers:
            p.changed(change)
        run(["sync"])

    def stop(self):
        for p in self.peers:
            p.stop()
        self.ssh.stop()
        self.territory.stop()
