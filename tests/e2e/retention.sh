# retention: rules keep what they say and no less than the lock, pins and labels hold, what is taken away holds a lock
# longer, a quota that is reached loses nothing and is told, and damage of what is stored is found and named.

make_keys hub site
make_hub site
make_site site 'delta-max = 8MiB' <<END
[group records]
interval = never
[volume records/data]
path = $dir/data
END
hub_conf=$dir/hub/relais.conf
cp "$hub_conf" "$dir/hub.conf"
rules() { # rules KEEP LOCK [QUOTA]: what the hub's configuration says from its next start on
    sed "s/^\[hub\]/&\nkeep = $1\nlock = $2/; s/^\[peer site\]/&\nquota = ${3:-none}/" "$dir/hub.conf" >"$hub_conf"
}
again() { # again NAME: restarts it
    stop "$1"
    start "$1"
    await 20 "$1 up" answers "$1"
}
verdict() { # verdict EXPRESSION [ARGS]: of the hub's groups[0] as g; stay(g), goes(g): lists of RPs
    local expression=$1
    shift
    cli hub retention --json "$@" >"$dir/verdict" || fail "relais retention $*"
    /usr/bin/python3 - "$dir/verdict" "$expression" <<'END'
import json, sys
g = json.load(open(sys.argv[1]))[0]
def rps(g, goes): return [(r["first"], r["last"], r["why"]) for r in g["runs"] if r["goes"] == goes]
def stay(g): return rps(g, False)
def goes(g): return rps(g, True)
def why(g, rp): return next(r["why"] for r in g["runs"] if r["first"] <= rp <= r["last"])
sys.exit(0 if eval(sys.argv[2]) else f"{sys.argv[2]}: {json.dumps(g, indent=1)}")
END
}
point() { # point [LABEL]: changes the volume and cuts it
    scribble "$dir/data" 20 $RANDOM
    cli site mark records ${1:+--label "$1"} --wait >"$dir/site/mark" 2>&1 || { cat "$dir/site/mark"; fail "mark"; }
}

truncate -s 64M "$dir/data"
rules 'all ever' 1h
start hub
start site
await 20 "connection" sh -c "'$relais' -c '$dir/site/relais.conf' status | grep -q 'connected to hub'"
point
point "before the move"
for _ in 3 4 5 6; do point; done

# Everything stays, and is told to the site as well.
verdict 'g["stay_rps"] == 6 and g["go_rps"] == 0 and "all" in why(g, 1)'
[ "$(cli site retention --json | /usr/bin/python3 -c 'import json,sys; print(json.load(sys.stdin)[0]["stay_rps"])')" = 6 ] || fail "the site's view"
cli hub retention | grep -q 'keep = all ever, labelled ever; lock = 1 h' || fail "the table"

# A pin, by the site that owns it; nothing for what is not there.
cli site pin records@4 | grep -q 'RP 4 is pinned' || fail "pin"
status=0; cli site pin records@99 2>"$dir/out" || status=$?
[ $status -eq 66 ] && grep -q 'has no RP 99' "$dir/out" || { cat "$dir/out"; fail "a pin of nothing: $status"; }
verdict 'g["pins"][0]["by"] == "site" and "pinned" in why(g, 4)'
cli hub retention --now >/dev/null # the rules are noted

# Rules that keep less, and no lock: in force an hour later. A pin that is taken away, too.
rules 'all 1s' never
again hub
cli hub retention --now >/dev/null
verdict 'g["go_rps"] == 0 and g["lock"] == 3600 and g["said"] == "all 1s, labelled ever" and 3500 < g["until"] <= 3600'
cli hub unpin site/records@4 | grep -q 'stays pinned for .* more' || fail "unpin"
verdict '"pinned" in why(g, 4)'
cli site pin records@4 >/dev/null

# A hub that never said otherwise: the dry run names what goes, the pass does just that.
stop site
stop hub
rm -rf "$dir/store" "$dir/site/state" "$dir/site/spool"
[ -z "${RELAIS_TEST_CEPH_CONF:-}" ] || ceph_rados ls | while read -r object; do ceph_rados rm "$object"; done
rules 'all 1s' never
start hub
start site
await 20 "connection" sh -c "'$relais' -c '$dir/site/relais.conf' status | grep -q 'connected to hub'"
point
point "before the move"
for _ in 3 4 5 6; do point; done
cli hub pin site/records@4 >/dev/null
sleep 1.1
verdict 'g["go_rps"] == 3 and [r[0] for r in stay(g)] == [2, 4, 6] and "labelled" in why(g, 2) and "newest" in why(g, 6)' --dry-run
cp "$dir/verdict" "$dir/dry"
verdict 'goes(g) == goes(json.load(open(sys.argv[1].replace("verdict", "dry")))[0])' --now
cp "$dir/data" "$dir/copy"
restore site records@6 data "$dir/out6"
same "$dir/out6" "$dir/copy"

# Usage: what is stored, and shipped this month.
cli site usage --json >"$dir/usage"
/usr/bin/python3 - "$dir/usage" <<'END' || fail "usage: $(cat "$dir/usage")"
import json, sys
u = json.load(open(sys.argv[1]))[0]
assert u["site"] == "site" and u["rps"] >= 3 and u["bytes"] > 100000 and u["objects"] >= 3
assert u["months"][-1]["rps"] == 6 and u["months"][-1]["bytes"] >= u["bytes"]
END

