# malicious: a hosting member that edits, swaps, rolls back, truncates, forks, drops, replays: each is
# refused by name, and no target changes.
[ -z "${RELAIS_TEST_CEPH_CONF:-}" ] || { echo "skipped: the editor knows dir stores"; exit 0; }
make_keys hub lens douai
for n in lens douai; do
    for v in records imaging; do
        truncate -s 2M "$dir/$n-$v"
        scribble "$dir/$n-$v" 80 "${#n}$((${#v}))"
    done
done
make_hub lens douai
for n in lens douai; do
    make_site "$n" "compression = 0" <<END
[group records]
interval = never
[volume records/volume]
path = $dir/$n-records
[group imaging]
interval = never
[volume imaging/volume]
path = $dir/$n-imaging
END
done
start hub
start lens
start douai
for n in lens douai; do await 10 "$n answers" answers "$n"; done
for n in lens douai; do
    mark "$n" records
    mark "$n" imaging
done
another_rp() { # another_rp SEED
    scribble "$dir/lens-records" 20 "$1"
    cli lens mark records --wait >/dev/null || fail "mark"
}
another_rp 2
another_rp 3
# RP 4 twice, both signed by the site: it came back from an old backup in between.
stop lens
stop hub
for d in store lens/state lens/spool lens-records; do cp -a "$dir/$d" "$dir/${d//\//-}-at-3"; done
again() { # again: the hub and the site as they were at RP 3
    local d
    for d in store lens/state lens/spool lens-records; do
        rm -rf "${dir:?}/$d"
        cp -a "$dir/${d//\//-}-at-3" "$dir/$d"
    done
    start hub
    start lens
    await 10 "lens answers" answers lens
}
again
another_rp 40
another_rp 50
stop lens
stop hub
mv "$dir/store" "$dir/forked"
again
another_rp 4
cp "$dir/lens-records" "$dir/lens-records-4"
stop lens # so that only what the reader knows counts, until it is asked below
restore lens records@latest volume "$dir/good"
same "$dir/lens-records-4" "$dir/good"
stop hub
cp -a "$dir/store" "$dir/honest"
cp -a "$dir/state-home" "$dir/honest-state"

# The target is somebody's file: what a refused restore does to it.
target=$dir/target
echo "a file that must not change" >"$target"
before=$(stat -c '%i %s %Y %Z' "$target"; sha256sum <"$target")
attacks=0
begin() { # begin [STORE]: an honest store, and what its reader remembers
    [ -z "${pid[hub]:-}" ] || stop hub
    rm -rf "${dir:?}/store" "$dir/state-home" "$target.relais-part" "$target.relais-state"
    cp -a "${1:-$dir/honest}" "$dir/store"
    cp -a "$dir/honest-state" "$dir/state-home"
}
serve() {
    start hub
    await 10 "the hub answers" answers hub
}
tamper() { /usr/bin/python3 tests/e2e/hostile_store.py "$dir/store" "$@" || fail "tamper $*"; }
refused() { # refused STATUS WORDS WHAT ARGS...: the restore ends so, and says so
    local want=$1 words=$2 status=0
    shift 2
    cli lens restore "$@" volume "$target" --force --key "$dir/lens/restore.key" >"$dir/out" 2>"$dir/why" || status=$?
    [[ $status =~ ^($want)$ ]] || fail "$attack: status $status, not $want: $(cat "$dir/out" "$dir/why")"
    grep -qE -- "$words" "$dir/why" || fail "$attack: not named ($words): $(cat "$dir/why")"
    [ "$(stat -c '%i %s %Y %Z' "$target"; sha256sum <"$target")" = "$before" ] || fail "$attack: the target changed"
    attacks=$((attacks + 1))
}
attack() { # attack STATUS WORDS VERB ARGS...
    attack="$3 ${*:4}"
    begin
    tamper "${@:3}"
    serve
    refused "$1" "$2" records@latest
}

