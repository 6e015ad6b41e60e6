# compare: beside a peer that everybody knows, on the same link, with the same data: both have the volume at the
# hub afterwards, byte for byte, and the report says what it took.
bench=$RELAIS_BUILD/bench/relais-bench
[ "$(id -u)" -eq 0 ] && [ -e /dev/net/tun ] || { echo "skipped: needs root and /dev/net/tun"; exit 0; }
for p in rsync /usr/sbin/sshd; do
    command -v "$p" >/dev/null || { echo "skipped: $p is missing; deploy/install-deps compare has it"; exit 0; }
done

"$bench" compare --volume synthetic --size 0.02 --rounds 1 --peers relais-live,relais-scan,rsync --verify \
    --dir "$dir/compare" --json "$dir/report" >"$dir/out" 2>&1 || { cat "$dir/out"; fail "compare ended with $?"; }
[ "$(grep -c "gives back the volume, byte for byte" "$dir/out")" -eq 3 ] || { cat "$dir/out"; fail "not all gave it back"; }

# A tenth of 20 MiB, half of it in the log; each byte of it that is new has to cross the wire once.
jq -e '.changed[0] as $n | $n > 1000000 and $n < 4000000 and (.peers | length == 3) and
       all(.peers[].runs[]; .seconds > 0 and .up > $n / 8 and .up < $n)' "$dir/report" >/dev/null ||
    { jq . "$dir/report"; fail "the report is not plausible"; }
jq -e '[.peers[] | select(.readable_by_host) | .name] == ["rsync"]' "$dir/report" >/dev/null ||
    fail "who could read at the hub is not told right"

# What cannot be done is said, with a status of its own.
status=0
"$bench" compare --peers nobody 2>"$dir/err" || status=$?
[ $status -ne 0 ] && grep -q 'there is no peer "nobody"' "$dir/err" || fail "nobody was compared"
find "$dir/compare" -name 'compare-*' | grep -q . && fail "the run left a directory behind"
echo "$(jq -r '[.peers[] | "\(.name) \(.runs[0].up) bytes in \(.runs[0].seconds * 100 | round / 100) s"] | join(", ")' "$dir/report")"