# A quota that is reached: refused, told, nothing lost; with more of it replication goes on.
rules 'all 1s' never 1MiB
again hub
dd if=/dev/urandom of="$dir/data" bs=1M count=4 conv=notrunc status=none
cli site mark records >/dev/null
reached() { cli site status >"$dir/status" || true; grep -q 'quota reached at the hub: site has .* stored of 1.0 MiB' "$dir/status"; }
await 20 "the quota in the site's status" reached
status=0; cli site status >/dev/null || status=$?
[ $status -eq 1 ] || fail "status with a quota that is reached: exit status $status"
cli hub usage | grep -q '% of 1.0 MiB' || fail "usage with a quota"
stored=$(cli site usage --json | /usr/bin/python3 -c 'import json,sys; print(json.load(sys.stdin)[0]["bytes"])')
coming=$({ cli site status --json || true; } | /usr/bin/python3 -c 'import json,sys; print(json.load(sys.stdin)["groups"][0]["lag_bytes"])')
rules 'all 1s' never $(((stored + coming) * 105 / 102400))KiB # with RP 7 some 95 % of it
again hub
well() { cli site usage --json | grep -q '"rps": 7'; }
await 45 "RP 7 at the hub" well
low() { [ "$status" -eq 1 ] && grep -q 'of the quota of .* at the hub are taken, 9[0-9] %' "$dir/status"; }
status=0; cli site status >"$dir/status" || status=$?
low || { cat "$dir/status"; fail "the status near the quota: exit status $status"; }
rules 'all 1s' never 1GiB
again hub
cp "$dir/data" "$dir/copy"
restore site records@7 data "$dir/out7"
same "$dir/out7" "$dir/copy"

# Scrubbing finds a damaged and a missing object, names them, and sees that they are mended.
[ -z "${RELAIS_TEST_CEPH_CONF:-}" ] || exit 0 # objects are damaged as files here
cli hub scrub --now --wait | grep -q '; 0 damaged' || fail "scrub of a sound store"
mapfile -t objects < <(find "$dir/store" -type f -path '*records*' -name '*0000' -size +8k | sort)
[ ${#objects[@]} -ge 2 ] || fail "objects of the store: ${objects[*]}"
cp "${objects[0]}" "$dir/object"
/usr/bin/python3 - "${objects[0]}" <<'END'
import sys
f = open(sys.argv[1], "r+b")
f.seek(5000)
b = f.read(1)
f.seek(5000)
f.write(bytes([b[0] ^ 1]))
END
mv "${objects[1]}" "$dir/object2"
status=0; cli hub scrub --now --wait --json >"$dir/scrub" || status=$?
[ $status -eq 2 ] || { cat "$dir/scrub"; fail "scrub of a damaged store: exit status $status"; }
/usr/bin/python3 - "$dir/scrub" <<'END' || { cat "$dir/scrub"; fail "what scrub names"; }
import json, sys
s = json.load(open(sys.argv[1]))
assert {d["is"] for d in s["damaged"]} == {"damaged", "missing"} and all(d["site"] == "site" and d["rp"] for d in s["damaged"])
END
status=0; cli hub status >"$dir/status" || status=$?
[ $status -eq 2 ] && grep -q 'damaged objects' "$dir/status" || { cat "$dir/status"; fail "the status of a damaged store"; }

# When the volume was written anew, recovery points from then on do not need what is damaged: scrub says so, they can be
# restored, and the one that is named cannot. (The one whose index is missing would harm all later ones.)
mv "$dir/object2" "${objects[1]}"
damaged=$(/usr/bin/python3 -c 'import json,sys; print(next(d["rp"] for d in json.load(open(sys.argv[1]))["damaged"] if d["is"] == "damaged"))' "$dir/scrub")
dd if=/dev/urandom of="$dir/data" bs=1M count=64 conv=notrunc status=none
newest=$(cli site mark records --wait | sed -n 's/.*recovery point \([0-9]*\).*/\1/p')
status=0; cli hub scrub --now --wait --json >"$dir/scrub" || status=$?
[ $status -eq 2 ] || { cat "$dir/scrub"; fail "scrub of what was written anew: exit status $status"; }
/usr/bin/python3 - "$dir/scrub" "$damaged" "$newest" <<'END' || { cat "$dir/scrub"; fail "how far damage reaches"; }
import json, sys
d, = json.load(open(sys.argv[1]))["damaged"]
assert d["rp"] == int(sys.argv[2]) <= d["upto"] < int(sys.argv[3])
END
cp "$dir/data" "$dir/copy"
restore site "records@$newest" data "$dir/out-newest"
same "$dir/out-newest" "$dir/copy"
{ cli hub scrub || true; } | grep -q "RP $damaged to " || fail "the table of damage"
status=0; cli site verify "records@$damaged" >"$dir/out" 2>&1 || status=$?
[ $status -ne 0 ] || { cat "$dir/out"; fail "a damaged recovery point verifies"; }
cp "$dir/object" "${objects[0]}"
cli hub scrub --now --wait | grep -q '; 0 damaged' || fail "scrub of a mended store"
