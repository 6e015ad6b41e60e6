# nbd: the programs that hospitals use against an export: libnbd's, QEMU's, fio; old clients; clients that
# break the protocol, vanish, or do not read; and that what they wrote is in the recovery points.
need() {
    local p
    for p in "$@"; do command -v "$p" >/dev/null || fail "$p is missing: run deploy/install-deps test"; done
}
need nbdinfo nbdcopy qemu-img qemu-io fio
/usr/bin/python3 -c 'import nbd' || fail "Python's nbd is missing: run deploy/install-deps test"

make_keys hub site
truncate -s 512M "$dir/data"
truncate -s 64M "$dir/wal" "$dir/ct"
truncate -s 16M "$dir/scanned"
scribble "$dir/scanned" 100 1
make_hub site
sockets=$dir/sockets
make_site site "delta-max = 64MiB
export-memory = 32MiB" <<END
[group records]
interval = 1s
[volume records/data]
path = $dir/data
source = nbd
export = unix:$sockets/records
[volume records/wal]
path = $dir/wal
source = nbd
export = unix:$sockets/records
[volume records/scanned]
path = $dir/scanned
[group imaging]
interval = 5s
[volume imaging/ct]
path = $dir/ct
source = nbd
export = unix:$sockets/ct
export-mode = 0600
END
start hub
start site
await 20 "the sockets" test -S "$sockets/ct"
data="nbd+unix:///records/data?socket=$sockets/records"
wal="nbd+unix:///records/wal?socket=$sockets/records"
ct="nbd+unix:///?socket=$sockets/ct"

alive() { kill -0 "${pid[site]}" 2>/dev/null || fail "relaisd is gone"; }
logged() { grep -qF "$1" "$dir/site/log" || fail "the log does not say: $1"; }
clients() { # clients VOLUME: how many are connected, by the log
    sed -n "s,.*nbd $1: a client [a-z]*connected; \([0-9]*\) .*,\1,p" "$dir/site/log" | tail -n 1
}
rp_of() { cli site list "$1" --json | jq -r "[.points[] | select(.label == \"$2\") | .rp][0]"; } # rp_of GROUP LABEL

echo "-- what is on offer"
[ "$(stat -c %a "$sockets/records") $(stat -c %a "$sockets/ct")" = "660 600" ] || fail "modes of the sockets"
nbdinfo --list --json "nbd+unix://?socket=$sockets/records" >"$dir/list"
[ "$(jq -r '[.exports[]."export-name"] | sort | join(" ")' "$dir/list")" = "records/data records/wal" ] ||
    fail "the list of exports"
[ "$(nbdinfo --size "$wal") $(nbdinfo --size "$ct")" = "67108864 67108864" ] || fail "sizes"
for what in multi-conn flush fua trim zero fast-zero df cache; do
    nbdinfo --can $what "$data" || fail "no $what"
done
! nbdinfo --is read-only "$data" || fail "read-only"
! nbdinfo --size "nbd+unix:///nothing?socket=$sockets/records" 2>"$dir/refusal" || fail "an unknown export"
! nbdinfo --size "nbds+unix:///records/data?socket=$sockets/records" 2>>"$dir/refusal" || fail "TLS"
alive

echo "-- nbdcopy"
truncate -s 512M "$dir/source"
scribble "$dir/source" 3000 2
nbdcopy --flush "$dir/source" "$data"
same "$dir/source" "$dir/data"
nbdcopy "$data" "$dir/copy"
same "$dir/source" "$dir/copy"
nbdcopy "$data" - | cmp - "$dir/source" || fail "nbdcopy to a pipe"

echo "-- qemu-img"
rm "$dir/copy"
qemu-img convert -f raw -O raw "$data" "$dir/copy"
same "$dir/source" "$dir/copy"
qemu-img compare -q -f raw -F raw "$dir/source" "$data" || fail "qemu-img compare"
scribble "$dir/source" 200 3
! qemu-img compare -q -f raw -F raw "$dir/source" "$data" || fail "qemu-img compare sees no difference"
qemu-img convert -n -W -m 16 -f raw -O raw "$dir/source" "$data"
same "$dir/source" "$dir/data"
holes() { qemu-img map -f raw --output=json "$1" | jq -c '[.[] | select(.data | not) | .length] | add'; }
[ "$(holes "$data")" = "$(holes "$dir/data")" ] || fail "qemu-img map: other holes than those of the file"
qemu-img bench -f raw -w -c 4000 -d 32 -s 4096 --flush-interval=64 "$ct" >"$dir/bench" || fail "qemu-img bench -w"
qemu-img bench -f raw -c 4000 -d 32 -s 65536 "$ct" >"$dir/bench" || fail "qemu-img bench"

