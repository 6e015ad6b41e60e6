# postgres: PostgreSQL under load on two volumes of one group, data and write-ahead log, cut every 2 s. The
# sampled recovery points are what a power cut at their instant would have left: ext4 replays its journal and
# is clean, PostgreSQL recovers, and every transaction acknowledged before the cut is there, none from later.
# PostgreSQL would forgive a log that is cut a little later than the data; two files that are written by turns,
# one on each volume, do not.
#
# The guest is this kernel: nbdfuse makes each export a file, a loop device on it carries ext4. Needs root.
seconds=${RELAIS_POSTGRES_SECONDS:-40}
samples=6
bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1)
for p in nbdfuse losetup mkfs.ext4 dumpe2fs e2fsck jq setpriv "$bin/pgbench" "$bin/pg_amcheck"; do
    command -v "$p" >/dev/null || fail "$p is missing: run deploy/install-deps test"
done
[ "$(id -u)" -eq 0 ] || fail "needs root, for loop devices and mounts"
[ -c /dev/fuse ] && [ -e /dev/loop-control ] || fail "needs /dev/fuse and /dev/loop-control"

declare -A loop=() fuse=()
job=()

# ---- leaving nothing behind, whatever happened -------------------------------------------------------------

# An unmount that hangs (the daemon is gone or stuck) ends when nbdfuse does: all it holds up is given EIO.
let_go() { # let_go MOUNTPOINT [PID OF NBDFUSE]
    mountpoint -q "$1" || return 0
    timeout 15 umount "$1" && return 0
    [ -z "${2:-}" ] || kill -9 "$2"
    timeout 15 umount "$1" || umount -l "$1"
}
tidy() {
    local status=$? p v
    trap - EXIT TERM INT
    set +e
    {
        for p in "${job[@]}"; do kill -9 "$p"; done
        stop_postgres immediate
        for v in data wal; do
            let_go "$dir/mnt/$v" "${fuse[$v]:-}"
            [ -z "${loop[$v]:-}" ] || losetup -d "${loop[$v]}"
            let_go "$dir/guest-$v" "${fuse[$v]:-}"
            [ -z "${fuse[$v]:-}" ] || kill -9 "${fuse[$v]}"
        done
    } 2>/dev/null
    (exit $status)
    finish
}
trap tidy EXIT
trap 'exit 143' TERM
trap 'exit 130' INT

# ---- PostgreSQL --------------------------------------------------------------------------------------------

