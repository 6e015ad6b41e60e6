# micro: each piece of the engine is measured beside its primitive, and the report is whole.
bench=$RELAIS_BUILD/bench/relais-bench
"$bench" micro --json --repeats 3 --batch 1ms >"$dir/report"
jq -e '.repeats == 3 and .machine.processors > 0 and ([.cases[].area] | unique == ["hash", "index", "link", "nbd", "seal"])' \
    "$dir/report" >/dev/null || { jq . "$dir/report"; fail "the report lacks something"; }
jq -e 'all(.cases[]; .ours_ns.min > 0 and .ours_ns.min <= .ours_ns.median and .ours_ns.median <= .ours_ns.max and
       .bare_ns.min > 0 and .ratio.min <= .ratio.median and .ratio.median <= .ratio.max)' "$dir/report" >/dev/null ||
    { jq . "$dir/report"; fail "medians lie outside of what was measured"; }
# Nothing that compresses and encrypts is faster than copying; what does not shrink is not compressed hard.
jq -e '([.cases[] | select(.area == "hash" and .beside == "memcpy")][0].ratio.median > 1) and
       ([.cases[] | select(.what | startswith("seal noise"))][0].ratio.median < 1)' "$dir/report" >/dev/null ||
    { jq . "$dir/report"; fail "implausible ratios"; }
"$bench" micro seal --repeats 1 --batch 1ms | grep -q "seal 8 KiB, level 3" || fail "no table of one area"
status=0
"$bench" micro sealing 2>"$dir/err" || status=$?
[ $status -eq 64 ] && grep -q 'no area "sealing"' "$dir/err" || fail "an unknown area: status $status"
[ -z "$(find /var/tmp -maxdepth 1 -name 'relais-micro-*' -newer "$dir/report")" ] || fail "a directory was left behind"
echo "$(jq '.cases | length' "$dir/report") cases"
