# compact: the hub is killed at every step of a pass that folds what nobody keeps; every recovery point that
# stays restores exactly, and after the next pass the store holds nothing that the catalog does not name.
make_keys hub site
truncate -s 24M "$dir/data"
make_hub site
sed -i 's/^\[hub\]$/[hub]\nkeep = labelled ever\nlock = never\ncompact-interval = never\ncompact-rate = 0/' "$dir/hub/relais.conf"
make_site site <<END_OF_SITE
[group records]
interval = never
[volume records/data]
path = $dir/data
END_OF_SITE

labels=0
tell() { # tell: two recovery points that nobody keeps, and one that bears a label
    local i
    for i in 1 2 3; do
        scribble "$dir/data" 8 "$((labels * 10 + i))"
        if [ "$i" -lt 3 ]; then
            cli site mark records --wait >/dev/null || fail "mark"
        else
            labels=$((labels + 1))
            mark site records "kept-$labels"
            cp --sparse=always "$dir/data" "$dir/kept-$labels"
        fi
    done
}

labelled() { # labelled N: the number of the recovery point with that label
    cli site list records --json | /usr/bin/python3 -c '
import json, sys
for p in json.load(sys.stdin)["points"]:
    if p["label"] == sys.argv[1]:
        print(p["rp"])' "kept-$1"
}

exact() { # exact N...
    local n
    for n in "$@"; do
        restore site "records@$(labelled "$n")" data "$dir/target" --force
        same "$dir/kept-$n" "$dir/target"
    done
}

no_orphans() { # each delta of this test is one object
    local points objects
    points=$(cli site list records --all --json | /usr/bin/python3 -c 'import json, sys; print(len(json.load(sys.stdin)["points"]))')
    if [ -n "${RELAIS_TEST_CEPH_CONF:-}" ]; then
        objects=$(ceph_rados ls | grep -c '^o/records/[0-9a-f]\{16\}/')
    else
        objects=$(find "$dir/store/sites/site/objects/records" -type f | wc -l)
    fi
    [ "$points" -eq "$objects" ] || fail "$1: $objects objects for $points deltas"
}

passed() { # a pass to which the site was there; what it said is in $dir/pass
    cli hub compact --wait >"$dir/pass" 2>&1 && ! grep -q "wait for their sites" "$dir/pass"
}

killed_at() { # killed_at STEP: a pass of a hub that dies there
    local status=0
    [ -z "${pid[hub]:-}" ] || stop hub
    "$relaisd" -c "$dir/hub/relais.conf" --die-at "$1" >>"$dir/hub/log" 2>&1 &
    pid[hub]=$!
    await 10 "the hub" answers hub
    until ! kill -0 "${pid[hub]}" 2>/dev/null; do
        passed && fail "$1 was never reached: $(cat "$dir/pass")"
        sleep 0.1
    done
    wait "${pid[hub]}" 2>/dev/null || status=$?
    unset "pid[hub]"
    [ $status -eq 137 ] || fail "$1: the hub ended with status $status"
}

start hub
await 10 "the hub" answers hub
start site
await 10 "the site" answers site
tell
steps=(compact:opened compact:parts compact:signed compact:written compact:switched compact:removed orphans:found
    orphans:moved orphans:removed)
[ -n "${RELAIS_TEST_CEPH_CONF:-}" ] || steps+=(splice:written splice:moved)
for step in "${steps[@]}"; do
    tell
    case $step in
    orphans:*) killed_at compact:written ;; # which leaves some behind
    esac
    killed_at "$step"
    start hub
    await 10 "the hub" answers hub
    await 20 "a pass after $step" passed
    no_orphans "$step"
    exact "$labels"
done
passed || fail "$(cat "$dir/pass")"
grep -q "^0 deltas of 0 B became 0 of 0 B; 0 objects" "$dir/pass" || fail "a pass with nothing to do: $(cat "$dir/pass")"
seq=$(seq 1 "$labels")
# shellcheck disable=SC2086
exact $seq
echo "killed at ${#steps[@]} steps of compaction; $labels recovery points exact, no orphan"
