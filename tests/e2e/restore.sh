# restore: any recovery point comes back exact, by number, time and label; whatever interrupts a restore,
# the same command ends it; whatever is refused leaves the target alone; damage in the store is named.
end_restore() {
    local status=$?
    [ -z "${loop:-}" ] || losetup -d "$loop" 2>/dev/null || true
    ! mountpoint -q "$dir/small" || umount "$dir/small" || true
    if [ $status -eq 0 ]; then finish; else (exit $status) || finish; fi
}
trap end_restore EXIT

expect() { # expect STATUS COMMAND...: it ends with this status; what it says is in $dir/out
    local want=$1 status=0
    shift
    "$@" >"$dir/out" 2>&1 || status=$?
    [ $status -eq "$want" ] || { cat "$dir/out"; fail "ended with $status, not $want: ${*:2}"; }
}
says() { grep -qF -- "$1" "$dir/out" || { cat "$dir/out"; fail "does not say: $1"; }; }
untouched() { [ "$(cat "$1")" = precious ] || fail "$1 was touched"; }

key=$dir/site/restore.key
fast() { "$relais" -c "$dir/site/relais.conf" restore "$@"; }
# Through a line that a restore takes seconds for; the shell has its background jobs ignore SIGINT.
slow() { exec env --default-signal=INT "$relais" -c "$dir/site/slow.conf" restore "$@"; }

# A line of so many bytes a second from the hub, in front of it.
cat >"$dir/line.py" <<'END_LINE'
import socket, sys, threading, time
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
hub, rate = int(sys.argv[2]), int(sys.argv[3])
def pump(a, b, rate):
    try:
        while data := a.recv(65536):
            b.sendall(data)
            if rate:
                time.sleep(len(data) / rate)
    except OSError:
        pass
    for s in (a, b):
        try:
            s.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
while True:
    site, _ = listener.accept()
    try:
        upstream = socket.create_connection(("127.0.0.1", hub))
    except OSError:
        site.close()
        continue
    threading.Thread(target=pump, args=(site, upstream, 0), daemon=True).start()
    threading.Thread(target=pump, args=(upstream, site, rate), daemon=True).start()
END_LINE

# ---- a history ----
make_keys hub site
/usr/bin/python3 - "$dir/volume" <<'END_VOLUME'
import os, random, sys
rng = random.Random(4)
with open(sys.argv[1], "wb") as f:
    f.truncate(64 << 20)
    for mib in range(40):
        f.seek(mib << 20)
        f.write(rng.randbytes(1 << 20))
END_VOLUME
truncate -s 1M "$dir/other"
make_hub site
make_site site "delta-max = 8MiB" <<END_SITE
[group records]
interval = 0s
[volume records/data]
path = $dir/volume
[volume records/other]
path = $dir/other
END_SITE
line=$((port + 1))
sed "s/127.0.0.1:$port/127.0.0.1:$line/" "$dir/site/relais.conf" >"$dir/site/slow.conf"
/usr/bin/python3 "$dir/line.py" $line "$port" $((8 << 20)) >"$dir/line.log" 2>&1 &
pid[line]=$!
start hub
start site
await 10 "the site answers" answers site
declare -A rp=() cut=()
for label in seed before-upgrade after-upgrade; do
    [ $label = seed ] || { sleep 4; scribble "$dir/volume" 60 "${#rp[@]}"; }
    mark site records $label
    cp --sparse=always "$dir/volume" "$dir/copy-$label"
    cli site list records --json >"$dir/list"
    rp[$label]=$(jq ".points[] | select(.label == \"$label\") | .rp" "$dir/list")
    cut[$label]=$(jq ".points[] | select(.label == \"$label\") | .cut | floor" "$dir/list")
done
jq -e '.site == "site" and .group == "records" and ([.points[].rp] | . == sort)' "$dir/list" >/dev/null ||
    fail "list --json: $(cat "$dir/list")"

# ---- what to restore ----
for label in seed before-upgrade after-upgrade; do
    restore site "records@${rp[$label]}" data "$dir/restored" --force
    same "$dir/copy-$label" "$dir/restored"
done
restore site records@latest data "$dir/restored" --force --check
grep -q 'read back: good' "$dir/site/restore" || fail "--check says nothing"
same "$dir/copy-after-upgrade" "$dir/restored"
restore site "records@$(date -u -d "@$((cut[before-upgrade] + 1))" +%FT%TZ)" data "$dir/restored" --force
same "$dir/copy-before-upgrade" "$dir/restored"
restore site "records@-$(($(date +%s) - cut[before-upgrade] - 1))s" data "$dir/restored" --force
same "$dir/copy-before-upgrade" "$dir/restored"