echo "-- qemu-io"
qemu-io -f raw "$wal" >"$dir/qemu-io" 2>&1 <<'END'
write -P 0x11 0 8M
write -f -P 0x12 3M 64k
write -z 1M 512k
write -z -u 5M 1M
discard 6M 1M
write -P 0x13 513 3000
aio_write -P 0x14 10M 20M
aio_write -P 0x15 40M 1M
aio_write -z 50M 1M
aio_flush
flush
read -P 0 1M 512k
read -P 0x11 0 513
read -P 0x13 513 3000
read -P 0x11 3513 583
read -P 0x12 3M 64k
read -P 0 5M 2M
read -P 0x11 7M 1M
read -P 0x14 10M 20M
read -P 0x15 40M 1M
read -P 0 50M 1M
END
! grep -iE "failed|error" "$dir/qemu-io" || fail "qemu-io"
[ "$(grep -c 'read [0-9]*/' "$dir/qemu-io")" -eq 10 ] || fail "qemu-io did not read all: $(cat "$dir/qemu-io")"

echo "-- every command, every kind of client"
/usr/bin/python3 - "$ct" <<'END' || fail "libnbd"
import nbd, os, sys
uri, size, MIB = sys.argv[1], 64 << 20, 1 << 20
ENOSPC, EINVAL, EOVERFLOW, ENOTSUP = 28, 22, 75, 95

def client(structured=True, flags=3):
    h = nbd.NBD()
    h.set_strict_mode(0)
    h.set_handshake_flags(flags)
    h.set_request_structured_replies(structured)
    h.add_meta_context("base:allocation")
    h.connect_uri(uri)
    assert h.get_structured_replies_negotiated() == (structured and flags & 1 == 1)
    return h

def fails(errno, call, *args):
    try:
        call(*args)
    except nbd.Error as e:
        assert e.errnum == errno, (e.errnum, errno)
    else:
        raise AssertionError("it did not fail: %r" % (call,))

def reads_and_writes(h):
    big = os.urandom(5 * MIB)
    h.pwrite(big, 4 * MIB)
    assert h.pread(len(big), 4 * MIB) == big
    h.pwrite(big[:100000], 777, nbd.CMD_FLAG_FUA)
    assert h.pread(100000, 777) == big[:100000]
    h.pwrite(big, 20 * MIB, nbd.CMD_FLAG_FUA)
    h.zero(MIB, 21 * MIB)
    h.zero(1000, 23 * MIB + 1, nbd.CMD_FLAG_NO_HOLE)
    h.trim(4096, 24 * MIB, nbd.CMD_FLAG_FUA)
    h.cache(MIB, 20 * MIB)
    h.flush()
    want = bytearray(big)
    want[MIB:2 * MIB] = bytes(MIB)
    want[3 * MIB + 1:3 * MIB + 1001] = bytes(1000)
    want[4 * MIB:4 * MIB + 4096] = bytes(4096)
    assert h.pread(len(big), 20 * MIB) == want
    assert h.pread(32 * MIB, 0)[20 * MIB:25 * MIB] == want

def refusals(h):
    fails(EINVAL, h.pread, 512, size - 511)
    fails(ENOSPC, h.pwrite, bytes(512), size)
    fails(ENOSPC, h.zero, 4096, size - 1)
    fails(EINVAL, h.trim, 4096, size - 1)
    fails(EINVAL, h.pwrite, bytes(512), 0, 1 << 9)
    fails(EINVAL, h.flush, nbd.CMD_FLAG_NO_HOLE)

def fast_zero(h):
    h.pwrite(b"z" * MIB, 0)
    try:
        h.zero(MIB, 0, nbd.CMD_FLAG_FAST_ZERO)
        assert h.pread(MIB, 0) == bytes(MIB)
    except nbd.Error as e:
        assert e.errnum == ENOTSUP and h.pread(MIB, 0) == b"z" * MIB, e

def structured_only(h):
    fails(EOVERFLOW, h.pread_structured, MIB, 0, lambda *a: 0, nbd.CMD_FLAG_DF)
    whole = []
    h.pread_structured(65536, 20 * MIB, lambda buf, off, kind, err: whole.append(off) or 0, nbd.CMD_FLAG_DF)
    assert whole == [20 * MIB], whole
    h.zero(8 * MIB, 32 * MIB)
    chunks = []
    h.pread_structured(8 * MIB, 32 * MIB, lambda buf, off, kind, err: chunks.append((kind, len(buf))) or 0)
    assert sum(n for _, n in chunks) == 8 * MIB
    assert all(kind == nbd.READ_HOLE for kind, _ in chunks), chunks
    seen, one = [], []
    h.block_status(16 * MIB, 24 * MIB, lambda name, off, its, err: seen.extend(its) or 0)
    assert sum(seen[0::2]) <= 16 * MIB and {0, 3} == set(seen[1::2]), seen
    h.block_status(16 * MIB, 24 * MIB, lambda name, off, its, err: one.extend(its) or 0, nbd.CMD_FLAG_REQ_ONE)
    assert one == seen[:2], (one, seen)
    fails(EINVAL, h.block_status, 4096, size, lambda *a: 0)

