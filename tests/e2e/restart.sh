# restart: a daemon that is stopped and started, or killed, under load: its sockets are kept as systemd keeps
# them, so that no client is ever refused, and its volumes are back before its history is.
#
# The part of systemd is played by a program of some lines: the notification socket, the file descriptor
# store, LISTEN_FDS; and .socket units for two more exports.
# alone: measures pauses of guests
make_keys hub site
mkdir "$dir/units"
truncate -s 256M "$dir/data" "$dir/unit" "$dir/tls"
make_hub site
nbd=$((port + 1))
mkdir "$dir/pki"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=ca \
    -addext keyUsage=critical,keyCertSign -keyout "$dir/pki/ca-key.pem" -out "$dir/pki/ca-cert.pem" 2>/dev/null
for kind in server client; do
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost \
        -keyout "$dir/pki/$kind-key.pem" -out "$dir/pki/csr" 2>/dev/null
    openssl x509 -req -in "$dir/pki/csr" -CA "$dir/pki/ca-cert.pem" -CAkey "$dir/pki/ca-key.pem" -CAcreateserial \
        -days 30 -extfile <(echo subjectAltName=DNS:localhost) -out "$dir/pki/$kind-cert.pem" 2>/dev/null
    chmod 600 "$dir/pki/$kind-key.pem"
done
make_site site "spool-budget = 1GiB
delta-max = 32MiB
export-tls = $dir/pki" <<END_OF_SITE
[group records]
interval = 5s
[volume records/data]
path = $dir/data
source = nbd
export = unix:$dir/sockets/data
export-mode = 0640
[volume records/unit]
path = $dir/unit
source = nbd
export = unix:$dir/units/unit
[volume records/tls]
path = $dir/tls
source = nbd
export = tcp:127.0.0.1:$nbd
END_OF_SITE