attack 77 "volume volume, [0-9]+ KiB at byte [0-9]+, from the delta of RP 1: .*tag" flip lens records 1 3000
attack 77 "manifest of RP 3: the manifest is not signed by" flip lens records 3 manifest
attack 80 "lens/records@2: .*index" flip lens records 2 index
attack "8[01]|65" "RP [23]" swap lens records 2 3
attack 80 "RP 1: .*shorter|RP 1.*bytes" cut lens records 1 50
attack 66 "RP 2" lose lens records 2
attack 81 "ends with RP 3, but RP 4 .* was verified from here before: it was rolled back or cut off" rollback lens records 3
attack 81 "from RP 1 to RP 3-3: a recovery point is missing" drop lens records 2
attack 81 "RP 2.*missing or out of order" stale lens records 3 2
attack 81 "it is a manifest of lens/imaging" replay lens imaging lens records
attack 77 "manifest of RP 1: the manifest is not signed by" replay douai records lens records

attack="a forked history"
begin "$dir/forked"
serve
refused 81 "RP 4 is [0-9a-f]+ at the hub, but [0-9a-f]+ was verified from here before: there are two histories" records@latest
attack="a history spliced of two"
begin "$dir/forked"
tamper splice lens records 4 "$dir/honest"
rm -rf "$dir/state-home"
serve
refused 81 "manifest of RP 5: its parent is [0-9a-f]+, but RP 4 is [0-9a-f]+: history was forked or rewritten" records@latest

# What the hub says in its own words (time, label) gives way to what the site signed.
begin
tamper embellish lens records 4
serve
cli lens list records --json >"$dir/out" || fail "list of an embellished catalog"
grep -q "trust me" "$dir/out" && fail "a label that nobody signed is shown"
grep -q '"cut": 41' "$dir/out" && fail "a time that nobody signed is shown"

# A reader that never saw RP 4 cannot know. The site can: its daemon refuses to go on, and verify tells.
begin
tamper rollback lens records 3
rm -rf "$dir/state-home"
serve
start lens
await 20 "lens finds the hub rolled back" grep -q "rolled back" "$dir/lens/log"
cli lens verify records --key "$dir/lens/restore.key" >"$dir/out" 2>"$dir/why" && fail "verify believes the hub"
grep -q "ends with RP 3, but this site knows RP 4 committed" "$dir/why" || fail "verify: $(cat "$dir/why")"
# Whoever has nothing better takes what there is, knowingly.
cli lens restore records@latest volume "$dir/older" --rolled-back --key "$dir/lens/restore.key" >"$dir/out" 2>"$dir/why" ||
    fail "restore --rolled-back: $(cat "$dir/why")"
grep -q "going on as asked, although" "$dir/why" || fail "--rolled-back says nothing"
same "$dir/lens-records-at-3" "$dir/older"
stop lens

# verify names all that is wrong, not the first only.
begin
tamper flip lens records 1 3000
tamper flip lens records 2 3000
tamper flip lens records 3 3000
serve
cli lens verify records --key "$dir/lens/restore.key" >"$dir/out" 2>"$dir/why" && fail "verify of damaged deltas"
for rp in 1 2 3; do grep -q "damaged: .*from the delta of RP $rp" "$dir/why" || fail "verify: RP $rp is not named: $(cat "$dir/why")"; done
begin
tamper flip lens records 1 manifest
tamper lose lens records 3
serve
cli lens verify records --chain >"$dir/out" 2>"$dir/why" && fail "verify of damaged manifests"
for rp in 1 3; do grep -q "damaged: .*RP $rp" "$dir/why" || fail "verify --chain: RP $rp is not named: $(cat "$dir/why")"; done
grep -q "2 of 4 places of the history are damaged" "$dir/why" || fail "verify --chain: $(cat "$dir/why")"

begin
serve
restore lens records@latest volume "$target" --force
same "$dir/lens-records-4" "$target"
echo "$attacks attacks refused by name, the target untouched; all damage told by verify"
