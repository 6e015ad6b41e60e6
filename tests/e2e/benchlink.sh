# relais-bench link: a scenario end to end gives sane figures and a page, what relais record lists is
# replayed byte for byte, and ctrl-C leaves nothing behind.
bench=$RELAIS_BUILD/bench/relais-bench
[ "$(id -u)" -eq 0 ] && [ -e /dev/net/tun ] || { echo "skipped: needs root and /dev/net/tun"; exit 0; }

left_behind() { # what a run leaves: its directory, or a process that knows its name
    compgen -G "$dir/relais-bench-*" >/dev/null && return 0
    local p
    for p in /proc/[0-9]*/cmdline; do
        if { tr '\0' ' ' <"$p"; } 2>/dev/null | grep -q "$dir/relais-bench-"; then return 0; fi
    done
    return 1
}

cat >"$dir/short.conf" <<END
[both]
rate = 50mbit
delay = 5ms
[run]
duration = 60s
compress = 10
warmup = 500ms
[at 20s]
outage = blackhole
[at 30s]
outage = none
[workload db]
kind = oltp
size = 64MiB
rate = 1MiB
interval = 1s
END

echo "== a short scenario, recorded while it runs"
"$bench" link --dir "$dir" --anyway --json "$dir/out.json" --report "$dir/out.html" "$dir/short.conf" \
    >"$dir/out.text" 2>"$dir/log" &
run=$!
at_end+=("kill $run 2>/dev/null")
await 20 "the run to measure" grep -q "bench: measuring" "$dir/log"
"$relais" -c "$dir"/relais-bench-*/site/relais.conf record db/db --for 2s --out "$dir/trace" >/dev/null 2>&1 ||
    fail "relais record"
wait $run || fail "the run: $(cat "$dir/log")"
left_behind && fail "the run left something behind"

sane() { jq -e "$1" "$dir/out.json" >/dev/null || fail "not so: $1"; }
sane '.relais_bench == 1 and .kind == "link"'
sane '.rpo_steady.p50_s > 0 and .rpo_steady.p50_s <= .rpo_steady.p99_s and .rpo_steady.p99_s < 10'
sane '.rpo.max_s >= 1' # the outage is in it
sane '.outages | length == 1 and .[0].end_s == 3 and .[0].real_length_s == 10 and .[0].caught_up_s > 0'
sane '.guests[0].with | .written_bytes > 5e6 and .written_bytes < 7e6 and .write.p50_s > 0'
sane '.bytes | .changed > 0 and .shipped > 0 and .wire_up > .shipped and .shipped < .changed'
sane '.site.cpu_s > 0 and .hub.cpu_s > 0 and .site.memory_peak_bytes > 1e6 and .spool_peak_bytes > 0'
sane '.restore.equal and .restore.seconds > 0'
sane '(.series.t_s | length) > 50 and (.series.t_s | length) == (.series.rpo_s | length)'
grep -q "After an outage of 10.0 s all was caught up" "$dir/out.text" || fail "no words: $(cat "$dir/out.text")"

echo "== the page"
/usr/bin/python3 - "$dir/out.html" <<'END' || fail "the page is not well-formed"
import html.parser, re, sys
text = open(sys.argv[1], encoding="utf-8").read()
class Page(html.parser.HTMLParser):
    open, plots = [], 0
    def handle_starttag(self, tag, attrs):
        if tag != "meta":
            self.open.append(tag)
        self.plots += tag == "svg"
    def handle_startendtag(self, tag, attrs):
        pass
    def handle_endtag(self, tag):
        assert self.open.pop() == tag, tag
p = Page()
p.feed(text)
assert p.open == [] and p.plots == 5, (p.open, p.plots)
assert "nan" not in re.sub(r"[a-z]*nan[a-z]+|[a-z]+nan[a-z]*", "", text.lower()) and "http" not in text
END

echo "== the trace, replayed"
cat >"$dir/replay.conf" <<END
[both]
rate = 50mbit
[run]
duration = 4s
warmup = 0s
restore = no
[workload again]
kind = trace
trace = $dir/trace
at = 500ms
speed = 2
END
"$bench" link --dir "$dir" --anyway --quiet --json "$dir/again.json" "$dir/replay.conf" >/dev/null ||
    fail "the replay"
/usr/bin/python3 - "$dir/trace" "$dir/again.json" <<'END' || fail "the replay wrote something else"
import json, sys
words = [l.split() for l in open(sys.argv[1]).read().splitlines()[4:]]
writes = [(int(w[2]), int(w[3])) for w in words if w[1] in "WZT"]
sectors = {s for off, n in writes for s in range(off // 4096, (off + n - 1) // 4096 + 1)}
got = json.load(open(sys.argv[2]))["guests"][0]["with"]
print(len(writes), "writes,", len(sectors), "sectors")
assert len(writes) > 100 and any(w[1] == "F" for w in words)
assert got["done"] and got["written_bytes"] == sum(n for _, n in writes), got
assert got["distinct_bytes"] == 4096 * len(sectors), got
END

echo "== ctrl-C"
rm "$dir/log" # whose lines are those of the first run
"$bench" link --dir "$dir" "$dir/short.conf" >/dev/null 2>"$dir/log" &
run=$!
await 20 "the run to measure" grep -q "bench: measuring" "$dir/log"
left_behind || fail "this test looks at the wrong place"
kill -INT $run
status=0
wait $run || status=$?
[ $status -eq 85 ] || fail "interrupted, it exited $status: $(cat "$dir/log")"
left_behind && fail "ctrl-C left something behind"

echo "== refusals name what is wrong"
echo "rate = 7 apples" >>"$dir/short.conf"
status=0
"$bench" link "$dir/short.conf" 2>"$dir/log" || status=$?
[ $status -eq 78 ] && grep -q "short.conf:17: rate = 7 apples: wanted is" "$dir/log" || fail "$status: $(cat "$dir/log")"
