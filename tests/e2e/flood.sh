# flood: ten thousand connections of strangers who say nothing, nonsense, half a TLS handshake, or a whole one under
# a key that nobody knows: members come in and their recovery points go on, the hub's memory, its log and its audit log
# are bounded, and all is over when they go.
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
highest() { awk '/^VmHWM/ { print $2 }' "/proc/${pid[hub]}/status"; } # KiB
descriptors() { ls "/proc/${pid[hub]}/fd" | wc -l; }
before=$(highest)
fds=$(descriptors)
lines=$(wc -l <"$dir/hub/log")

openssl req -x509 -newkey ed25519 -nodes -days 3 -subj /CN=relais -keyout "$dir/key.pem" -out "$dir/cert.pem" 2>"$dir/out" ||
    fail "openssl: $(cat "$dir/out")"
entries() { cli hub audit --json | jq -s '[.[] | if type == "array" then .[] else (.entries // [.])[] end] | length'; }
noted=$(entries)
/usr/bin/python3 tests/e2e/flood.py "$port" 1500 10000 "$dir/key.pem" "$dir/cert.pem" >"$dir/flood" &
flood=$!
at_end+=("kill $flood")
sleep 1
came=0
while kill -0 $flood 2>/dev/null; do
    scribble "$dir/volume" 5 "$((came + 2))"
    mark site records
    # A connection of its own: it has to get by the strangers.
    cli site list records >"$dir/list" 2>&1 || fail "a member is kept out: $(cat "$dir/list")"
    came=$((came + 1))
    sleep 0.5 # the flood is to have the processor
done
# So does a daemon that was away.
stop site
start site
await 10 "the site is back" answers site
mark site records
read -r made open refused <"$dir/flood"
most=$(highest)
[ "$made" -ge 10000 ] || fail "only $made connections: no flood"
[ "$refused" -ge 100 ] || fail "only $refused handshakes came as far as to be refused"
[ $came -ge 3 ] || fail "members came in $came times only"
[ $((most - before)) -le 65536 ] || fail "the hub grew from $before to $most KiB"
await 15 "the strangers' descriptors are closed" eval '[ "$(descriptors)" -le $((fds + 4)) ]'
lines=$(($(wc -l <"$dir/hub/log") - lines))
[ "$lines" -le $((100 + 8 * came)) ] || fail "$lines lines in the hub's log"
scribble "$dir/volume" 5 999
noted=$(($(entries) - noted)) # of strangers four a minute; of the site what came and was asked for
[ $noted -le $((40 + 8 * came)) ] || fail "$noted entries in the audit log"
mark site records
restore site records@latest volume "$dir/restored"
same "$dir/volume" "$dir/restored"
echo "$made strangers, $open at once, $refused with an unknown key; members came in $came times; the hub grew by $((most - before)) KiB and $lines lines of log, $noted entries of the audit log"
