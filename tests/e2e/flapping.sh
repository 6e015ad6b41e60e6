# flapping: a link that is cut at random for 0.1 to 5 s while a backlog drains, as a black hole or by
# resets: what the hub then has is exact, and a cut costs at most one window of bytes sent twice.
#
# RELAIS_FLAPPING_CUTS (8), RELAIS_FLAPPING_SEED (1). The campaign: RELAIS_FLAPPING_CUTS=200 tests/e2e/run flapping
# alone: measures goodput
cuts=${RELAIS_FLAPPING_CUTS:-8} seed=${RELAIS_FLAPPING_SEED:-1}
bench=$RELAIS_BUILD/bench/relais-bench
[ "$(id -u)" -eq 0 ] && [ -e /dev/net/tun ] || { echo "skipped: needs root and /dev/net/tun"; exit 0; }

make_keys hub site
hub_addr=10.77.0.2
# What 20 Mbit/s carry while the link is up, on average 1.5 s between cuts: it is never done before.
truncate -s $((cuts * 4 + 8))M "$dir/volume"
make_hub site
make_site site <<END
[group records]
interval = 0s
[volume records/vol]
path = $dir/volume
END

"$bench" wan --dir "$dir/link" bench/scenarios/fibre-20.conf >"$dir/link.out" 2>&1 &
pid[link]=$!
await 5 "the link" test -e "$dir/link/control"
nsenter --net="$dir/link/hub" "$relaisd" -c "$dir/hub/relais.conf" >>"$dir/hub/log" 2>&1 &
pid[hub]=$!
nsenter --net="$dir/link/site" "$relaisd" -c "$dir/site/relais.conf" >>"$dir/site/log" 2>&1 &
pid[site]=$!
await 10 "the site" answers site
mark site records empty

# Bytes on the wire tell of what is sent twice; the delta's own are known when it is sealed.
dd if=/dev/urandom of="$dir/volume" bs=1M count=$((cuts * 4)) conv=notrunc,fsync status=none
"$bench" wan --tell "$dir/link" set outage blackhole >/dev/null
cli site mark records --label flapping >/dev/null
/usr/bin/python3 tests/e2e/flap.py "$dir" "$relais" "$bench" "$cuts" "$seed" "${pid[site]}" >"$dir/flap" || fail "$(cat "$dir/flap")"
nsenter --net="$dir/link/site" "$relais" -c "$dir/site/relais.conf" restore records@latest vol "$dir/restored" \
    --key "$dir/site/restore.key" >"$dir/site/restore" 2>&1 || { cat "$dir/site/restore"; fail "restore"; }
same "$dir/volume" "$dir/restored"
tail -n 1 "$dir/flap"
