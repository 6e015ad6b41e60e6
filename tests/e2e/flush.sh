# flush: a FLUSH, or a write with FUA, that was acknowledged came after a completed fdatasync of the backing
# file, and that one after the writes: as the kernel saw it, with its trace of io_uring and of pwrite.
#
# Most of the data path makes no system calls, so strace shows little of it; the kernel's tracepoints do, by file
# descriptor and with the time on the clock that the client uses.
# alone: the kernel's trace is one for all
tracing=/sys/kernel/tracing
if [ ! -e $tracing/events/io_uring/io_uring_complete ]; then
    [ "$(id -u)" -eq 0 ] && mount -t tracefs nodev $tracing 2>/dev/null || true
fi
[ -w $tracing/instances ] && [ -e $tracing/events/io_uring/io_uring_complete ] ||
    fail "the kernel's tracepoints of io_uring are not to be had here: run as root, with tracefs"
make_keys hub site
truncate -s 32M "$dir/volume"
make_hub site
make_site site <<END_OF_CONFIG
[group records]
interval = 1s
[volume records/volume]
path = $dir/volume
source = nbd
export = unix:$dir/site/nbd
END_OF_CONFIG
start hub
start site
await 10 "the site answers" answers site
fd=
for f in "/proc/${pid[site]}/fd"/*; do
    [ "$(readlink "$f")" != "$dir/volume" ] || fd=${f##*/}
done
[ -n "$fd" ] || fail "relaisd does not have the volume open"

own=$tracing/instances/relais-$$
mkdir "$own"
end_trace() { echo 0 >"$own/tracing_on"; rmdir "$own" 2>/dev/null || { sleep 0.5; rmdir "$own"; }; }
at_end+=('[ ! -d "$own" ] || end_trace')
echo mono >"$own/trace_clock"
echo 16384 >"$own/buffer_size_kb"
for e in submit_req file_get complete; do echo 1 >"$own/events/io_uring/io_uring_$e/enable"; done
for e in enter exit; do # small writes are the loop's own (engine/io/quick.h)
    echo "common_pid == ${pid[site]}" >"$own/events/syscalls/sys_${e}_pwrite64/filter"
    echo 1 >"$own/events/syscalls/sys_${e}_pwrite64/enable"
done

/usr/bin/python3 - "nbd+unix:///records/volume?socket=$dir/site/nbd" >"$dir/said" <<'END'
import nbd, random, sys, time
rng = random.Random(4)
h = nbd.NBD()
h.connect_uri(sys.argv[1])
size = h.get_size()
def did(what, fn):
    began = time.monotonic_ns()
    fn()
    print(what, began, time.monotonic_ns())
for i in range(150):
    for _ in range(rng.randrange(4)):
        n = 4096 * rng.randrange(1, 9)
        did("write", lambda: h.pwrite(rng.randbytes(n), rng.randrange((size - n) // 512) * 512))
    did("flush", h.flush)
    n = 4096 * rng.randrange(1, 65)
    did("fua", lambda: h.pwrite(rng.randbytes(n), rng.randrange((size - n) // 512) * 512, nbd.CMD_FLAG_FUA))
    if i % 10 == 0:
        did("trim", lambda: h.trim(65536, rng.randrange(size // 65536) * 65536, nbd.CMD_FLAG_FUA))
h.shutdown()
END
echo 0 >"$own/tracing_on"
cp "$own/trace" "$dir/trace"
end_trace

# Events of the daemon's ring: a request is known by its address from its submission to its completion. System
# calls are those of the loop's thread, one after the other.
/usr/bin/python3 - "$dir/trace" "$dir/said" "$fd" "${pid[site]}" <<'END'
import re, sys
trace, said, fd, pid = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
line = re.compile(r"-(\d+)\s.*?\s(\d+)\.(\d{6}): io_uring_(\w+): ring (\S+), req (\S+), user_data (\S+?), (.*)")
call = re.compile(r"-(\d+)\s.*?\s(\d+)\.(\d{6}): sys_pwrite64(?:\(fd: ([0-9a-f]+),.*| -> 0x([0-9a-f]+))")
rings, open_reqs, writes, syncs, calling = set(), {}, [], [], None
for text in open(trace):
    if "[LOST" in text:
        sys.exit("the trace lost events: nothing can be told")
    m = call.search(text)
    if m and m[1] == pid:
        at = int(m[2] + m[3]) * 1000
        if m[4]:
            calling = (int(m[4], 16), at)
        elif calling:
            if calling[0] == fd:
                writes.append((calling[1], at, int(m[5], 16)))
            calling = None
    m = line.search(text)
    if not m:
        continue
    tid, at, event, ring, req, rest = m[1], int(m[2] + m[3]) * 1000, m[4], m[5], m[6], m[8]
    if event == "submit_req":
        if tid == pid:
            rings.add(ring)
        if ring in rings:
            open_reqs[req] = [re.search(r"opcode (\w+)", rest)[1], at, None]
    elif event == "file_get" and req in open_reqs:
        open_reqs[req][2] = int(re.search(r"fd (\d+)", rest)[1])
    elif event == "complete" and req in open_reqs:
        op, submitted, its = open_reqs.pop(req)
        if its == fd and (op.startswith("WRITE") or op == "FSYNC"):
            result = int(re.search(r"result (-?\d+)", rest)[1])
            (syncs if op == "FSYNC" else writes).append((submitted, at, result))
kinds = {"write": 0, "flush": 0, "fua": 0, "trim": 0}
US = 1000  # the trace has microseconds
for text in open(said):
    what, began, ended = text.split()
    began, ended = int(began), int(ended)
    kinds[what] += 1
    its = [w for w in writes if began - US <= w[0] and w[1] <= ended + US]
    if what in ("write", "fua") and not its:
        sys.exit(f"a {what} at {began} was acknowledged at {ended} without a write to the backing file")
    if what == "write":
        continue
    after = max((w[1] for w in its), default=began)
    if not any(after - US <= s[0] and s[1] <= ended + US and s[2] == 0 for s in syncs):
        sys.exit(f"{what} at {began} was acknowledged at {ended}; no sync of the backing file began after {after} "
                 f"and was over by then: {[s for s in syncs if s[1] > began - 10**8 and s[0] < ended]}")
assert kinds["flush"] >= 100 and kinds["fua"] >= 100 and kinds["trim"] >= 10 and len(writes) > 300
print(f"{kinds['flush']} flushes, {kinds['fua'] + kinds['trim']} writes and trims with FUA: each acknowledged after a "
      f"fdatasync of the backing file that had completed ({len(syncs)} of them), and that had begun after the writes "
      f"had ({len(writes)})")
END
