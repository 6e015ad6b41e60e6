# plan: what is foretold of a scenario and of a day is what arithmetic says, what cannot be foretold is refused, and
# a run of some seconds agrees well enough to show that both speak of the same thing.
bench=$RELAIS_BUILD/bench/relais-bench

cat >"$dir/db.conf" <<'END'
[run]
duration = 10min
warmup = 5s
baseline = 0s
[both]
rate = 20mbit
delay = 20ms
[workload db]
kind = oltp
size = 256MiB
rate = 1MiB
interval = 5s
END
printf '[at 2min]\noutage = blackhole\n[at 4min]\noutage = none\n' >"$dir/outage.conf"
"$bench" plan --json "$dir/db.conf" "$dir/outage.conf" >"$dir/plan"
# Half an interval and what it takes to ship one, in the median; two minutes of outage leave two minutes' worth, which
# take what the link has to spare.
jq -e '(.shipped_bytes / .seconds) as $pace | (.capacity_bits / 8) as $link | .outages[0] as $o |
       .rpo_steady.p50_s > 2.5 and .rpo_steady.p50_s < 7.5 and .rpo_steady.p99_s < 12 and (.outages | length) == 1 and
       ($o.end_s - $o.begin_s == 120) and ($o.backlog_bytes / ($pace * 120) | . > 0.9 and . < 1.15) and
       ($o.caught_up_s / ($pace * 120 / $link) | . > 0.8 and . < 1.3)' "$dir/plan" >/dev/null ||
    { jq . "$dir/plan"; fail "the plan is not what arithmetic says"; }
"$bench" plan "$dir/db.conf" | grep -q "it suffices" || fail "a link with much to spare does not suffice"
"$bench" plan --set both.rate=1mbit "$dir/db.conf" | grep -q "does NOT suffice" || fail "a thin link suffices"

cat >"$dir/day.conf" <<'END'
[changes]
00h00 = 100KiB
08h00 = 2MiB
18h00 = 300KiB
distinct = 80% 5s
distinct = 40% 1h
sealed = 40%
interval = 5s
outage = 2h
END
"$bench" plan --json --changes "$dir/day.conf" --set both.rate=20mbit --set both.delay=10ms >"$dir/day"
# 8 h of 100 KiB, 10 h of 2 MiB, 6 h of 300 KiB are 81,126 MiB; four fifths of it distinct, of that two fifths sealed.
jq -e '(.written_bytes / 1048576 | . > 80000 and . < 82000) and (.shipped_bytes / .written_bytes | . > 0.31 and . < 0.34) and
       .suffices and .caught_up_s > 600 and .caught_up_s < 3600 and .sensible_interval_s <= 5' "$dir/day" >/dev/null ||
    { jq . "$dir/day"; fail "the day is not what arithmetic says"; }

refused() { # refused STATUS TEXT ARGS...
    local want=$1 text=$2 got=0
    shift 2
    "$bench" plan "$@" >"$dir/out" 2>"$dir/err" || got=$?
    [ $got -eq "$want" ] && grep -q "$text" "$dir/err" || { cat "$dir/err"; fail "$*: status $got"; }
}
refused 78 "has no rate" --set workload.db.rate=full "$dir/db.conf"
refused 64 "which link" --json
echo "08h00 = fast" >"$dir/bad" && sed -i '1i [changes]' "$dir/bad"
refused 78 "bad:2: 08h00 = fast: wanted is bytes a second" --changes "$dir/bad" "$dir/db.conf"

[ "$(id -u)" -eq 0 ] && [ -e /dev/net/tun ] || { echo "the run was skipped: needs root and /dev/net/tun"; exit 0; }
status=0
"$bench" plan --check --anyway --json --set run.duration=8s --set run.warmup=2s --set workload.db.interval=1s \
    --set workload.db.size=64MiB "$dir/db.conf" >"$dir/check" 2>"$dir/err" || status=$?
[ $status -le 1 ] || { cat "$dir/err"; fail "the check ended with $status"; }
# Some seconds on a busy machine show no 15 %; the figures are of the same run, within a factor.
jq -e '(.checks | length) == 3 and all(.checks[]; .measured > 0 and .deviation > -0.5 and .deviation < 1)' \
    "$dir/check" >/dev/null || { jq .checks "$dir/check"; fail "plan and run have nothing in common"; }
echo "$(jq -r '[.checks[] | "\(.what) off by \(.deviation * 100 | round) %"] | join(", ")' "$dir/check")"