cat >"$dir/manager" <<'END_OF_PYTHON'
"""What systemd does for a service with FileDescriptorStoreMax= and .socket units, as far as relaisd sees it.
Restarts it whenever it ends, after 100 ms; writes its pid to DIR/pid; SIGTERM ends both."""
import array, ctypes, os, select, signal, socket, sys, time
dir, daemon, conf, units = sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:]
notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
notify.bind(dir + "/notify")
store, ready = {}, False
for at in units:
    s = socket.socket(socket.AF_UNIX if at[0] == "/" else socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    if at[0] != "/":
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(at if at[0] == "/" else ("127.0.0.1", int(at)))
    s.listen(128)
    store["unit" + at.replace("/", "-")] = s.detach()

def start():
    log = os.open(dir + "/site/log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    pid = os.fork()
    if pid:
        os.close(log)
        with open(dir + "/pid.new", "w") as f:
            f.write(str(pid))
        os.rename(dir + "/pid.new", dir + "/pid")
        return pid
    ctypes.CDLL(None).prctl(1, signal.SIGKILL) # it does not outlive a test that failed
    os.dup2(log, 2)
    given = [os.dup(fd) for fd in store.values()]
    high = [os.dup2(fd, 200 + i) for i, fd in enumerate(given)]
    for i, fd in enumerate(high):
        os.dup2(fd, 3 + i, inheritable=True)
    os.closerange(3 + len(given), 300)
    os.environ.update(NOTIFY_SOCKET=dir + "/notify", LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(given)),
                      LISTEN_FDNAMES=":".join(store))
    os.execv(daemon, [daemon, "-c", conf])

def heed():
    text, ancillary, _, _ = notify.recvmsg(4096, socket.CMSG_SPACE(64))
    fields = dict(line.split("=", 1) for line in text.decode().splitlines())
    fds = [fd for _, kind, data in ancillary if kind == socket.SCM_RIGHTS for fd in array.array("i", data)]
    if fields.get("FDSTORE") == "1":
        assert len(fds) == 1 and fields["FDNAME"] not in store, (fields, store)
        store[fields["FDNAME"]] = fds[0]
    if fields.get("FDSTOREREMOVE") == "1":
        os.close(store.pop(fields["FDNAME"]))
    if fields.get("READY") == "1":
        open(dir + "/ready", "w").close()

stop = False
def on_term(*_):
    global stop
    stop = True
    os.kill(pid, signal.SIGTERM)
signal.signal(signal.SIGTERM, on_term)
pid = start()
while True:
    if select.select([notify], [], [], 0.02)[0]:
        heed()
    if os.waitpid(pid, os.WNOHANG)[0]:
        if stop:
            break
        time.sleep(0.1)
        pid = start()
END_OF_PYTHON
/usr/bin/python3 "$dir/manager" "$dir" "$relaisd" "$dir/site/relais.conf" "$dir/units/unit" $nbd >"$dir/manager.log" 2>&1 &
pid[manager]=$!
daemon() { cat "$dir/pid"; }
logged() { grep -qF "$1" "$dir/site/log" || fail "the log does not say: $1"; }
await 20 "the daemon" test -e "$dir/ready"
[ "$(stat -c %a "$dir/sockets/data")" = 640 ] || fail "mode of the socket"

# A guest: writes 4 KiB at a time, or reads back what it wrote, with reconnection by itself, as QEMU does it; and
# tells how long the longest pause was. It may not be refused once.
cat >"$dir/guest" <<'END_OF_PYTHON'
import nbd, os, random, sys, time
uri, seconds, out = sys.argv[1], float(sys.argv[2]), sys.argv[3]
rng, longest, pauses, refused, done = random.Random(1), 0.0, 0, 0, 0
model, h = {}, None
began = last = time.monotonic()
while time.monotonic() - began < seconds:
    at = rng.randrange(8192) * 4096
    data = bytes([rng.randrange(256)]) * 4096
    writes, durable = rng.random() < 0.5, rng.random() < 0.1
    while True:
        try:
            if h is None:
                h = nbd.NBD()
                h.set_uri_allow_local_file(True)
                h.connect_uri(uri)
            if writes: # what was not acknowledged is said again
                h.pwrite(data, at, nbd.CMD_FLAG_FUA if durable else 0)
                model[at] = data
            elif at in model:
                assert h.pread(4096, at) == model[at], at
            break
        except nbd.Error as e:
            if e.errno in ("ECONNREFUSED", "ENOENT"):
                refused += 1
                time.sleep(0.01)
            h = None
            assert time.monotonic() - last < 20, e
    now = time.monotonic()
    longest = max(longest, now - last)
    pauses += now - last > 0.05
    last = now
    done += 1
h.flush()
for at, data in model.items():
    assert h.pread(4096, at) == data, at
with open(out, "w") as f:
    f.write("%d %d %d %d\n" % (longest * 1000, refused, pauses, done))
END_OF_PYTHON
data="nbd+unix:///records/data?socket=$dir/sockets/data"
unit="nbd+unix:///records/unit?socket=$dir/units/unit"
tls="nbds://localhost:$nbd/records/tls?tls-certificates=$dir/pki"
guests() { # guests SECONDS: three of them; worst pause in ms in $worst
    local g its=() longest refused rest
    for g in data unit tls; do
        /usr/bin/python3 "$dir/guest" "${!g}" "$1" "$dir/guest.$g" >"$dir/guest.$g.log" 2>&1 &
        its+=($!)
    done
    "${@:2}"
    for g in "${its[@]}"; do wait "$g" || { cat "$dir"/guest.*.log; fail "a guest"; }; done
    worst=0
    for g in data unit tls; do
        read -r longest refused rest <"$dir/guest.$g"
        [ "$refused" -eq 0 ] || fail "the guest of $g was refused $refused times"
        [ "$longest" -lt "$worst" ] || worst=$longest
    done
}
again() { # again SIGNAL: the daemon ends by it, and the next one is ready
    local old
    old=$(daemon)
    rm -f "$dir/ready"
    kill "-$1" "$old"
    await 30 "another daemon" eval '[ "$(daemon)" != '"$old"' ] && [ -e "$dir/ready" ]'
}

echo "-- a history in the spool that takes its time: the hub is away"
for i in $(seq 60); do
    cli site mark records --label "n$i" >"$dir/out" 2>&1 || { cat "$dir/out"; fail "mark"; }
done

echo "-- restarts under load"
guests 8 eval 'for how in TERM TERM TERM; do sleep 1.2; again $how; done'
restarts=$worst
echo "-- and kills"
guests 8 eval 'for how in KILL KILL KILL; do sleep 1.2; again $how; done'
kills=$worst
[ "$restarts" -lt 1000 ] || fail "a restart kept a guest waiting for $restarts ms"
[ "$kills" -lt 1000 ] || fail "a kill kept a guest waiting for $kills ms"
logged "nbd $dir/sockets/data: going on with the socket of the relaisd before this one"
logged "nbd $dir/units/unit: going on with the socket that the service manager gave"
logged "nbd tcp:127.0.0.1:$nbd: going on with the socket that the service manager gave"

echo "-- QEMU, with reconnect-delay"
{
    for i in $(seq 0 99); do
        echo "aio_write -P $((i + 1)) $((64 + i))M 512k"
        echo "sleep 20"
    done
    echo aio_flush
    echo flush
    for i in $(seq 0 99); do echo "read -P $((i + 1)) $((64 + i))M 512k"; done
} >"$dir/cmds"
qemu-io --image-opts "driver=raw,file.driver=nbd,file.server.type=unix,file.server.path=$dir/sockets/data,file.export=records/data,file.reconnect-delay=5" \
    <"$dir/cmds" >"$dir/qemu" 2>&1 &
qemu=$!
for how in TERM KILL; do
    sleep 0.6
    again $how
done
wait $qemu || { cat "$dir/qemu"; fail "qemu-io over restarts"; }
! grep -iE "fail|error" "$dir/qemu" || fail "qemu-io over restarts"
[ "$(grep -c 'read [0-9]*/' "$dir/qemu")" -eq 100 ] || fail "qemu-io did not read all"

echo "-- an export that is configured no more gives its socket back"
sed -i "s|$dir/sockets/data|$dir/sockets/other|" "$dir/site/relais.conf"
again TERM
logged "no export is there; closed"
nbdinfo --size "nbd+unix:///records/data?socket=$dir/sockets/other" >"$dir/out" || fail "the new address"
! nbdinfo --size "$data" 2>"$dir/out" || fail "the old address answers"

start hub
mark site records after
for v in data unit tls; do
    restore site "records@$(cli site list records --json | jq -r '[.points[] | select(.label == "after") | .rp][0]')" $v "$dir/restored" --force
    same "$dir/$v" "$dir/restored"
done
kill "${pid[manager]}"
wait "${pid[manager]}" || { cat "$dir/manager.log"; fail "the manager"; }
unset "pid[manager]"
echo "three guests, worst pause: $restarts ms over 3 restarts, $kills ms over 3 kills; none was refused; QEMU over both"
