# audit: who restored what is in the hub's log, the member whose data it is sees it, and a log that the
# hosting member changes, or writes anew, is found out.
make_keys hub bethune lens
truncate -s 4M "$dir/volume"
scribble "$dir/volume" 60 7
truncate -s 4M "$dir/records"
make_hub bethune lens
sed -i "/^\[peer lens\]/,/^sign-key/s|^\(sign-key = .*\)|\1\nreads = bethune/imaging|" "$dir/hub/relais.conf"
make_site bethune "" <<END
[group imaging]
interval = never
readers = $(word lens restore)
[volume imaging/volume]
path = $dir/volume
[group records]
interval = never
[volume records/volume]
path = $dir/records
END
make_config lens "hub = hub" <<END
[peer hub]
link-key = $(word hub link)
address = 127.0.0.1:$port
[peer bethune]
link-key = $(word bethune link)
sign-key = $(word bethune sign)
END
start hub
start bethune
await 10 "the site is up" cli bethune mark records
mark bethune imaging
restore lens bethune/imaging@latest volume "$dir/lens/got"
if cli lens list bethune/records >/dev/null 2>&1; then fail "lens may list records"; fi

told() { cli bethune audit --json | grep -q "\"kind\":\"fetch\".*\"peer\":\"lens\".*bethune/imaging"; }
await 10 "the restore is in the log" told
cli bethune audit --kind refuse --peer lens | grep -q "bethune/records.*may not read" || fail "the refusal is not shown"
cli lens audit | grep -q " connect .* bethune " && fail "lens sees when bethune connects"
cli hub audit | grep -q " connect .* bethune " || fail "the hub does not see all"
followed() { cli bethune audit verify >"$dir/verified" && grep -q "is among them unchanged" "$dir/verified"; }
await 15 "the site's daemon has followed the log" followed
witness=$(sed -n 's/.*--witness \([0-9]*:[0-9a-f]*\)$/\1/p' "$dir/verified")
cli hub audit verify --witness "$witness" >/dev/null

refused() { # refused WORDS NAME [ARGS]: relais audit verify says so
    local words=$1 n=$2
    shift 2
    if cli "$n" audit verify "$@" >"$dir/said" 2>&1; then fail "$n: not found out: $(cat "$dir/said")"; fi
    grep -q "$words" "$dir/said" || fail "$n: expected '$words', got: $(cat "$dir/said")"
}

if [ -z "${RELAIS_TEST_CEPH_CONF:-}" ]; then
    # One word in one entry, where it lies.
    stop hub
    cp -a "$dir/store" "$dir/store.before"
    f=$(grep -rl RLSAUDT1 "$dir/store/sites/hub/objects" | xargs grep -l "bethune/records" | head -n 1)
    sed -i 's|may not read bethune/records|may well read bethune/imaging|; s|may well read bethune/imaging|may all read bethune/records|' "$f"
    start hub
    await 10 "the hub answers" answers hub
    refused "entry [0-9]* is not the one that" hub
    refused "entry [0-9]* is not the one that" bethune
    # The whole log, written anew: consistent in itself.
    stop hub
    rm -r "$dir/store/sites/hub"
    start hub
    await 10 "the hub answers" answers hub
    cli hub audit verify >/dev/null || fail "a new log does not verify"
    refused "was there before\|written anew\|ends with" hub --witness "$witness"
    status() { cli bethune status >"$dir/status" || true; }
    caught() { status; grep -q "does not continue what this site was shown" "$dir/status"; }
    await 20 "the site's daemon finds it out" caught
    stop hub
    rm -r "$dir/store"
    mv "$dir/store.before" "$dir/store"
    start hub
    well() { status; ! grep -q "does not continue" "$dir/status"; }
    await 20 "with the true log all is well" well
    cli bethune audit verify >/dev/null
fi
stop bethune
stop hub
