# stolen: whoever takes a whole site, memory included, cannot open what it shipped under earlier data keys,
# and with its link key removes or overwrites nothing at the hub. (An hour passes by asking for a rotation.)
[ -z "${RELAIS_TEST_CEPH_CONF:-}" ] || { echo "skipped: it looks at the files of a dir store"; exit 0; }
make_keys hub site
truncate -s 8M "$dir/volume"
scribble "$dir/volume" 100 1
make_hub site
make_site site "" <<END
[group records]
interval = never
[volume records/volume]
path = $dir/volume
END
mv "$dir/site/restore.key" "$dir/elsewhere.key" # where it belongs
start hub
start site
await 10 "the site answers" answers site
mark site records
scribble "$dir/volume" 30 2
mark site records
cli site rotate records >/dev/null || fail "rotate"
scribble "$dir/volume" 3 3
mark site records
delta() { # delta RP: the file as it is in the store
    cat "$dir"/store/sites/site/objects/records/0000000000000+/"$(printf '%03x' "$1")"+*
}
for rp in 1 2 3; do delta $rp >"$dir/$rp.delta"; done
/usr/bin/python3 tests/e2e/stolen_site.py open "${pid[site]}" "$dir/site" "$dir/elsewhere.key" \
    "$dir/1.delta" "$dir/2.delta" -- "$dir/3.delta" >"$dir/told" 2>&1 || { cat "$dir/told"; fail "something opens old deltas"; }
cat "$dir/told"

# A restart ends the data key of RP 3, too.
stop site KILL
start site
await 10 "the site answers" answers site
scribble "$dir/volume" 3 4
mark site records
delta 4 >"$dir/4.delta"
/usr/bin/python3 tests/e2e/stolen_site.py open "${pid[site]}" "$dir/site" "$dir/elsewhere.key" \
    "$dir/1.delta" "$dir/2.delta" "$dir/3.delta" -- "$dir/4.delta" >"$dir/told" 2>&1 || { cat "$dir/told"; fail "something opens RP 3"; }

# The link key: every message there is, about what is committed.
stop site
digest=$("$relais" inspect "$dir/2.delta" --json | jq -r .digest)
[ ${#digest} = 64 ] || fail "no digest of RP 2: $digest"
# The hub's own audit log grows meanwhile; what it said before must still be what it begins with. A pin moves the
# generation of the catalog and adds to the log of pins: there the entries are compared.
stored() {
    cli site list records --all --json
    (cd "$dir/store" && find sites -type f ! -path sites/hub/heads/hub.audit/\* ! -path 'sites/site/heads/records*' \
        -exec sha256sum {} + | sort)
}
audit=$dir/store/sites/hub/heads/hub.audit/catalog
[ -s "$audit" ] || fail "no audit log: the test is blind"
cp "$audit" "$dir/audit"
stored >"$dir/before"
/usr/bin/python3 tests/e2e/stolen_site.py destroy "$port" "$dir/site" site records 2 "$digest" engine/net/frame.h >"$dir/told" 2>&1 ||
    { cat "$dir/told"; fail "talking to the hub"; }
answers hub || fail "the hub does not answer any more"
stored >"$dir/after"
if ! comm -23 <(sort "$dir/before") <(sort "$dir/after") | { ! grep .; }; then fail "something in the store was changed or removed"; fi
cmp -n "$(stat -c %s "$dir/audit")" "$dir/audit" "$audit" || fail "the past of the audit log was changed"
grep -q "^Offer: " "$dir/told" || fail "nothing was offered: the test is blind"
mv "$dir/elsewhere.key" "$dir/site/restore.key"
restore site records@latest volume "$dir/restored"
same "$dir/volume" "$dir/restored"
echo "old deltas stay closed; $(grep -c : "$dir/told") kinds of messages removed and overwrote nothing"