# ---- what is refused, and touches nothing ----
target=$dir/target
echo precious >"$target"
expect 73 fast records@latest data "$target" --key "$key"
says "$target exists already"
untouched "$target"
expect 77 fast records@latest data "$target" --force --key "$dir/hub/restore.key"
says "$("$relais" keygen --show "$key" | grep -oE '\b[0-9a-f]{16}\b' | head -n 1)"
untouched "$target"
expect 66 fast records@9999 data "$target" --force --key "$key"
says "to RP ${rp[after-upgrade]} of"
expect 66 fast records@2001-01-01T00:00Z data "$target" --force --key "$key"
expect 66 fast records@latest date "$target" --force --key "$key"
says "there are: data, other"
partial=$(jq '[.points[] | select(.complete | not) | .rp][0]' "$dir/list")
[ "$partial" != null ] || fail "the test is blind: the seed went out in one delta"
expect 66 fast "records@$partial" data "$target" --force --key "$key"
says "no complete recovery point fits \"$partial\""
cli site list records >"$dir/out"
says "(seeding)"
says "(the first complete one)"
expect 66 fast records@latest data "$dir/none/target" --key "$key"
expect 73 fast records@latest data "$target" --force --key "$key" --state "$dir/site/relais.conf"
says "is not the state of a restore"
expect 64 fast records data "$target" --force --key "$key"
untouched "$target"
[ ! -e "$target.relais-part" ] && [ ! -e "$target.relais-state" ] || fail "a refusal left files behind"

# ---- what interrupts ----
begin() { # begin RESTORE ARGS...: in the background, until some of it is on record
    local state=$1
    shift
    rm -f "$state"
    slow "$@" --key "$key" --force >"$dir/out" 2>&1 &
    pid[restore]=$!
    await 20 "a state that tells of something" eval "[ \$(stat -c %s '$state') -gt 200 ]"
    kill -0 "${pid[restore]}" 2>/dev/null || { cat "$dir/out"; fail "the test is blind: the restore was over too soon"; }
}
ended() { # ended STATUS
    local status=0
    wait "${pid[restore]}" 2>/dev/null || status=$?
    unset "pid[restore]"
    [ $status -eq "$1" ] || { cat "$dir/out"; fail "the interrupted restore ended with $status, not $1"; }
}
resumed() { # resumed LABEL: the restore that follows took over what was there
    says "of an interrupted restore"
    grep -q 'of an interrupted restore 0 B were' "$dir/out" && fail "nothing was taken over: $(cat "$dir/out")"
    same "$dir/copy-$1" "$target"
    [ ! -e "$target.relais-part" ] && [ ! -e "$target.relais-state" ] || fail "a complete restore left files behind"
    echo precious >"$target"
}
latest=records@${rp[after-upgrade]}

begin "$target.relais-state" "$latest" data "$target"
kill -INT "${pid[restore]}"
ended 85
says "the same command, with $latest, goes on"
untouched "$target"
expect 0 fast "$latest" data "$target" --key "$key" --force
resumed after-upgrade

begin "$target.relais-state" "$latest" data "$target"
kill -KILL "${pid[restore]}"
ended 137
untouched "$target"
# Somebody else writes into all of the part meanwhile, and a second restore does not get in the way.
/usr/bin/python3 - "$target.relais-part" <<'END_POKE'
import os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
for at in range(1234, 64 << 20, 8 << 20):
    os.pwrite(fd, b"somebody else was here", at)
END_POKE
slow "$latest" data "$target" --key "$key" --force >"$dir/first" 2>&1 &
pid[restore]=$!
await 20 "the first restore holds the state" grep -q ":$(stat -c %i "$target.relais-state") " /proc/locks
expect 75 fast "$latest" data "$target" --key "$key" --force
says "another restore is writing it"
ended 0
cp "$dir/first" "$dir/out"
grep -q ', 0 B had changed' "$dir/out" && fail "what somebody else wrote was not noticed: $(cat "$dir/out")"
resumed after-upgrade

begin "$target.relais-state" "$latest" data "$target"
stop hub KILL
ended 69
says "the same command, with $latest, goes on"
untouched "$target"
start hub
await 20 "the hub answers" answers hub
expect 0 fast "$latest" data "$target" --key "$key" --force
resumed after-upgrade

