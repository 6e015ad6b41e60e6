# lib.sh: what the end-to-end tests share: a directory, one hub, one or more sites, and their ends.
#
# Sourced under `set -euo pipefail`. Everything lives in $dir, which goes when the test passes. Daemons
# are known by the name of their site; pids of those that were started are in the array `pid`.

relais=$RELAIS_BUILD/tools/relais
relaisd=$RELAIS_BUILD/engine/daemon/relaisd
dir=$(mktemp -d /var/tmp/relais-e2e-XXXXXX)
export XDG_STATE_HOME=$dir/state-home # what relais remembers of groups is the test's own
port=$((12000 + $$ % 10000 * 2)) # two of its own, below those that the kernel gives out
declare -A pid=()
at_end=() # commands for the end, whatever it is

ceph_rados() { # ceph_rados ARGS...: in the namespace of the site named "site", with the hub's own rights
    rados -c "$RELAIS_TEST_CEPH_CONF" -n "client.$RELAIS_TEST_CEPH_USER" -k "$RELAIS_TEST_CEPH_KEYRING" \
        -p "$RELAIS_TEST_CEPH_POOL" -N site "$@"
}

# Each test has keys of its own: what an earlier one left in the pool would be another site's history.
if [ -n "${RELAIS_TEST_CEPH_CONF:-}" ]; then
    mapfile -t leftover < <(ceph_rados ls)
    [ ${#leftover[@]} -eq 0 ] || ceph_rados rm "${leftover[@]}"
fi

finish() {
    local status=$? p
    trap - EXIT
    exec 2>/dev/null # the shell tells of each process it finds killed
    for p in "${pid[@]}"; do kill -9 "$p" 2>/dev/null || true; done
    for p in "${at_end[@]}"; do eval "$p" || true; done
    wait 2>/dev/null || true
    if [ $status -eq 0 ]; then rm -rf "$dir"; else echo "left behind for a look: $dir"; fi
    exit $status
}
trap finish EXIT

fail() {
    echo "FAILED: $*"
    local f
    for f in "$dir"/*/log; do
        [ ! -f "$f" ] || { echo "--- $f"; tail -n 8 "$f"; }
    done
    exit 1
}

word() { "$relais" keygen --show "$dir/$1/$2.key" | head -n 1; } # word NAME KIND

make_keys() { # make_keys NAME...
    local n
    for n in "$@"; do "$relais" keygen all "$dir/$n" >/dev/null 2>&1; done
}

# The [site] and [peer] part that all configurations share; stdin is appended.
make_config() { # make_config NAME [OPTION LINES FOR [site]]
    local n=$1 d=$dir/$1
    {
        printf '[site]\nname = %s\nstate = %s/state\nspool = %s/spool\ncontrol = %s/control\n' "$n" "$d" "$d" "$d"
        printf 'link-key = %s/link.key\nsign-key = %s/sign.key\nhash-key = %s/hash.key\n' "$d" "$d" "$d"
        printf '%s\n' "${2:-}"
        cat
    } >"$d/relais.conf"
}

make_hub() { # make_hub SITE...: keys must exist
    local p
    {
        printf '[hub]\nlisten = %s:%d\n' "${hub_addr:-127.0.0.1}" "$port"
        if [ -n "${RELAIS_TEST_CEPH_CONF:-}" ]; then
            printf 'store = rados:%s\nceph-conf = %s\nceph-user = %s\nceph-keyring = %s\n' "$RELAIS_TEST_CEPH_POOL" \
                "$RELAIS_TEST_CEPH_CONF" "$RELAIS_TEST_CEPH_USER" "$RELAIS_TEST_CEPH_KEYRING"
        else
            printf 'store = dir:%s/store\n' "$dir"
        fi
        for p in "$@"; do
            printf '[peer %s]\nlink-key = %s\nsign-key = %s\n' "$p" "$(word "$p" link)" "$(word "$p" sign)"
        done
    } | make_config hub
}

make_site() { # make_site NAME [OPTION LINES FOR [site]]; stdin: groups and volumes
    {
        printf '[peer hub]\nlink-key = %s\naddress = %s:%d\n' "$(word hub link)" "${hub_addr:-127.0.0.1}" "${site_port:-$port}"
        cat
    } | make_config "$1" "hub = hub
readers = $(word "$1" restore)
${2:-}"
}

start() { # start NAME
    "$relaisd" -c "$dir/$1/relais.conf" >>"$dir/$1/log" 2>&1 &
    pid[$1]=$!
}

filtered() { # filtered NAME: all threads of the daemon are under the filter of system calls; prints how many
    local t threads=0 what
    for t in "/proc/${pid[$1]}"/task/*/status; do
        what=$(awk '/^(Name|Seccomp|NoNewPrivs):/ { printf "%s ", $2 }' "$t")
        [[ $what == *" 1 2 " ]] || fail "$1: a thread without the filter, or that may gain privileges: $what"
        threads=$((threads + 1))
    done
    [ $threads -ge 3 ] || fail "$1 has $threads threads only"
    echo "$1: $threads threads under the filter"
}

stop() { # stop NAME [SIGNAL]
    kill "-${2:-TERM}" "${pid[$1]}" 2>/dev/null || true
    wait "${pid[$1]}" 2>/dev/null || true
    unset "pid[$1]"
}

cli() { # cli NAME ARGS...
    local n=$1
    shift
    "$relais" -c "$dir/$n/relais.conf" "$@"
}

await() { # await SECONDS TEXT COMMAND...: until the command succeeds
    local deadline=$((SECONDS + $1)) text=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $deadline ] || fail "waited in vain for: $text"
        sleep 0.1
    done
}

answers() { # answers NAME: the daemon answers on its control socket, and its site is past its start
    local status=0 said
    said=$(cli "$1" status 2>&1) || status=$?
    [ $status -le 2 ] && [[ $said != *starting* ]]
}

mark() { # mark NAME GROUP [LABEL]
    cli "$1" mark "$2" --label "${3:-test}" --wait >"$dir/$1/mark" 2>&1 || { cat "$dir/$1/mark"; fail "mark $2 at $1"; }
}

restore() { # restore NAME GROUP@WHAT VOLUME TARGET [MORE ARGS]
    local n=$1
    shift
    cli "$n" restore "$@" --key "$dir/$n/restore.key" >"$dir/$n/restore" 2>&1 || { cat "$dir/$n/restore"; fail "restore $1"; }
}

same() { # same FILE FILE
    cmp "$1" "$2" || fail "$1 and $2 differ"
}

# Changes a volume as a database would: COUNT writes of 4 KiB..64 KiB of half-compressible bytes.
scribble() { # scribble FILE COUNT SEED
    /usr/bin/python3 - "$@" <<'END'
import os, random, sys
path, count, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
rng = random.Random(seed)
fd = os.open(path, os.O_RDWR)
size = os.fstat(fd).st_size
for _ in range(count):
    n = rng.choice((1, 1, 1, 2, 4, 16)) * 4096
    at = rng.randrange(max(1, (size - n) // 512)) * 512
    if rng.random() < 0.1:
        os.pwrite(fd, bytes(n), at)
    else:
        os.pwrite(fd, (rng.randbytes(n // 2) + b"dossier patient " * (n // 32))[:n], at)
os.close(fd)
END
}
