# flood: thousands of connections of strangers who say nothing, or nonsense: members come in and their
# recovery points go on, the hub's memory and its log are bounded, and all is over when they go.
# alone: its load would be the others' too
make_keys hub site
make_hub site
sed -i 's/^\[hub\]/[hub]\nconnections = 8/' "$dir/hub/relais.conf"
truncate -s 8M "$dir/volume"
scribble "$dir/volume" 100 1
make_site site <<END
[group records]
interval = 1s
[volume records/volume]
path = $dir/volume
END
start hub
start site
await 10 "the site answers" answers site
mark site records
resident() { awk '/^VmRSS/ { print $2 }' "/proc/${pid[hub]}/status"; } # KiB
descriptors() { ls "/proc/${pid[hub]}/fd" | wc -l; }
before=$(resident)
fds=$(descriptors)
lines=$(wc -l <"$dir/hub/log")

/usr/bin/python3 tests/e2e/flood.py "$port" 12 1000 >"$dir/flood" &
flood=$!
at_end+=("kill $flood")
sleep 1
most=0
came=0
while kill -0 $flood 2>/dev/null; do
    scribble "$dir/volume" 5 "$((came + 2))"
    mark site records
    # A connection of its own: it has to get by the strangers.
    cli site list records >"$dir/list" 2>&1 || fail "a member is kept out: $(cat "$dir/list")"
    came=$((came + 1))
    now=$(resident)
    [ "$now" -le "$most" ] || most=$now
done
# So does a daemon that was away.
stop site
start site
await 10 "the site is back" answers site
mark site records
read -r made open <"$dir/flood"
[ "$made" -ge 3000 ] || fail "only $made connections: no flood"
[ $came -ge 3 ] || fail "members came in $came times only"
[ $((most - before)) -le 49152 ] || fail "the hub grew from $before to $most KiB"
await 15 "the strangers' descriptors are closed" eval '[ "$(descriptors)" -le $((fds + 4)) ]'
lines=$(($(wc -l <"$dir/hub/log") - lines))
[ "$lines" -le $((100 + 8 * came)) ] || fail "$lines lines in the hub's log"
scribble "$dir/volume" 5 999
mark site records
restore site records@latest volume "$dir/restored"
same "$dir/volume" "$dir/restored"
echo "$made strangers, $open at once; members came in $came times; the hub grew by $((most - before)) KiB and $lines lines of log"
