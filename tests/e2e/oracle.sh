# oracle: live clients of a group of two volumes, the daemon killed at random moments: every recovery point
# is one cut of what clients were told, byte for byte, and the backing volumes hold all that was acknowledged.
#
# Some rounds here; hundreds with tests/e2e/oracle --rounds N.
rounds=${RELAIS_ORACLE_ROUNDS:-20}
seed=${RELAIS_ORACLE_SEED:-$RANDOM}
RANDOM=$seed
echo "seed $seed"
volumes=(data wal)
make_keys hub site
truncate -s $((8 * 1024 * 1024)) "$dir/data"
truncate -s $((5 * 1024 * 1024 + 1536)) "$dir/wal"
make_hub site
make_site site "delta-max = 8MiB" <<END_OF_CONFIG
[group records]
interval = 1s
cut-bytes = 16MiB
seed-rate = none
[volume records/data]
path = $dir/data
source = nbd
export = unix:$dir/site/nbd
[volume records/wal]
path = $dir/wal
source = nbd
export = unix:$dir/site/nbd
END_OF_CONFIG

coproc CLIENTS { exec "$RELAIS_BUILD/tests/oracle/oracle-clients" "$seed" 6 \
    "nbd+unix:///records/data?socket=$dir/site/nbd" "nbd+unix:///records/wal?socket=$dir/site/nbd" 2>"$dir/clients.log"; }
pid[clients]=$CLIENTS_PID
to_clients=${CLIENTS[1]} from_clients=${CLIENTS[0]}

ask() { # ask WHAT COMMAND...: the clients' answer, in $answer; "bad" fails
    local what=$1
    shift
    echo "$*" >&"$to_clients"
    read -r -t 60 answer <&"$from_clients" || fail "$what: the clients do not answer"
    [ "${answer%% *}" = ok ] || fail "$what: ${answer#bad }"
    answer=${answer#ok }
}

points() { # complete recovery points as "RP CUT LABEL", the cut in ns with the microseconds that JSON gives
    cli site list records --json | jq -r '.points[] | select(.complete) | "\(.rp) \(.cut * 1e6 | round)000 \(.label)"'
}

checked=0
check_point() { # check_point RP CUT: restores it and asks the oracle
    local v
    for v in "${volumes[@]}"; do restore site "records@$1" "$v" "$dir/restored-$v" --force; done
    # The cut is one step of the daemon's loop: nothing issued after it is in, all acknowledged before is.
    ask "RP $1" check $(($2 - 1000)) $(($2 + 1000)) "$dir/restored-data" "$dir/restored-wal"
    checked=$((checked + 1))
}

mark_and_check() { # a mark's cut is between its call and its answer
    local before after label=round-$round rp cut name
    before=$(date +%s%N)
    mark site records "$label"
    after=$(date +%s%N)
    read -r rp cut name < <(points | awk -v l="$label" '$3 == l')
    [ "${name:-}" = "$label" ] || fail "the mark of round $round is not listed"
    [ "$cut" -ge $((before - 1000)) ] && [ "$cut" -le $((after + 1000)) ] ||
        fail "RP $rp is of $cut, its mark was from $before to $after"
    check_point "$rp" "$cut"
}

start hub
start site
await 20 "the first recovery point" eval '[ -n "$(points)" ]'
for ((round = 1; round <= rounds; round++)); do
    sleep "$((RANDOM % 2)).$((RANDOM % 10))$((RANDOM % 10))"
    marking=
    case $((RANDOM % 4)) in
    0) mark_and_check ;;
    1) cli site mark records --label "killed-$round" >/dev/null 2>&1 & marking=$!; sleep "0.0$((RANDOM % 10))" ;;
    esac
    if [ $((RANDOM % 8)) -eq 0 ]; then stop site TERM; else stop site KILL; fi
    [ -z "$marking" ] || wait "$marking" || true
    now=$(date +%s%N)
    ask "the backing volumes after kill $round" check "$now" "$now" "$dir/data" "$dir/wal"
    start site
    [ $((RANDOM % 3)) -eq 0 ] && continue # killed again while it recovers
    await 20 "the site answers" answers site
    mapfile -t list < <(points)
    [ ${#list[@]} -gt 0 ] || fail "no recovery point is left"
    # The newest, and one of the latest twenty.
    newest=$((${#list[@]} - 1)) back=$((RANDOM % 20))
    read -r rp cut _ <<<"${list[newest]}"
    check_point "$rp" "$cut"
    [ $back -le $newest ] || back=$newest
    read -r rp cut _ <<<"${list[newest - back]}"
    check_point "$rp" "$cut"
done
await 20 "the site answers" answers site
ask "the end" stop
round=end
mark_and_check
for v in "${volumes[@]}"; do same "$dir/$v" "$dir/restored-$v"; done
ask "the end" stats
total=$(points | wc -l)
echo "$rounds kills: $answer; $total recovery points, $checked restored and held against the log, all exact"
