# outage: the hub is away until three times the spool's budget was written; the spool's file system is filled
# by somebody else; the hub's store is full; the hub is killed while it commits. Writes never fail, the spool
# keeps its budget, memory its bound, and every recovery point offered afterwards is exact.
for p in fio jq; do command -v $p >/dev/null || fail "$p is missing: run deploy/install-deps test"; done
budget=$((96 << 20)) memory=$((400 << 10)) # memory in KiB
make_keys hub site
truncate -s 64M "$dir/data"
make_hub site
make_site site "spool-budget = 96MiB
spool-reserve = 8MiB
delta-max = 16MiB
compression = 0" <<END
[group records]
interval = 1s
[volume records/data]
path = $dir/data
source = nbd
export = unix:$dir/socket
END
mkdir -p "$dir/site/spool" "$dir/store"
small=yes # file systems of their own for spool and store, where we may make them; a killed daemon's ring may hold them for a moment
mount -t tmpfs -o size=300m relais-e2e "$dir/site/spool" 2>/dev/null || small=no
[ $small = no ] || { at_end+=("umount -l '$dir/site/spool' '$dir/store'"); mount -t tmpfs -o size=1g relais-e2e "$dir/store"; }
start hub
start site
await 20 "the first recovery point" eval '[ "$(cli site status --json | jq ".groups[0].complete_rp")" -ge 1 ]'

status_of() { cli site status --json 2>/dev/null | jq -r "$1"; } # JQ EXPRESSION
drained() { [ "$(status_of '.groups[0].lag_bytes')" = 0 ] && [ "$(status_of '.groups[0].state')" = idle ]; }

watch_bounds() { # what the spool and the daemon take, until it is killed; the worst goes to files
    local worst_spool=0 worst_memory=0 now
    while sleep 0.1; do
        now=$(find "$dir/site/spool" -type f ! -name filler -printf '%b\n' 2>/dev/null | awk '{ n += $1 * 512 } END { print n + 0 }')
        [ "$now" -le $worst_spool ] || { worst_spool=$now; echo $now >"$dir/worst-spool"; }
        now=$(awk '/^VmRSS/ { print $2 }' "/proc/${pid[site]}/status" 2>/dev/null || echo 0)
        [ "${now:-0}" -le $worst_memory ] || { worst_memory=$now; echo $now >"$dir/worst-memory"; }
        status_of '.groups[0].state' >>"$dir/states" || true
    done
}

write_for() { # write_for SECONDS SEED [AREA]: random writes of 64 KiB at about 20 MiB/s; none may fail
    fio --name=outage --ioengine=nbd --uri="nbd+unix:///records/data?socket=$dir/socket" --rw=randwrite --bs=64k \
        --size="${3:-8m}" --iodepth=4 --rate=20m --time_based --runtime="$1" --randseed="$2" --refill_buffers \
        --output-format=json --output="$dir/fio-$2.json" >/dev/null || fail "a write failed (fio: $?)"
    [ "$(jq '.jobs[0].error' "$dir/fio-$2.json")" = 0 ] || fail "fio tells of an error"
}

kept=() # labels whose content is known
keep_point() { # keep_point LABEL: marks, when there is room to seal, and remembers what the volume was
    timeout 15 "$relais" -c "$dir/site/relais.conf" mark records --label "$1" >"$dir/mark" 2>&1 || return 0
    cp --sparse=always "$dir/data" "$dir/was-$1"
    kept+=("$1")
}

echo "-- the hub is away"
keep_point before
stop hub
watch_bounds &
pid[watch]=$!
for round in 1 2 3 4; do
    write_for 5 $round
    keep_point "round$round"
done
written=$(jq -s 'map(.jobs[0].write.io_bytes) | add' "$dir"/fio-[1-4].json)
[ "$written" -ge $((3 * budget)) ] || fail "only $written bytes were written"
merged=$(grep -c "the spool fills up" "$dir/site/log" || true)
[ "$merged" -ge 1 ] || fail "nothing was merged"

echo "-- it comes back, and is killed while it commits"
for round in 1 2 3; do
    start hub
    sleep "0.$((RANDOM % 9 + 1))"
    stop hub KILL
done
start hub
began=$SECONDS
await 40 "the spool is drained" drained
drain=$((SECONDS - began))
keep_point after

if [ $small = yes ] && [ -z "${RELAIS_TEST_CEPH_CONF:-}" ]; then # it is a dir store
    echo "-- the store's file system is full"
    dd if=/dev/zero of="$dir/store/filler" bs=1M status=none 2>/dev/null || true
    write_for 3 5
    [ "$(status_of '.groups[0].lag_bytes')" -gt 0 ] || fail "the hub took deltas that it cannot store"
    [[ "$(status_of '.groups[0].error')" = *"No space left"* ]] || fail "the status does not say why the hub takes nothing"
    rm "$dir/store/filler"
    await 60 "the hub has room again" drained
    keep_point store
fi

if [ $small = yes ]; then
    echo "-- somebody fills the spool's file system"
    dd if=/dev/zero of="$dir/site/spool/filler" bs=1M status=none 2>/dev/null || true
    write_for 4 6
    await 15 "the status says so, and why" eval \
        '[[ "$(status_of ".groups[0] | .state + \": \" + .error")" = "spool-full: "*"$dir/site/spool"* ]]'
    write_for 2 7
    rm "$dir/site/spool/filler"
    await 60 "sealing goes on" drained
    keep_point space
fi

echo "-- every recovery point is exact"
[ "$(<"$dir/worst-spool")" -le $budget ] || fail "the spool had $(<"$dir/worst-spool") bytes, over its budget of $budget"
[ "$(<"$dir/worst-memory")" -le $memory ] || fail "relaisd took $(<"$dir/worst-memory") KiB"
[ ${#kept[@]} -ge 4 ] || fail "only the marks ${kept[*]} could be made"
for label in "${kept[@]}"; do
    rp=$(cli site list records --json | jq -r ".points[] | select(.label == \"$label\") | .rp")
    [ -n "$rp" ] || fail "the recovery point labelled $label is gone"
    restore site "records@$rp" data "$dir/restored" --force
    same "$dir/was-$label" "$dir/restored"
done
points=$(cli site list records --json | jq -r '.points[] | select(.complete) | .rp')
for rp in $points; do
    cli site verify "records@$rp" --key "$dir/site/restore.key" >"$dir/verify" 2>&1 || { cat "$dir/verify"; fail "RP $rp"; }
done
slowest=$(jq -s 'map(.jobs[0].write.clat_ns.max) | max / 1e6 | round' "$dir"/fio-*.json)
echo "$((written >> 20)) MiB written to a spool of 96 MiB: $merged merges, at most $(($(<"$dir/worst-spool") >> 10)) KiB in it and" \
    "$(<"$dir/worst-memory") KiB of memory, slowest write $slowest ms; drained in $drain s;" \
    "$(wc -w <<<"$points") points verified, ${#kept[@]} compared"
