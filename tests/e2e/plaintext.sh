# plaintext: bytes that are in a volume are found nowhere outside the site: not in the store, the spool,
# the logs, the state, or what crosses the network.
make_keys hub site
secret="Zoé-Béthencourt-dossier-1944-secret"
truncate -s 16M "$dir/volume"
for at in 0 1000 2000 3500; do
    for _ in $(seq 40); do printf '%s;' "$secret"; done | dd of="$dir/volume" bs=4096 seek=$at conv=notrunc status=none
done
make_hub site
make_site site "compression = 0" <<END
[group records]
interval = 0s
[volume records/volume]
path = $dir/volume
END
command -v tcpdump >/dev/null || fail "tcpdump is not installed"
tcpdump -i lo -U --immediate-mode -s 0 -w "$dir/wire.pcap" "tcp port $port" >"$dir/tcpdump.log" 2>&1 &
pid[tcpdump]=$!
await 10 "tcpdump listens" grep -q "listening on" "$dir/tcpdump.log"
start site # first: its deltas stay in the spool until the hub is there
await 10 "the site answers" answers site
cli site mark records --label first >"$dir/site/mark" 2>&1 || fail "mark: $(cat "$dir/site/mark")"
mkdir "$dir/spool-copy"
cp -r "$dir/site/spool/." "$dir/spool-copy/"
[ -n "$(find "$dir/spool-copy" -name '*.delta')" ] || fail "there is no delta in the spool to look at"
start hub
mark site records second
restore site records@latest volume "$dir/restored"
same "$dir/volume" "$dir/restored"
sleep 0.5
stop tcpdump
grep -qaF "$secret" "$dir/volume" || fail "the test is blind: the secret is not in the volume"
[ "$(stat -c %s "$dir/wire.pcap")" -gt 10000 ] || fail "the capture is empty"
places=("$dir/wire.pcap" "$dir/spool-copy" "$dir/site/spool" "$dir/site/state" "$dir/site/log" "$dir/hub")
[ ! -d "$dir/store" ] || places+=("$dir/store")
if [ -n "${RELAIS_TEST_CEPH_CONF:-}" ]; then
    mkdir "$dir/objects"
    ceph_rados ls | while read -r o; do ceph_rados get "$o" "$dir/objects/${o//\//_}"; done
    [ -n "$(ls "$dir/objects")" ] || fail "no objects in the pool"
    places+=("$dir/objects")
fi
# Any 12 bytes of it, so that a cut at an extent's edge does not hide it.
for piece in "Béthencourt-" "dossier-1944" "1944-secret;"; do
    if found=$(grep -rlaF "$piece" "${places[@]}"); then fail "plain text '$piece' in $found"; fi
done
echo "not found in ${#places[@]} places; capture of $(stat -c %s "$dir/wire.pcap") bytes"
