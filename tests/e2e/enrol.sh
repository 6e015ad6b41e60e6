# A territory from nothing: a hub that is set up by one command, members that are invited, enrol, are
# approved, replicate and restore; invitations that are wrong, used, expired or withdrawn; somebody
# else who answers in the hub's place; a fingerprint that differs; a member that is revoked and comes
# back with another key; a hub that starts again. Nobody types a key or a configuration but the groups.
printf 'five words nobody would guess\n' >"$dir/passphrase"
chmod 600 "$dir/passphrase"
mkdir "$dir"/{hub,impostor,bethune,douai,bapaume,lens,thief}

refused() { # refused STATUS TEXT COMMAND...: fails so, and says so
    local want=$1 text=$2 status=0
    shift 2
    "$@" >"$dir/said" 2>&1 </dev/null || status=$?
    [ $status -eq "$want" ] || { cat "$dir/said"; fail "exit status $status instead of $want: $*"; }
    grep -q -- "$text" "$dir/said" || { cat "$dir/said"; fail "does not say \"$text\": $*"; }
}

init() { # init NAME MORE...: a hub in $dir/NAME, at the port of them all
    local n=$1
    shift
    "$relais" territory init -c "$dir/$n/relais.conf" --name arras --address "127.0.0.1:$port" \
        --listen "127.0.0.1:$port" --store "dir:$dir/$n-store" --state "$dir/$n/state" \
        --control "$dir/$n/control" "$@"
}

invite() { # invite SITE MORE...: prints the invitation
    cli hub territory invite "$@" 2>"$dir/invite.said" || { cat "$dir/invite.said"; fail "invite $1"; }
}

enrol() { # enrol SITE INVITATION MORE...: prints the fingerprint
    local n=$1 token=$2
    shift 2
    mkdir -p "$dir/$n"
    printf '%s\n' "$token" >"$dir/$n/token"
    "$relais" site enrol -c "$dir/$n/relais.conf" --token-file "$dir/$n/token" --state "$dir/$n/state" \
        --control "$dir/$n/control" --passphrase-file "$dir/passphrase" "$@" </dev/null
}

fingerprint() { # fingerprint SITE
    sed -n 's/^fingerprint //p' "$dir/$1/enrolled"
}

state() { # state SITE: as relais peers --json has it
    cli hub peers --json | /usr/bin/python3 -c "
import json, sys
print(*[p['state'] for p in json.load(sys.stdin) if p['name'] == sys.argv[1]])" "$1"
}
is() { [ "$(state "$1")" = "$2" ]; }

add_group() { # add_group SITE: what its admin does in an editor
    truncate -s 8M "$dir/$1/data.img"
    scribble "$dir/$1/data.img" 60 7
    printf '\n[group records]\ninterval = 1s\n[volume records/data]\npath = %s\n' "$dir/$1/data.img" >>"$dir/$1/relais.conf"
}

restored() { # restored SITE RP: the site's volume as the hub has it is the site's volume
    rm -f "$dir/$1/restored.img"
    cli "$1" restore "records@$2" data "$dir/$1/restored.img" --key "$dir/$1/restore.key" \
        --passphrase-file "$dir/passphrase" >"$dir/$1/restore" 2>&1 || { cat "$dir/$1/restore"; fail "restore at $1"; }
    same "$dir/$1/data.img" "$dir/$1/restored.img"
}

# ---- the hub ----