for structured, flags in ((True, 3), (False, 3), (False, 0)):
    h = client(structured, flags)
    reads_and_writes(h)
    refusals(h)
    fast_zero(h)
    if structured:
        structured_only(h)
    h.shutdown()
# Two connections see each other's writes.
a, b = client(), client()
a.pwrite(b"x" * 4096, 0)
assert b.pread(4096, 0) == b"x" * 4096
b.flush()
a.shutdown()
b.shutdown()
END
alive

echo "-- fio, with verification, over several connections"
cat >"$dir/fio.job" <<END
[global]
ioengine=nbd
uri=$data
verify=crc32c
verify_fatal=1
[mixed]
rw=randwrite
bssplit=4k/40:8k/10:64k/20:512/10:256k/10:1m/10
iodepth=32
offset=0
size=128m
[overwriting]
rw=randrw
bs=4k
iodepth=16
offset=128m
size=64m
[sequential]
rw=write
bs=1m
iodepth=4
offset=256m
size=128m
END
# fio leaves files where it runs.
(cd "$dir" && fio --minimal fio.job >fio.out 2>&1) || { cat "$dir/fio.out"; fail "fio"; }

echo "-- rubbish, while others work"
(cd "$dir" && exec fio --minimal --name=steady --ioengine=nbd --uri="$data" --rw=randwrite --bs=16k --iodepth=16 \
    --offset=192m --size=64m --loops=8 --verify=crc32c --verify_fatal=1 >fio2.out 2>&1) &
steady=$!
/usr/bin/python3 - "$sockets/records" <<'END' || fail "rubbish"
import os, random, socket, struct, sys
path, rng, MIB = sys.argv[1], random.Random(7), 1 << 20

def connect():
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(20)
    s.connect(path)
    return s

def get(s, n):
    b = s.recv(n, socket.MSG_WAITALL)
    if len(b) < n:
        raise EOFError
    return b

def go(s, name=b"records/data"):
    get(s, 18)
    s.sendall(struct.pack(">I", 3))
    s.sendall(b"IHAVEOPT" + struct.pack(">III", 7, len(name) + 6, len(name)) + name + b"\0\0")
    while True:
        _, _, kind, n = struct.unpack(">QIII", get(s, 20))
        if n:
            get(s, n)
        if kind == 1:
            return
        assert kind < 1 << 31, kind

def request(cmd, flags=0, off=0, length=0, cookie=1):
    return struct.pack(">IHHQQI", 0x25609513, flags, cmd, cookie, off, length)

def ends(s):
    """The server closes, and not because we waited too long."""
    try:
        while s.recv(65536):
            pass
    except ConnectionResetError:
        pass
    s.close()

def say(b, first=None):
    s = connect()
    if first:
        first(s)
    try:
        s.sendall(b)
    except (BrokenPipeError, ConnectionResetError):
        pass
    ends(s)

say(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 100)
say(struct.pack(">I", 0xffffffff))
say(struct.pack(">I", 3) + b"rubbish" * 10)
say(struct.pack(">I", 3) + b"IHAVEOPT" + struct.pack(">II", 7, 1 << 31))
say(b"rubbish" * 1000, go)
say(request(1, length=1 << 30), go)
for _ in range(40):
    s = connect()
    go(s)
    # Good requests and bad ones, a write that is cut off, noise. They write from 448 MiB on only, where nobody
    # else does.
    at = (448 + rng.randrange(32)) * MIB
    b = request(0, off=at, length=rng.choice((0, 512, MIB, 33 * MIB)))
    b += request(1, off=1 << 40, length=5000) + os.urandom(5000)
    b += request(9) + request(3) + request(7, length=4096) + request(4, 2, at, 4096)
    b += request(1, off=at, length=3 * MIB) + os.urandom(rng.choice((0, 1, 300000)))
    s.sendall(b[:rng.randrange(len(b))] if rng.random() < .5 else b)
    if rng.random() < .5:
        s.shutdown(socket.SHUT_WR)
        ends(s)
    else:
        s.close()

