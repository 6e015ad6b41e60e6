# resize: volumes that grow while they are in service: the recovery points before and after are exact, each at
# its own size; clients see the new size when they connect anew; a crash at any moment of it loses nothing.
make_keys hub site
truncate -s 41M "$dir/data" "$dir/scanned"
truncate -s $((40 * 1048576 + 512)) "$dir/odd" # its last sector is not whole
truncate -s 1M "$dir/other"
make_hub site
make_site site "delta-max = 32MiB" <<END_OF_SITE
[group records]
interval = never
[volume records/data]
path = $dir/data
source = nbd
export = unix:$dir/sockets/data
export-owner = nobody
export-mode = 0600
[volume records/odd]
path = $dir/odd
source = nbd
export = unix:$dir/sockets/odd
[volume records/scanned]
path = $dir/scanned
[group other]
interval = never
[volume other/scanned]
path = $dir/other
END_OF_SITE
start hub
start site
await 20 "the sockets" test -S "$dir/sockets/odd"
[ "$(stat -c '%U %a' "$dir/sockets/data")" = "nobody 600" ] || fail "the owner of the socket"
data="nbd+unix:///records/data?socket=$dir/sockets/data"
odd="nbd+unix:///records/odd?socket=$dir/sockets/odd"
io() { # io URI COMMAND...: qemu-io commands
    local uri=$1 its=()
    shift
    for c in "$@"; do its+=(-c "$c"); done
    qemu-io -f raw "${its[@]}" "$uri" >"$dir/io" 2>&1 || { cat "$dir/io"; fail "qemu-io"; }
    ! grep -iE "fail|error" "$dir/io" || fail "qemu-io: $(cat "$dir/io")"
}
keep() { # keep LABEL: a recovery point, and what it must be
    mark site records "$1"
    local v
    for v in data odd scanned; do cp --sparse=always "$dir/$v" "$dir/$v.$1"; done
}
proven() { # proven LABEL...
    local l v
    for l in "$@"; do
        for v in data odd scanned; do
            restore site "records@$(cli site list records --json | jq -r "[.points[] | select(.label == \"$l\") | .rp][0]")" \
                $v "$dir/restored" --force
            same "$dir/$v.$l" "$dir/restored"
            rm "$dir/restored"
        done
    done
}

io "$data" "write -P 1 0 4M" "write -P 2 40M 1M"
io "$odd" "write -P 3 1M 1M" "write -P 4 40M 512"
scribble "$dir/scanned" 50 1
keep small

echo "-- grown, with a client that is connected"
cat >"$dir/client" <<'END_OF_PYTHON'
import nbd, os, sys, time
uri, dir = sys.argv[1:]
h = nbd.NBD()
h.connect_uri(uri)
old = h.get_size()
open(dir + "/connected", "w").close()
while not os.path.exists(dir + "/grown"):
    h.pwrite(b"c" * 4096, 8 << 20)
    time.sleep(0.01)
assert h.get_size() == old
h.set_strict_mode(0)
try:
    h.pwrite(b"x" * 512, old)
    sys.exit("it wrote behind the end that it was told of")
except nbd.Error as e:
    assert e.errnum == 28, e
new = nbd.NBD()
new.connect_uri(uri)
assert new.get_size() == int(open(dir + "/grown").read()), new.get_size()
new.pwrite(b"y" * 4096, new.get_size() - 4096)
new.flush()
assert h.pread(4096, 8 << 20) == b"c" * 4096
END_OF_PYTHON
/usr/bin/python3 "$dir/client" "$data" "$dir" >"$dir/client.log" 2>&1 &
client=$!
await 10 "the client" test -e "$dir/connected"
cli site status >"$dir/out" || true
grep -q CLIENTS "$dir/out" || fail "status has no column of clients"
cli site status --json >"$dir/json" || true
[ "$(jq -c '[.groups[] | [.group, .exports, .clients]] | sort' "$dir/json")" = '[["other",0,0],["records",2,1]]' ] ||
    fail "clients: $(jq -c '.groups' "$dir/json")"
truncate -s 300M "$dir/data"
cli site resize records/data >"$dir/out" 2>&1 || { cat "$dir/out"; fail "resize"; }
grep -q "records/data: grown from 41.0 MiB to 300.0 MiB; .*and 1 that are connected" "$dir/out" || fail "$(cat "$dir/out")"
echo $((300 * 1048576)) >"$dir/grown.new"
mv "$dir/grown.new" "$dir/grown"
wait $client || { cat "$dir/client.log"; fail "the client"; }
truncate -s 48M "$dir/odd" "$dir/scanned"
cli site resize records/odd >"$dir/out" || fail "resize odd"
cli site resize records/odd >"$dir/out"
grep -q "48.0 MiB, as before" "$dir/out" || fail "a size that is as it was"
cli site resize records/scanned >"$dir/out"
grep -q "48.0 MiB; the next cut has it" "$dir/out" || fail "a scanned volume"
[ "$(nbdinfo --size "$odd")" = $((48 * 1048576)) ] || fail "the new size of odd"
keep grown
io "$data" "write -P 5 100M 3M" "write -P 6 299M 1M" "write -z 200M 8M"
io "$odd" "write -P 7 40M 5M"
scribble "$dir/scanned" 50 2
keep written
proven small grown written

echo "-- grown and killed, again and again"
for i in 1 2 3 4 5 6; do
    truncate -s $((300 + i * 37))M "$dir/data"
    cli site resize records/data >"$dir/out" 2>&1 &
    cli=$!
    [ $((i % 3)) -eq 0 ] || sleep "0.00$i"
    [ $((i % 3)) -ne 2 ] || { wait $cli; io "$data" "write -P $((16 + i)) $((296 + i * 37))M 4M"; }
    stop site KILL
    wait $cli || true
    start site
    await 20 "the daemon" nbdinfo --size "$data"
    [ "$(nbdinfo --size "$data")" = $(((300 + i * 37) * 1048576)) ] || fail "the size after round $i"
    io "$data" "write -P $((32 + i)) $((298 + i * 37))M 1M"
    await 20 "the site" answers site
    keep "round$i"
done
proven round1 round2 round3 round4 round5 round6 small

echo "-- shrunk"
truncate -s 100M "$dir/data"
! cli site resize records/data >"$dir/out" 2>&1 || fail "a volume that shrank in service"
grep -q "has shrunk from 522.0 MiB to 100.0 MiB while it is in service; make it as large as it was" "$dir/out" || fail "$(cat "$dir/out")"
truncate -s 522M "$dir/data"
cli site resize records/data >"$dir/out" || fail "as large as it was"
stop site
truncate -s 100M "$dir/data"
start site
await 20 "the daemon" nbdinfo --size "$data"
[ "$(nbdinfo --size "$data")" = $((100 * 1048576)) ] || fail "the smaller size"
keep shrunk
truncate -s 200M "$dir/data"
cli site resize records/data >"$dir/out" || fail "grown after it shrank"
keep regrown
proven shrunk regrown round6
! cli site resize records/nothing >"$dir/out" 2>&1 || fail "a volume that is not there"
echo "grown live, grown and killed 6 times, shrunk at a start: 12 recovery points exact, each at its own size"
