# sharing: Lens restores the imaging of Béthune, and not its records; a reader that comes later is let in
# by one that can read; one that is removed reads nothing that is sealed after.
make_keys hub bethune lens arras
for v in records imaging; do
    truncate -s 4M "$dir/$v"
    scribble "$dir/$v" 60 7
done
make_hub bethune lens arras
allow() { # allow PEER GROUPS: at the hub
    sed -i "/^\[peer $1\]/,/^sign-key/s|^\(sign-key = .*\)|\1\n${2:+reads = $2}|" "$dir/hub/relais.conf"
}
allow lens "bethune/imaging"
allow arras "bethune/imaging"
configure() { # configure READERS OF IMAGING
    make_site bethune "" <<END
[group records]
interval = never
[volume records/volume]
path = $dir/records
[group imaging]
interval = never
readers = $1
[volume imaging/volume]
path = $dir/imaging
END
}
configure "$(word lens restore)"
for n in lens arras; do # they only restore
    make_config "$n" "hub = hub" <<END
[peer hub]
link-key = $(word hub link)
address = 127.0.0.1:$port
[peer bethune]
link-key = $(word bethune link)
sign-key = $(word bethune sign)
END
done
start hub
start bethune
await 10 "the site answers" answers bethune
mark bethune records
mark bethune imaging shared
cp "$dir/imaging" "$dir/imaging-1"

denied() { # denied WORDS NAME GROUP@RP [ARGS]: and nothing is there after it
    local words=$1 n=$2 what=$3
    shift 3
    if cli "$n" restore "$what" volume "$dir/$n/stolen" --key "$dir/$n/restore.key" "$@" 2>"$dir/why"; then
        fail "$n restored $what"
    fi
    grep -q "$words" "$dir/why" || fail "$n, $what: expected '$words', got: $(cat "$dir/why")"
    [ ! -e "$dir/$n/stolen" ] || fail "$n has something of $what"
}

restore lens bethune/imaging@latest volume "$dir/lens/got"
same "$dir/imaging-1" "$dir/lens/got"
denied "peer lens may not read bethune/records" lens bethune/records@latest
# Even where the hub lets it, the key does not open the records.
stop hub
sed -i 's|^reads = bethune/imaging|reads = bethune/*|' "$dir/hub/relais.conf"
start hub
await 10 "the hub answers" answers hub
denied "none of your restore keys opens it" lens bethune/records@latest

# Arras is no reader yet. Béthune lets it in with its own restore key, whole history included.
denied "none of your restore keys opens it" arras bethune/imaging@latest
if cli arras readers grant bethune/imaging --to "$(word arras restore)" --key "$dir/arras/restore.key" 2>"$dir/why"; then
    fail "Arras let itself in"
fi
cli bethune readers grant imaging --to "$(word arras restore)" --key "$dir/bethune/restore.key" >"$dir/told" || fail "grant"
grep -q "can open 1 of 1 data keys: 1 more than before" "$dir/told" || fail "grant: $(cat "$dir/told")"
restore arras bethune/imaging@1 volume "$dir/arras/got"
same "$dir/imaging-1" "$dir/arras/got"
denied "none of your restore keys opens it" arras bethune/records@latest

# Lens leaves: from the restart on there is a new data key without it, within the same hour.
await 10 "Béthune ships" cli bethune status
stop bethune
configure "$(word arras restore)"
start bethune
await 10 "the site answers" answers bethune
scribble "$dir/imaging" 20 8
mark bethune imaging after
cp "$dir/imaging" "$dir/imaging-2"
denied "none of your restore keys opens it" lens bethune/imaging@latest
restore lens bethune/imaging@1 volume "$dir/lens/again"
same "$dir/imaging-1" "$dir/lens/again"
restore arras bethune/imaging@latest volume "$dir/arras/newer"
same "$dir/imaging-2" "$dir/arras/newer"
cli bethune readers list imaging >"$dir/told" || fail "readers list"
lens_fp=$("$relais" keygen --show "$dir/lens/restore.key" | sed -n 's/^fingerprint //p')
arras_fp=$("$relais" keygen --show "$dir/arras/restore.key" | sed -n 's/^fingerprint //p')
grep -q "^$lens_fp *1-1 (1) *1 *0 *no *not any more" "$dir/told" || { cat "$dir/told"; fail "the list on Lens"; }
grep -q "^$lens_fp reads nothing sealed after RP 1" "$dir/told" || { cat "$dir/told"; fail "the list on what Lens can still read"; }
grep -q "^$arras_fp *1-2 (2) *2 *1 *yes *readers of \[group\]" "$dir/told" || { cat "$dir/told"; fail "the list on Arras"; }

# A rotation on request: the next delta has another key, as the list tells.
cli bethune rotate imaging >/dev/null || fail "rotate"
scribble "$dir/imaging" 5 9
mark bethune imaging rotated
cli bethune readers list imaging >"$dir/told" || fail "readers list"
grep -q "^$arras_fp *1-3 (3) *3 *1 *yes" "$dir/told" || { cat "$dir/told"; fail "no new data key after the rotation"; }
filtered hub # also where librados has made threads
! grep "Operation not permitted" "$dir/hub/log" || fail "the filter refused what the hub needs"
echo "shared, granted, removed: $(grep -c . "$dir/told") lines of readers list as they should be"
