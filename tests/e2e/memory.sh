# memory: the daemon stays within the memory that its configuration implies: a sparse volume of 10 TiB in
# service, sectors scattered all over it dirty at once, and the loads of bench/nbd while cuts go on; and what was
# sealed meanwhile is exact.
#
# RELAIS_MEMORY_SECTORS=1000000 for the million; by default fewer, for their time. The volume is a sparse file
# on tmpfs: what scattered allocation costs a file system of disks is not the question here.
sectors=${RELAIS_MEMORY_SECTORS:-100000}
make_keys hub site
shm=$(mktemp -d /dev/shm/relais-e2e-XXXXXX)
at_end+=('rm -rf "$shm"')
truncate -s 10T "$shm/volume"
make_hub site
make_site site "export-memory = 32MiB" <<END_OF_CONFIG
[group imaging]
interval = never
[volume imaging/volume]
path = $shm/volume
source = nbd
export = unix:$dir/site/nbd
END_OF_CONFIG
bound=$(cli site config check | awk '/^memory:/ {print $4}') # MiB
bound=$((bound + sectors * 16 / 1048576 + 8)) # the maps of what is dirty here
uri="nbd+unix:///imaging/volume?socket=$dir/site/nbd"

within() { # within WHEN
    local peak
    peak=$(awk '/VmHWM/ {print int($2 / 1024)}' "/proc/${pid[site]}/status")
    echo "$1: peak $peak MiB of $bound"
    [ "$peak" -le "$bound" ] || fail "$1: the site took $peak MiB; its configuration implies at most $bound"
}

start hub
start site
await 20 "the site answers" answers site
mark site imaging empty
within "10 TiB, seeded"

cat >"$dir/scatter.py" <<'END'
"""scatter.py URI|FILE COUNT: writes COUNT scattered sectors, or looks whether FILE holds them."""
import os, random, sys
SIZE = 10 << 40
NOISE = random.Random(1).randbytes(1 << 20)
def places(count):
    rng = random.Random(2)
    return [rng.randrange(SIZE // 4096) for _ in range(count)]
def content(sector):
    at = sector * 2654435761 % ((1 << 20) - 2048)
    return sector.to_bytes(8, "little") * 256 + NOISE[at:at + 2048]
def write(uri, count):
    import nbd
    h = nbd.NBD()
    h.connect_uri(uri)
    flying = 0
    for sector in places(count):
        h.aio_pwrite(nbd.Buffer.from_bytearray(bytearray(content(sector))), sector * 4096, completion=lambda e: 1)
        while h.aio_in_flight() >= 100:
            h.poll(-1)
    while h.aio_in_flight():
        h.poll(-1)
    h.flush()
    h.shutdown()
def check(path, count):
    fd = os.open(path, os.O_RDONLY)
    assert os.fstat(fd).st_size == SIZE
    written = places(count)
    rng = random.Random(3)
    known = set(written)
    for sector in rng.sample(written, min(count, 30000)):
        if os.pread(fd, 4096, sector * 4096) != content(sector):
            sys.exit(f"sector {sector} differs")
    for sector in (rng.randrange(SIZE // 4096) for _ in range(30000)):
        if sector not in known and os.pread(fd, 4096, sector * 4096) != bytes(4096):
            sys.exit(f"sector {sector} was never written and is not zero")
    data, at = 0, 0
    while True:
        try:
            at = os.lseek(fd, at, os.SEEK_DATA)
        except OSError:
            break
        end = os.lseek(fd, at, os.SEEK_HOLE)
        data, at = data + (end - at) // 4096, end
    if data != len(known):
        sys.exit(f"{data} sectors have data, {len(known)} were written")
what, count = sys.argv[1], int(sys.argv[2])
write(what, count) if "://" in what else check(what, count)
END
began=$SECONDS
/usr/bin/python3 "$dir/scatter.py" "$uri" "$sectors"
within "$sectors scattered sectors written in $((SECONDS - began)) s"
began=$SECONDS
mark site imaging scattered
within "... and sealed and committed in $((SECONDS - began)) s"
restore site imaging@latest volume "$shm/restored"
/usr/bin/python3 "$dir/scatter.py" "$shm/restored" "$sectors"
rm "$shm/restored"

# The loads of bench/nbd, with cuts.
( while sleep 1; do cli site mark imaging >/dev/null 2>&1; done ) &
pid[marks]=$!
for job in "--rw=randwrite --bs=4k --iodepth=32" "--rw=randwrite --bs=4k --iodepth=1 --fsync=1" "--rw=write --bs=64k --iodepth=16" \
    "--rw=write --bs=1m --iodepth=8" "--rw=randread --bs=4k --iodepth=32"; do
    # shellcheck disable=SC2086
    fio --name=load --ioengine=nbd --uri="$uri" --size=1g --runtime=3 --time_based $job >"$dir/fio.log" 2>&1 ||
        { cat "$dir/fio.log"; fail "fio $job"; }
    within "fio $job"
done
stop marks
mark site imaging loads
within "at the end"
echo "10 TiB, $sectors scattered sectors, five loads: $(awk '/VmHWM/ {print int($2 / 1024)}' "/proc/${pid[site]}/status") MiB at most, of $bound; restored exactly"
