# priority: two groups on a full link of 20 Mbit/s (tbf between two network namespaces): the RPO of the one
# with high priority stays near its interval, and the low one still moves, by its weight when both are behind.
# alone: measures RPO and shares of a link
[ "$(id -u)" = 0 ] || { echo "skipped: network namespaces need root"; exit 0; }
make_keys hub site
net=relais-e2e-$$ near=re$$a far=re$$b
ip netns add "$net"
drop_net() { ip link del "$near" 2>/dev/null || true; ip netns del "$net" 2>/dev/null || true; }
trap 'drop_net; finish' EXIT
ip link add "$near" type veth peer name "$far" netns "$net"
ip addr add 10.221.77.1/30 dev "$near"
ip netns exec "$net" ip addr add 10.221.77.2/30 dev "$far"
ip netns exec "$net" ip link set "$far" up
ip link set "$near" up
tc qdisc add dev "$near" root tbf rate 20mbit burst 32k latency 100ms

truncate -s 400M "$dir/images"
truncate -s 80M "$dir/database"
noise() { # noise FILE MIB OFFSET-MIB: bytes that do not compress
    dd if=/dev/urandom of="$1" bs=1M count="$2" seek="$3" conv=notrunc status=none
}
make_hub site
sed -i 's/^listen = .*/listen = 10.221.77.2:'"$port"'/' "$dir/hub/relais.conf"
make_site site <<CONF
[group records]
interval = 2s
priority = high
[volume records/database]
path = $dir/database
[group imaging]
interval = never
priority = low
[volume imaging/images]
path = $dir/images
CONF
sed -i 's/^address = .*/address = 10.221.77.2:'"$port"'/' "$dir/site/relais.conf"
nsenter --net="/run/netns/$net" "$relaisd" -c "$dir/hub/relais.conf" >>"$dir/hub/log" 2>&1 &
pid[hub]=$!
start site
field() { cli site status --json 2>/dev/null | jq "$@" || true; } # what status says; a degraded state is no error
of() { field ".groups[] | select(.group == \"$1\") | .$2"; }
connected() { [ "$(field .connected)" = true ]; }
await 10 "the hub is connected" connected
await 20 "records are at the hub" test -n "$(of records rpo)"

# 300 MB of imaging: two minutes of the link. Records change by 400 KB a second, a fifth of it.
noise "$dir/images" 300 0
cli site mark imaging >/dev/null || fail "mark imaging"
began=$(of imaging shipped_bytes)
(
    for i in $(seq 25); do
        noise "$dir/database" 1 $((i % 16)) & sleep 2.5
    done
) &
writer=$!
sleep 4
for _ in $(seq 50); do
    of records rpo
    sleep 0.4
done | sort -n >"$dir/rpo"
moved=$(($(of imaging shipped_bytes) - began))
read -r median worst < <(awk '{v[NR] = $1} END {print v[int((NR + 1) / 2)], v[NR]}' "$dir/rpo")
awk -v m="$median" -v w="$worst" 'BEGIN {exit !(m <= 4 && w <= 6)}' ||
    fail "RPO of records: median $median s, worst $worst s, with an interval of 2 s"
[ $moved -gt 20000000 ] || fail "imaging moved by $moved bytes in 24 s only"
kill $writer 2>/dev/null || true
wait $writer 2>/dev/null || true

# Both are behind: 16 to 1.
noise "$dir/database" 64 16
behind() { [ "$(of records lag_bytes)" -gt 30000000 ]; }
await 20 "records are behind" behind
high=$(of records shipped_bytes) low=$(of imaging shipped_bytes)
sleep 10
behind || fail "the test is blind: records have caught up"
high=$(($(of records shipped_bytes) - high)) low=$(($(of imaging shipped_bytes) - low))
awk -v h=$high -v l=$low 'BEGIN {exit !(l > 0 && h / l > 10 && h / l < 25)}' ||
    fail "records had $high bytes of the link, imaging $low: not 16 to 1"

# And by hand: a pause stops it, a drain brings it home ahead of a rate.
cli site pause records >/dev/null || fail "pause"
[ "$(of records state)" = '"paused"' ] || fail "state $(of records state)"
cli site rate 64kbit >/dev/null || fail "rate"
tc qdisc del dev "$near" root
cli site drain records >/dev/null 2>&1 || fail "drain"
[ "$(of records lag_bytes)" -lt 10000000 ] || fail "drained, and $(of records lag_bytes) bytes behind"
stop site
echo "RPO of records $median s (worst $worst s), imaging $((moved * 8 / 24000000)) Mbit/s beside it; both behind: $(awk -v h=$high -v l=$low 'BEGIN {printf "%.1f", h / l}') to 1"