# What is refused is told, and the connection goes on.
s = connect()
go(s)
s.sendall(request(1, off=1 << 40, length=70000, cookie=5) + bytes(70000) + request(0, length=16, cookie=6))
assert struct.unpack(">IIQ", get(s, 16)) == (0x67446698, 28, 5)
assert struct.unpack(">IIQ", get(s, 16)) == (0x67446698, 0, 6)
get(s, 16)
# Who asks for much and reads nothing holds up nobody else.
idle = connect()
go(idle)
idle.setblocking(False)
sent = 0
try:
    for i in range(200000):
        sent += idle.send(request(0, off=i % 100 * MIB, length=MIB))
except BlockingIOError:
    pass
assert sent < 5000000, sent
s.sendall(request(0, length=16, cookie=7))
assert struct.unpack(">IIQ", get(s, 16)) == (0x67446698, 0, 7)
get(s, 16)
s.sendall(request(2))
ends(s)
idle.close()
END
wait $steady || { cat "$dir/fio2.out"; fail "fio beside rubbish"; }
alive
logged "a request does not begin with the magic number"
logged "an option does not begin with the magic number"
logged "an option of more than 64 KiB"
logged "unknown client flags"
logged "a write of more than the maximum payload"
await 10 "all clients to be gone" eval '[ "$(clients records/data)" = 0 ]'

echo "-- clients that are killed"
for i in 1 2 3 4 5; do
    nbdcopy "$dir/source" "$data" &
    victim=$!
    sleep "0.0$i"
    kill -9 $victim 2>/dev/null || true
    wait $victim 2>/dev/null || true
done
await 10 "killed clients to be gone" eval '[ "$(clients records/data)" = 0 ]'
alive

echo "-- as many as there is memory for" # 32 MiB at 4.1 MiB each
/usr/bin/python3 - "$sockets/records" <<'END' || fail "connections"
import socket, sys
its, refused = [], 0
for i in range(9):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(10)
    s.connect(sys.argv[1])
    its.append(s)
    try:
        refused += s.recv(18, socket.MSG_WAITALL) == b""
    except ConnectionResetError:
        refused += 1
assert refused == 2, refused
END
logged "raise [site] export-memory"
await 10 "a place to be free" nbdinfo --size "$wal"

echo "-- the recovery points hold what was written"
nbdcopy --flush "$dir/source" "$data"
same "$dir/source" "$dir/data"
mark site records after
for v in data wal scanned; do
    restore site "records@$(rp_of records after)" $v "$dir/restored" --force
    same "$dir/$v" "$dir/restored"
done
mark site imaging after
restore site "imaging@$(rp_of imaging after)" ct "$dir/restored" --force
same "$dir/ct" "$dir/restored"
peak=$(awk '/VmHWM/ {print int($2 / 1024)}' "/proc/${pid[site]}/status")

echo "-- QEMU does not notice a daemon that is killed, nor one that is restarted"
for how in KILL TERM; do
    {
        for i in $(seq 0 39); do
            echo "aio_write -P $((i + 1)) $((i * 128))k 128k"
            echo "sleep 50"
        done
        echo aio_flush
        echo flush
        for i in $(seq 0 39); do echo "read -P $((i + 1)) $((i * 128))k 128k"; done
    } | qemu-io --image-opts "driver=raw,file.driver=nbd,file.server.type=unix,file.server.path=$sockets/ct,file.reconnect-delay=30" \
        >"$dir/guest" 2>&1 &
    guest=$!
    sleep 0.7
    stop site $how
    start site
    wait $guest || { cat "$dir/guest"; fail "qemu-io over a restart"; }
    ! grep -iE "fail|error" "$dir/guest" || fail "qemu-io over a restart by $how"
    [ "$(grep -c 'read [0-9]*/' "$dir/guest")" -eq 40 ] || fail "qemu-io did not read all: $(cat "$dir/guest")"
done

echo "-- stopping under load"
fio --minimal --name=load --ioengine=nbd --uri="$data" --rw=randwrite --bs=4k --iodepth=32 --size=128m --time_based \
    --runtime=60 >"$dir/fio3.out" 2>&1 &
load=$!
sleep 1
began=$SECONDS
stop site
[ $((SECONDS - began)) -le 8 ] || fail "stopping took $((SECONDS - began)) s"
kill $load 2>/dev/null || true
wait $load 2>/dev/null || true
[ ! -e "$sockets/records" ] || fail "the socket is left behind"
start site
await 20 "the daemon to serve again" nbdinfo --size "$data"
stop site
! grep -E "(READ|WRITE|TRIM|FLUSH|CACHE|STATUS)[A-Z_]* of [0-9]* bytes at" "$dir/site/log" || fail "requests failed"
echo "nbdinfo, nbdcopy, qemu-img, qemu-io, libnbd, fio verified; QEMU over 2 restarts; 46 rubbish clients; peak memory $peak MiB"
