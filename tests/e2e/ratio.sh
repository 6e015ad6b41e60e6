# ratio: a delta costs at most 1.02 times the zstd frames of its extents, for scattered 4 KiB pages too.
make_keys hub site
truncate -s 256M "$dir/volume"
/usr/bin/python3 - "$dir/volume" 1 <<'END'
import os, random, sys
# Database pages: half of each is rows of text, the rest random, so that a page is a frame of ~2 KiB.
rng = random.Random(5)
fd = os.open(sys.argv[1], os.O_RDWR)
for page in range(0, 65536, 9):
    os.pwrite(fd, (b"%08d;admission;" % page * 140)[:2000] + rng.randbytes(2096), page * 4096)
END
make_hub site
make_site site <<END
[group records]
interval = 0s
[volume records/volume]
path = $dir/volume
END
start site
await 10 "the site answers" answers site
cli site mark records --label seed >/dev/null || fail "mark"
delta=$(find "$dir/site/spool" -name '*.delta')
cli site inspect "$delta" --json >"$dir/inspect.json" || fail "inspect"
frames=$(jq -r .frame_bytes "$dir/inspect.json")
extents=$(jq -r .extent_count "$dir/inspect.json")
file=$(stat -c %s "$delta")
[ "$extents" -ge 7000 ] || fail "only $extents extents"
# And the frames are what zstd itself makes of such a page.
awk -v a="$file" -v b="$frames" 'BEGIN {exit !(a <= 1.02 * b)}' || fail "delta of $file bytes for $frames bytes of frames"
start hub
mark site records shipped
echo "$file bytes for $frames bytes of frames: $(awk -v a="$file" -v b="$frames" 'BEGIN {printf "%.4f", a / b}') ($extents extents)"