init hub --dry-run --no-escrow >"$dir/dry" 2>&1
[ -z "$(ls "$dir/hub")" ] || fail "a dry run left something: $(ls "$dir/hub")"
grep -q '^store = dir:' "$dir/dry" || fail "a dry run does not show the configuration"
init hub --escrow-sheets 2/3 >"$dir/sheets" 2>"$dir/init.said" || { cat "$dir/init.said"; fail "territory init"; }
[ "$(grep -c 'SHEET . OF 3' "$dir/sheets")" -eq 3 ] || fail "no three escrow sheets"
escrow=$(grep -o -m1 'restore:[A-Za-z0-9+/=]*' "$dir/sheets")
before=$(cat "$dir"/hub/*.key "$dir/hub/relais.conf" | sha256sum)
refused 73 'left as it is' init hub --no-escrow
[ "$before" = "$(cat "$dir"/hub/*.key "$dir/hub/relais.conf" | sha256sum)" ] || fail "init changed what was there"
cli hub config check >/dev/null || fail "the hub's configuration is not good"
start hub
await 10 "the hub" answers hub

# ---- a member ----

token=$(invite bethune)
is bethune invited || fail "bethune is not invited"
# A character that was misheard, and the place is named.
wrong=$(sed -E 's#/(.{8})(.)#/\1#; s#$##' <<<"$token")
refused 65 'group 2 has 4 characters' enrol bethune "$wrong"
wrong=${token:0:-1}$([ "${token: -1}" = 7 ] && echo 8 || echo 7)
refused 65 'group 12 does not fit: look at its character 5' enrol bethune "$wrong"
[ ! -e "$dir/bethune/link.key" ] || fail "keys were made for a mistyped invitation"

# Somebody else answers at the hub's address, with an invitation open: the invitation pins the hub's key.
stop hub
init impostor --no-escrow >/dev/null 2>&1
"$relaisd" -c "$dir/impostor/relais.conf" >>"$dir/impostor/log" 2>&1 &
pid[impostor]=$!
await 10 "the impostor" answers impostor
cli impostor territory invite bethune >/dev/null 2>&1
refused 77 'another machine answers' enrol bethune "$token" --no-escrow
! cli impostor peers --json | grep -q pending || fail "the impostor enrolled somebody"
stop impostor
start hub
await 10 "the hub" answers hub

# The escrow key that the hub names is not the one that the member was told.
refused 77 'not the one that --escrow says' enrol bethune "$token" --escrow "$(cli bethune keygen --show \
    "$dir/bethune/restore.key" --passphrase-file "$dir/passphrase" | head -n 1)"
[ ! -e "$dir/bethune/relais.conf" ] || fail "a configuration in spite of another escrow key"
# The same keys may use the invitation again: an answer may be lost. Others may not.
enrol bethune "$token" --escrow "$escrow" >"$dir/bethune/enrolled" 2>"$dir/said" || { cat "$dir/said"; fail "enrol"; }
refused 73 'left as it is' enrol bethune "$token"
refused 77 'was used already' enrol thief "$token" --no-escrow
add_group bethune
cli bethune config check >/dev/null || fail "the configuration of bethune is not good"
grep -q "^readers = restore:.*, $escrow" "$dir/bethune/relais.conf" || fail "escrow is no reader"
start bethune
await 10 "the hub's refusal" grep -q 'nobody has approved it' "$dir/bethune/log"

# What its admin reads out is not what enrolled: somebody used a stolen invitation.
refused 77 'not what was given' cli hub peers approve bethune 0000-1111-2222-3333-4444
is bethune pending || fail "bethune is not pending"
cli hub peers approve bethune "$(fingerprint bethune)" >/dev/null || fail "approve"
is bethune active || fail "bethune is not active"
await 20 "bethune's first recovery point" cli bethune status
mark bethune records first
restored bethune latest

# ---- run from afar: no secret that opens anything on site, and douai reads ----

enrol douai "$(invite douai --auto --reads 'bapaume/*')" --escrow "$escrow" >"$dir/douai/enrolled" 2>"$dir/said" || { cat "$dir/said"; fail "enrol douai"; }
is douai active || fail "--auto needed approval"
word=$(cli douai keygen --show "$dir/douai/restore.key" --passphrase-file "$dir/passphrase" | head -n 1)
token=$(invite bapaume --auto)
enrol bapaume "$token" --no-escrow --restore "$word" >"$dir/bapaume/enrolled" 2>"$dir/said" || { cat "$dir/said"; fail "enrol bapaume"; }
[ ! -e "$dir/bapaume/restore.key" ] || fail "a restore key at bapaume"
add_group bapaume
start bapaume
await 20 "bapaume's first recovery point" cli bapaume status
mark bapaume records one
"$relais" -c "$dir/douai/relais.conf" restore --site bapaume records@latest data "$dir/douai/b.img" --key "$dir/douai/restore.key" \
    --passphrase-file "$dir/passphrase" --signer "$(word bapaume sign)" >"$dir/said" 2>&1 || { cat "$dir/said"; fail "douai restores bapaume"; }
same "$dir/bapaume/data.img" "$dir/douai/b.img"

# ---- invitations that hold no more ----

token=$(invite lens)
cli hub peers withdraw lens >/dev/null || fail "withdraw"
refused 66 'no invitation' cli hub peers withdraw lens
refused 77 'withdrawn' enrol lens "$token" --no-escrow
token=$(invite lens --valid 1s)
invite arras-2 --valid 1h >/dev/null # keeps the door open
sleep 1.5
refused 77 'has expired' enrol lens "$token" --no-escrow

# ---- a stolen key ----

cli hub peers revoke bethune --reason 'server stolen' 2>"$dir/said" || { cat "$dir/said"; fail "revoke"; }
grep -q '1 of its connections were broken\|[1-9][0-9]* of its connections' "$dir/said" || { cat "$dir/said"; fail "no connection was broken"; }
await 10 "the hub's refusal of a revoked key" grep -q 'refuses our key' "$dir/bethune/log"
! timeout 20 "$relais" -c "$dir/bethune/relais.conf" list records >"$dir/said" 2>&1 || fail "a revoked key may list"
refused 77 'not what was given\|was revoked' cli hub peers approve bethune "$(fingerprint bethune)"
before=$(cli hub peers --json | grep -E '"(name|state|fingerprint|reason)"')
stop hub
start hub
await 10 "the hub" answers hub
[ "$before" = "$(cli hub peers --json | grep -E '"(name|state|fingerprint|reason)"')" ] || fail "a restart changed the register"
! timeout 20 "$relais" -c "$dir/bethune/relais.conf" list records >"$dir/said" 2>&1 || fail "a revoked key may list after a restart"

# It comes back with a new link key, its old name and history; not with another signing key.
token=$(cli hub peers replace bethune 2>/dev/null) || fail "replace"
mv "$dir/bethune/sign.key" "$dir/bethune/sign.kept"
"$relais" keygen sign "$dir/bethune/sign.key" >/dev/null
printf '%s\n' "$token" >"$dir/bethune/token"
refused 77 'another signing key signed' cli bethune site enrol --replace --token-file "$dir/bethune/token"
mv "$dir/bethune/sign.kept" "$dir/bethune/sign.key"
cli bethune site enrol --replace --token-file "$dir/bethune/token" >"$dir/bethune/enrolled" 2>"$dir/said" || { cat "$dir/said"; fail "replace at bethune"; }
[ -e "$dir/bethune/link.key.old-1" ] || fail "the old key is gone"
cli hub peers approve bethune "$(fingerprint bethune)" >/dev/null || fail "approve again"
stop bethune
start bethune
await 10 bethune answers bethune
scribble "$dir/bethune/data.img" 30 8
mark bethune records again
restored bethune latest
cli bethune list records | grep -q first || fail "the history before the new key is gone"

# ---- another hub's register, read again ----

cp -p "$dir/hub/state/enrolled.json" "$dir/kept.json"
sed -i 's/"state": "active"/"state": "pending"/' "$dir/hub/state/enrolled.json"
kill -HUP "${pid[hub]}"
await 5 "the register to be read again" is douai pending
cp -p "$dir/kept.json" "$dir/hub/state/enrolled.json"
kill -HUP "${pid[hub]}"
await 5 "the register as it was" is douai active
echo '{' >"$dir/hub/state/enrolled.json"
kill -HUP "${pid[hub]}"
await 5 "the hub to say what is wrong with it" grep -q 'enrolled.json: line .*nothing was changed' "$dir/hub/log"
is douai active || fail "a register that is no good was believed"
refused 78 'enrolled.json: line' cli hub config check
cp -p "$dir/kept.json" "$dir/hub/state/enrolled.json"

# ---- the audit log ----

await 5 "the revocation in the audit log" grep -rqa 'revoke: server stolen' "$dir/hub-store"

# ---- files that others may write ----

chmod 666 "$dir/hub/relais.conf"
refused 78 'may be written by others' cli hub config check
chmod 644 "$dir/hub/relais.conf"
cli hub config check | grep -q 'bethune, enrolled: active' || fail "config check does not show who enrolled"
echo "three members from invitations alone; each refusal named; revoked at once and after a restart"
