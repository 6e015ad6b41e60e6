# large: memory does not grow with the volume: a sparse 4 TiB volume with data at both ends and scattered.
make_keys hub site
truncate -s 4T "$dir/volume"
/usr/bin/python3 - "$dir/volume" <<'END'
import os, random, sys
rng = random.Random(9)
fd = os.open(sys.argv[1], os.O_RDWR)
size = os.fstat(fd).st_size
for at in [0, size - 4096] + [rng.randrange(size // 4096) * 4096 for _ in range(20000)]:
    os.pwrite(fd, rng.randbytes(4096), at)
END
make_hub site
make_site site <<END
[group imaging]
interval = 0s
[volume imaging/volume]
path = $dir/volume
END
start hub
start site
await 10 "the site answers" answers site
mark site imaging seed
for d in hub site; do
    peak=$(awk '/VmHWM/ {print int($2 / 1024)}' "/proc/${pid[$d]}/status")
    echo "$d: peak $peak MiB"
    [ "$peak" -le 200 ] || fail "$d took $peak MiB"
done
cli site verify imaging --key "$dir/site/restore.key" >"$dir/verify" 2>&1 || { cat "$dir/verify"; fail "verify"; }
restore site imaging@latest volume "$dir/restored"
[ "$(stat -c %s "$dir/restored")" = "$(stat -c %s "$dir/volume")" ] || fail "size differs"
/usr/bin/python3 - "$dir/volume" "$dir/restored" <<'END'
import os, sys
a, b = (os.open(p, os.O_RDONLY) for p in sys.argv[1:3])
size, n = os.fstat(a).st_size, 0
for one, other in ((a, b), (b, a)):  # every byte of data of either equals the other's
    at = 0
    while at < size:
        try:
            at = os.lseek(one, at, os.SEEK_DATA)
        except OSError:
            break
        end = os.lseek(one, at, os.SEEK_HOLE)
        while at < end:
            length = min(1 << 20, end - at)
            if os.pread(one, length, at) != os.pread(other, length, at):
                sys.exit(f"differs at {at}")
            at += length
            n += length
print(f"{n} bytes compared")
END
echo "4 TiB sparse volume: seeded, verified, restored, within 200 MiB each"
