# hardening: what relaisd runs under: a filter of system calls on every thread, no new privileges, no dumps, no
# tracers; and under it scans with freeze and thaw commands, exports, shipping and restores all work.
make_keys hub site
truncate -s 8M "$dir/data" "$dir/scanned"
scribble "$dir/scanned" 50 1
make_hub site
make_site site <<END
[group records]
interval = never
freeze = touch $dir/frozen
thaw = touch $dir/thawed
[volume records/data]
path = $dir/data
source = nbd
export = unix:$dir/export
[volume records/scanned]
path = $dir/scanned
END
start hub
start site
await 10 "the site is up" cli site mark records

for n in hub site; do
    filtered "$n"
    grep -q "^Max core file size *0 *0 " "/proc/${pid[$n]}/limits" || fail "$n may dump core"
    [ "$(grep -c "execve among them" "$dir/$n/log")" -eq $([ $n = hub ] && echo 1 || echo 0) ] || fail "$n: execve"
done
for f in "$dir/hub/store" "$dir/site/state" "$dir/site/spool" "$dir/store"; do
    [ ! -e "$f" ] || [ "$(stat -c %a "$f")" = 700 ] || fail "$f: mode $(stat -c %a "$f")"
done

# Somebody under the daemon's own user, who is not root, reads none of its memory.
if [ "$(id -u)" = 0 ]; then
    stop hub
    chmod 711 "$dir"
    chown -R 65534:65534 "$dir/hub" "$dir/store"
    setpriv --reuid 65534 --regid 65534 --clear-groups "$relaisd" -c "$dir/hub/relais.conf" 2>>"$dir/hub/log" &
    pid[hub]=$!
    await 10 "the hub answers, as nobody" answers hub
    /usr/bin/python3 - "${pid[hub]}" <<'END' || fail "a process of the same user gets at the hub's memory"
import ctypes, os, sys
pid = int(sys.argv[1])
os.setgroups([]); os.setgid(65534); os.setuid(65534)
libc = ctypes.CDLL(None, use_errno=True)
assert libc.ptrace(16, pid, 0, 0) == -1 and ctypes.get_errno() == 1, "ptrace"
for name in ("mem", "maps", "environ"):
    try:
        open(f"/proc/{pid}/{name}", "rb").read(1)
    except PermissionError:
        continue
    sys.exit(f"/proc/PID/{name} can be read")
END
fi

qemu-io -f raw -c "write -P 7 64k 128k" -c flush "nbd+unix:///records/data?socket=$dir/export" >/dev/null || fail "the export"
rm -f "$dir/frozen" "$dir/thawed"
await 20 "the site ships again" cli site mark records --wait
[ -e "$dir/frozen" ] && [ -e "$dir/thawed" ] || fail "freeze and thaw did not run"
restore site records@latest data "$dir/restored"
same "$dir/data" "$dir/restored"
restore site records@latest scanned "$dir/restored-scanned"
same "$dir/scanned" "$dir/restored-scanned"
stop site
stop hub
grep -h "Operation not permitted" "$dir"/*/log && fail "something was refused that is needed"
true
