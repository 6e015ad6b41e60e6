# kill: SIGKILL of site or hub at any moment of replication, 50 times: no repair command, no wrong byte,
# no recovery point lost that was acknowledged.
rounds=${RELAIS_KILL_ROUNDS:-50}
make_keys hub site
truncate -s 96M "$dir/volume"
scribble "$dir/volume" 2000 1
make_hub site
make_site site "delta-max = 8MiB" <<END
[group records]
interval = 1s
[volume records/volume]
path = $dir/volume
END
start hub
start site
await 30 "the first recovery point" eval '[ "$(cli site list records --json 2>/dev/null | jq "[.points[] | select(.complete)] | length")" -ge 1 ]'

acknowledged=0
for ((round = 1; round <= rounds; round++)); do
    scribble "$dir/volume" $((20 + RANDOM % 400)) $round
    sleep "0.$((RANDOM % 10))$((RANDOM % 10))"
    victim=site
    [ $((RANDOM % 2)) -eq 0 ] || victim=hub
    stop $victim KILL
    start $victim
    if [ $((round % 5)) -eq 0 ]; then
        await 20 "both daemons answer" eval 'answers site && answers hub'
        mark site records "round-$round"
        rp=$(cli site list records --json | jq -r ".points[] | select(.label == \"round-$round\") | .rp")
        [ -n "$rp" ] || fail "round $round: the labelled recovery point is not listed"
        [ "$rp" -gt "$acknowledged" ] || fail "round $round: recovery point $rp after $acknowledged"
        acknowledged=$rp
        restore site "records@$rp" volume "$dir/restored" --force
        same "$dir/volume" "$dir/restored"
        cp --sparse=always "$dir/volume" "$dir/copy-$rp"
    fi
done
# Every labelled recovery point is still there and still exact.
for copy in "$dir"/copy-*; do
    restore site "records@${copy##*-}" volume "$dir/restored" --force
    same "$copy" "$dir/restored"
done
echo "$rounds kills, $(ls "$dir"/copy-* | wc -l) recovery points restored twice, all exact"
