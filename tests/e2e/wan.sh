# wan: the emulated link is what its profile says; a reset ends connections at both ends; killed, it
# leaves no process and no namespace behind.
# alone: measures delay and loss
bench=$RELAIS_BUILD/bench/relais-bench
[ "$(id -u)" -eq 0 ] && [ -e /dev/net/tun ] || { echo "skipped: needs root and /dev/net/tun"; exit 0; }

status=0
"$bench" wan --check "bench/scenarios/adsl.conf" >"$dir/check" || status=$?
# 3: the machine was too busy to say; the rest of this test does not depend on speed.
[ $status -eq 0 ] || [ $status -eq 3 ] || { cat "$dir/check"; fail "the link is not what was set"; }

cat >"$dir/hub.py" <<'END'
import socket
c, _ = socket.create_server(("10.77.0.2", 7420)).accept()
try:
    while c.recv(65536):
        pass
    print("ended")
except ConnectionResetError:
    print("reset")
END
cat >"$dir/site.py" <<'END'
import socket, subprocess, sys, time
for _ in range(100):
    try:
        c = socket.create_connection(("10.77.0.2", 7420))
        break
    except ConnectionRefusedError:
        time.sleep(0.05)
c.sendall(bytes(200000))
subprocess.run(sys.argv[1:] + ["set", "outage", "reset"], check=True, stdout=subprocess.DEVNULL)
try:
    while True:
        c.sendall(bytes(1000))
        time.sleep(0.01)
except (ConnectionResetError, BrokenPipeError):
    print("reset")
END
cat >"$dir/both" <<END
nsenter --net=\$RELAIS_WAN/hub /usr/bin/python3 $dir/hub.py >$dir/hub.out &
nsenter --net=\$RELAIS_WAN/site /usr/bin/python3 $dir/site.py $bench wan --tell \$RELAIS_WAN >$dir/site.out
wait
nsenter --net=\$RELAIS_WAN/hub sleep 1000 & # what a careless script leaves
END
status=0
"$bench" wan "bench/scenarios/fibre-20.conf" -- bash "$dir/both" || status=$?
[ $status -eq 0 ] || [ $status -eq 3 ] || fail "the command between the ends exited $status"
[ "$(cat "$dir/site.out" "$dir/hub.out" | xargs)" = "reset reset" ] || fail "a reset was not felt at both ends"

"$bench" wan --dir "$dir/link" "bench/scenarios/fibre-20.conf" >/dev/null &
pid[link]=$!
await 5 "the link" test -e "$dir/link/control"
space=$(stat -Lc %i "$dir/link/hub")
nsenter --net="$dir/link/hub" bash -c 'touch "$1"; sleep 1000' guest "$dir/guest" &
pid[guest]=$!
await 5 "somebody at the hub's end" test -e "$dir/guest"
kill -INT "${pid[link]}"
wait "${pid[link]}" || fail "ended by SIGINT, the link exits $?"
[ ! -e "$dir/link" ] || fail "$dir/link is still there"
for p in /proc/[0-9]*; do
    [ "$(stat -Lc %i "$p/ns/net" 2>/dev/null)" != "$space" ] || fail "$p still lives at the hub's end"
done
echo "wan: $(head -n 1 "$dir/check"): rate, delay and loss as set; resets at both ends; nothing left behind"