# ---- how far it is ----
rm -f "$target"
expect 0 eval '(slow "$latest" data "$target" --key "$key")'
! grep -q $'[\r\033]' "$dir/out" || fail "not a terminal, and yet a bar: $(cat -v "$dir/out")"
grep -qE '^relais: records@.* data  +[0-9]+ %  [0-9.]+ MiB of [0-9.]+ MiB' "$dir/out" || { cat "$dir/out"; fail "no line tells how far it is"; }
script -qec "'$relais' -c '$dir/site/slow.conf' restore $latest data '$target' --key '$key' --force" /dev/null >"$dir/out" </dev/null
grep -q $'\r''records@.*\[=*>* *\] .*MiB of .*ETA' "$dir/out" || { cat -v "$dir/out"; fail "a terminal, and no bar"; }
same "$dir/copy-after-upgrade" "$target"

# ---- onto a device, and onto a file system that is too small ----
if [ "$(id -u)" -ne 0 ] || ! loop=$(truncate -s 72M "$dir/disk" && losetup -f --show "$dir/disk" 2>/dev/null); then
    echo "no loop devices and mounts to be had here (root only): devices and full file systems left out"
    loop=
else
    export XDG_STATE_HOME=$dir/xdg
    head -c 72M /dev/zero | tr '\0' '\377' >"$loop"
    state=$XDG_STATE_HOME/relais/$(tr / - <<<"${loop#/}").site-records-data.relais-state
    expect 73 fast "$latest" data "$loop" --key "$key"
    [ "$(head -c 4096 "$loop" | tr -d '\377' | wc -c)" -eq 0 ] || fail "a refusal wrote to the device"
    begin "$state" "$latest" data "$loop"
    kill -KILL "${pid[restore]}"
    ended 137
    /usr/bin/python3 - "$loop" <<'END_POKE'
import os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
for at in range(1234, 64 << 20, 8 << 20):
    os.pwrite(fd, b"somebody else was here", at)
END_POKE
    expect 0 fast "$latest" data "$loop" --key "$key" --force --check
    says "of an interrupted restore"
    says "read back: good"
    cmp -n $((64 << 20)) "$dir/copy-after-upgrade" "$loop" || fail "the device differs"
    [ "$(tail -c 8M "$loop" | tr -d '\377' | wc -c)" -eq 0 ] || fail "it wrote behind the volume's end"
    [ ! -e "$state" ] || fail "a complete restore left its state behind"
    losetup -d "$loop"
    loop=

    mkdir "$dir/small"
    mount -t tmpfs -o size=16m tmpfs "$dir/small"
    echo precious >"$dir/small/target"
    expect 83 fast "$latest" data "$dir/small/target" --key "$key" --force
    says "No space left on device"
    says "$dir/small/target"
    untouched "$dir/small/target"
    mount -o remount,size=80m "$dir/small"
    expect 0 fast "$latest" data "$dir/small/target" --key "$key" --force
    same "$dir/copy-after-upgrade" "$dir/small/target"
    umount "$dir/small"
fi

# ---- damage in the store ----
expect 0 cli site verify records --key "$key"
if [ -d "$dir/store" ]; then
    expect 0 cli site verify "records@${rp[before-upgrade]}" --key "$key"
    # The newest delta is small: its object is the last one that was written.
    object=$(find "$dir/store" -type f -size +64k -printf '%T@ %p\n' | sort -n | tail -n 1 | cut -d' ' -f2-)
    /usr/bin/python3 - "$object" <<'END_FLIP'
import os, sys
os.chmod(sys.argv[1], 0o600)
fd = os.open(sys.argv[1], os.O_RDWR)
at = 9000
byte = os.pread(fd, 1, at)[0]
os.pwrite(fd, bytes([byte ^ 1]), at)
END_FLIP
    expect 77 cli site verify records --key "$key"
    says "site/records@${rp[after-upgrade]}, volume data"
    says "from the delta of RP ${rp[after-upgrade]}"
    rm -f "$target"
    expect 77 fast "$latest" data "$target" --key "$key"
    says "site/records@${rp[after-upgrade]}, volume data"
    [ ! -e "$target" ] || fail "a damaged recovery point was restored"
    expect 0 cli site verify "records@${rp[before-upgrade]}" --key "$key" # which does not need it
    rm "$object"
    expect 81 cli site verify records --key "$key"
    says "RP ${rp[after-upgrade]}"
fi
echo "3 recovery points by number, time and age; 4 interruptions resumed; damage named"