pgdata=$dir/mnt/data/pg
postgres_do() { # postgres_do PROGRAM ARGS...: as the unprivileged user postgres
    local program=$1
    shift
    (cd / && exec setpriv --reuid postgres --regid postgres --clear-groups env -u LC_ALL LANG=C.UTF-8 \
        PGHOST="$dir/pg" PGDATABASE=postgres "$bin/$program" "$@")
}
sql() { postgres_do psql -qAtX -F ' ' -v ON_ERROR_STOP=1 -c "$1"; }
start_postgres() { # start_postgres LOG
    postgres_do pg_ctl -D "$pgdata" -w -t 60 -l "$1" start >"$dir/pg/ctl" 2>&1 ||
        { tail -n 8 "$1"; fail "PostgreSQL does not start"; }
}
stop_postgres() { # stop_postgres MODE
    [ ! -f "$pgdata/postmaster.pid" ] || postgres_do pg_ctl -D "$pgdata" -m "$1" -w -t 30 stop >/dev/null
}
# Numbers that count up, each a transaction; N, when it was sent, and when its COMMIT was acknowledged.
write_numbers() { # write_numbers SECONDS FILE
    export -f postgres_do
    export dir bin
    /usr/bin/python3 - "$@" <<'END'
import subprocess, sys, time
end, log = time.time() + float(sys.argv[1]), open(sys.argv[2], "w")
psql = subprocess.Popen(["bash", "-c", "postgres_do psql -qAtX -v ON_ERROR_STOP=1"],
                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
psql.stdin.write("SET synchronous_commit = on;\n")
n, sent = 0, time.time()
while sent < end:
    n += 1
    psql.stdin.write(f"INSERT INTO journal VALUES ({n}, md5('{n}')) RETURNING n;\n")
    psql.stdin.flush()
    assert psql.stdout.readline() == f"{n}\n", f"number {n} was not acknowledged"
    now = time.time()
    log.write(f"{n} {sent:.6f} {now:.6f}\n")
    sent = now
psql.stdin.close()
sys.exit(psql.wait())
END
}
# Step K on wal, then, acknowledged, on data, then step K + 1: past every cache, each block with one NBD request.
write_steps() { # write_steps SECONDS
    /usr/bin/python3 - "$1" "$dir/mnt/wal/steps" "$dir/mnt/data/steps" <<'END'
import mmap, os, sys, time
its = [os.open(path, os.O_RDWR | os.O_CREAT | os.O_DIRECT, 0o600) for path in sys.argv[2:]]
block, end, step = mmap.mmap(-1, 4096), time.time() + float(sys.argv[1]), 0
while time.time() < end:
    block[:] = step.to_bytes(8, "little") * 512
    for fd in its:
        assert os.pwrite(fd, block, 0) == 4096
        if step == 0:
            os.fsync(fd) # from now on they are overwritten in place
    step += 1
    time.sleep(0.001)
END
}
judge_steps() { # both files as a whole, and at most one step apart
    /usr/bin/python3 - "$dir/mnt/wal/steps" "$dir/mnt/data/steps" <<'END'
import sys
wal, data = (open(path, "rb").read() for path in sys.argv[1:])
for it in wal, data:
    assert len(it) == 4096 and it == it[:8] * 512, "a torn block"
wal, data = (int.from_bytes(it[:8], "little") for it in (wal, data))
assert wal - data in (0, 1), f"step {wal} on wal, {data} on data: not cut at one instant"
END
}

# ---- the guest ---------------------------------------------------------------------------------------------

attach() { # attach VOLUME: the export as a loop device, with ext4
    local v=$1
    : >"$dir/guest-$v"
    nbdfuse -P "$dir/guest-$v.pid" "$dir/guest-$v" "nbd+unix:///records/$v?socket=$dir/sockets/records" \
        >"$dir/guest-$v.log" 2>&1 &
    fuse[$v]=$!
    await 10 "nbdfuse to serve $v" test -s "$dir/guest-$v.pid"
    loop[$v]=$(losetup -f --show "$dir/guest-$v")
    mkfs.ext4 -q -F -b 4096 "${loop[$v]}" || fail "mkfs.ext4 on the export of $v"
    mount -o discard "${loop[$v]}" "$dir/mnt/$v"
}
detach() { # detach VOLUME: in good order, so that all of it is written
    local v=$1
    umount "$dir/mnt/$v"
    losetup -d "${loop[$v]}"
    unset "loop[$v]"
    umount "$dir/guest-$v"
    wait "${fuse[$v]}" || fail "nbdfuse of $v: $(tail -n 2 "$dir/guest-$v.log")"
    unset "fuse[$v]"
}
points() { # points: "RP CUT" of the complete recovery points, oldest first
    cli site list records --all --json | jq -r '.points[] | select(.complete) | "\(.rp) \(.cut)"'
}

make_keys hub site
chmod 755 "$dir" # for the user postgres; the keys are readable by their owner only
truncate -s 640M "$dir/data"
truncate -s 256M "$dir/wal"
mkdir -p "$dir/mnt/data" "$dir/mnt/wal" "$dir/pg"
chown postgres "$dir/pg"
make_hub site
make_site site <<END
[group records]
interval = 2s
[volume records/data]
path = $dir/data
source = nbd
export = unix:$dir/sockets/records
[volume records/wal]
path = $dir/wal
source = nbd
export = unix:$dir/sockets/records
END
start hub
start site
await 20 "the socket" test -S "$dir/sockets/records"
attach data
attach wal
mkdir "$pgdata" "$dir/mnt/wal/wal"
chown postgres "$pgdata" "$dir/mnt/wal/wal"
postgres_do initdb -D "$pgdata" --waldir "$dir/mnt/wal/wal" --data-checksums -A trust -E UTF8 --locale=C.UTF-8 \
    >"$dir/pg/initdb" 2>&1 || fail "initdb: $(tail -n 1 "$dir/pg/initdb")"
# Little memory and frequent checkpoints, so that both volumes are written to all the time.
cat >>"$pgdata/postgresql.conf" <<END
listen_addresses = ''
unix_socket_directories = '$dir/pg'
shared_buffers = 24MB
max_wal_size = 64MB
min_wal_size = 32MB
checkpoint_timeout = 30s
END
sync "$pgdata/postgresql.conf" # the end of a file that nobody synced may be zeroes after a power cut
start_postgres "$dir/pg/log"
postgres_do pgbench -i -q -s 5 >"$dir/pg/init" 2>&1 || fail "pgbench -i: $(tail -n 2 "$dir/pg/init")"
sql "CREATE TABLE journal (n bigint PRIMARY KEY, proof text NOT NULL)"

echo "-- $seconds s of load"
began=$(date +%s.%N)
write_numbers "$seconds" "$dir/numbers" >"$dir/writer.out" 2>&1 &
writer=$!
write_steps "$seconds" >"$dir/steps.out" 2>&1 &
steps=$!
(cd "$dir/pg" && postgres_do pgbench -n -c 4 -T "$seconds" --log --log-prefix="$dir/pg/transactions") \
    >"$dir/pg/bench" 2>&1 &
bench=$!
job=("$writer" "$steps" "$bench")
wait "$bench" || { cat "$dir/pg/bench"; fail "pgbench"; }
wait "$writer" || { cat "$dir/writer.out"; fail "the writer of numbers"; }
wait "$steps" || { cat "$dir/steps.out"; fail "the writer of steps"; }
job=()
ended=$(date +%s.%N)
stop_postgres immediate
detach data
detach wal
mark site records end # of what was left: the last sample

# ---- the recovery points -----------------------------------------------------------------------------------

points >"$dir/points"
/usr/bin/python3 - "$dir/points" "$began" "$ended" $samples <<'END' >"$dir/sample" || fail "too few recovery points"
import sys
its = [line.split() for line in open(sys.argv[1])]
began, ended, want = float(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
under_load = [p for p in its if began + 1 < float(p[1]) < ended]
assert len(under_load) >= max(want, (ended - began) / 6), f"{len(under_load)} under load, of {len(its)}"
step = (len(under_load) - 1) / (want - 2)
for p in [under_load[round(i * step)] for i in range(want - 1)] + its[-1:]:
    print(*p)
END
cut_under_load=$(awk -v a="$began" -v b="$ended" '$2 > a && $2 < b' "$dir/points" | wc -l)

mount_restored() { # mount_restored VOLUME: twice: e2fsck sees what the replay of the journal left
    local v=$1
    dumpe2fs -h "$dir/restored-$v" 2>/dev/null | grep -q needs_recovery ||
        [ "$rp" = "$last" ] || fail "rp $rp: $v was not in use when it was cut"
    mount -o loop "$dir/restored-$v" "$dir/mnt/$v" || fail "rp $rp: $v does not mount"
    umount "$dir/mnt/$v"
    e2fsck -fn "$dir/restored-$v" >"$dir/e2fsck" 2>&1 || { cat "$dir/e2fsck"; fail "rp $rp: e2fsck of $v"; }
    mount -o loop "$dir/restored-$v" "$dir/mnt/$v"
}

# What was acknowledged before the cut is in; nothing is in that was sent later. The cut is a moment behind the
# time in its manifest: LATE allows for a busy machine.
judge() { # judge CUT NUMBERS MAX TRANSACTIONS
    cat "$dir"/pg/transactions.* | /usr/bin/python3 -c '
import sys
LATE = 0.2
cut, numbers, most, transactions = float(sys.argv[2]), *map(int, sys.argv[3:6])
log = [(int(n), float(sent), float(acked)) for n, sent, acked in map(str.split, open(sys.argv[1]))]
acked = max((n for n, _, t in log if t < cut), default=0)
sent = max((n for n, t, _ in log if t < cut + LATE), default=0)
assert numbers == most, f"{numbers} numbers, but the greatest is {most}: a gap"
assert acked <= most <= sent, f"{most} numbers; {acked} acknowledged, {sent} sent by the cut"
# pgbench: client transaction latency script second microsecond, when acknowledged; 4 may be under way.
ends = [int(f[4]) + int(f[5]) / 1e6 for f in map(str.split, sys.stdin)]
low, high = sum(t < cut for t in ends), sum(t < cut + LATE for t in ends) + 4
assert low <= transactions <= high, f"{transactions} transactions of pgbench, not {low} to {high}"
print(f"{most} numbers ({acked} to {sent}), {transactions} transactions ({low} to {high})")
' "$dir/numbers" "$@"
}

last=$(tail -n 1 "$dir/sample" | cut -d ' ' -f 1)
while read -r rp cut; do
    for v in data wal; do
        restore site "records@$rp" $v "$dir/restored-$v" --force
        mount_restored $v
    done
    judge_steps || fail "rp $rp"
    rm -f "$pgdata/postmaster.pid" # of a server that a power cut ended
    : >"$dir/pg/log-$rp"
    chown postgres "$dir/pg/log-$rp"
    start_postgres "$dir/pg/log-$rp"
    grep -q "automatic recovery in progress" "$dir/pg/log-$rp" || fail "rp $rp: PostgreSQL had nothing to recover"
    postgres_do pg_amcheck --install-missing --heapallindexed >"$dir/pg/amcheck" 2>&1 ||
        { tail -n 8 "$dir/pg/amcheck"; fail "rp $rp: pg_amcheck"; }
    read -r numbers most wrong transactions <<<"$(sql "SELECT count(*), coalesce(max(n), 0),
        count(*) FILTER (WHERE proof <> md5(n::text)), (SELECT count(*) FROM pgbench_history) FROM journal")"
    [ "$wrong" = 0 ] || fail "rp $rp: $wrong numbers with a wrong proof"
    balances=$(sql "SELECT count(DISTINCT s) FROM (SELECT sum(bbalance) s FROM pgbench_branches
        UNION ALL SELECT sum(tbalance) FROM pgbench_tellers UNION ALL SELECT sum(abalance) FROM pgbench_accounts
        UNION ALL SELECT coalesce(sum(delta), 0) FROM pgbench_history) its")
    [ "$balances" = 1 ] || fail "rp $rp: the balances of branches, tellers, accounts and history differ"
    judge "$cut" "$numbers" "$most" "$transactions" || fail "rp $rp, cut at $cut"
    stop_postgres immediate
    umount "$dir/mnt/data" "$dir/mnt/wal"
done <"$dir/sample"
tps=$(sed -n 's/^tps = \([0-9]*\).*/\1/p' "$dir/pg/bench")
echo "$cut_under_load recovery points cut under $tps transactions/s and $((most / seconds)) numbers/s;" \
    "$samples restored: e2fsck clean, PostgreSQL recovered, nothing acknowledged is missing"
