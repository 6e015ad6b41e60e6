# rpo: a volume in service, cut every 2 s, over an emulated line of 20 Mbit/s and 40 ms of which its changes take
# three fifths: the RPO stays below 4 s in the median and 6 s at the 99th percentile. Minutes of it: bench/outage.
# alone: measures RPO
[ "$(id -u)" -eq 0 ] && [ -e /dev/net/tun ] || { echo "skipped: needs root and /dev/net/tun"; exit 0; }
command -v fio >/dev/null || fail "fio is missing: run deploy/install-deps test"
bench/outage --only rpo2 --minutes 0.6 --build "$RELAIS_BUILD" --dir "$dir" >"$dir/figures" || { cat "$dir/figures"; fail "RPO"; }
awk '/RPO .* wanted/ { sub(/^ *ok */, ""); line = line (line ? "; " : "") $0 } END { print line }' "$dir/figures"
