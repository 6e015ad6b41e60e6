# escrow: a site is lost, keys included; its volume comes back with the escrow key, typed from two sheets
# of paper.
typist() { /usr/bin/python3 tests/e2e/escrow_typist.py "$@"; }

make_keys hub site
"$relais" escrow new --shares 2/3 >"$dir/sheets" 2>"$dir/told"
escrow=$(tail -n 1 "$dir/told")
[[ $escrow == restore:* ]] || fail "no public word: $(cat "$dir/told")"
csplit -s -z -f "$dir/sheet" "$dir/sheets" '/^RELAIS ESCROW KEY/' '{*}'
[ "$(find "$dir" -name 'sheet0?' | wc -l)" = 3 ] || fail "not three sheets"

truncate -s 8M "$dir/volume"
scribble "$dir/volume" 200 1
make_hub site
make_site site "" <<END
[group records]
interval = never
readers = $escrow
[volume records/volume]
path = $dir/volume
END
start hub
start site
await 10 "the site answers" answers site
mark site records before
stop site
cp "$dir/volume" "$dir/was"
signer=$(word site sign)

# The room burns. The hub's operator knows the site's public signing key, and gives the site's name to
# the link key of a new machine.
rm -rf "${dir:?}/site" "$dir/volume"
make_keys new
{
    printf '[site]\nname = site\nstate = %s/new/state\nhub = hub\n' "$dir"
    printf 'link-key = %s/new/link.key\nsign-key = %s/new/sign.key\n' "$dir" "$dir"
    printf '[peer hub]\nlink-key = %s\naddress = 127.0.0.1:%d\n' "$(word hub link)" "$port"
} >"$dir/new/relais.conf"
sed -i "/^\[peer site\]/,/^sign-key/s|^link-key = .*|link-key = $(word new link)|" "$dir/hub/relais.conf"
stop hub
start hub
await 10 "the hub answers" answers hub

# One sheet is not enough, and no sheet is no key.
if "$relais" escrow combine "$dir/new/escrow.key" <"$dir/sheet02" 2>"$dir/why"; then fail "one sheet opens"; fi
grep -q "1 of the 3 sheets came, but 2 are needed" "$dir/why" || fail "one sheet: $(cat "$dir/why")"
if "$relais" escrow combine "$dir/new/escrow.key" </dev/null 2>"$dir/why"; then fail "nothing opens"; fi
# A slip in a file names sheet, line, group and character.
sed '/^    4  /s/.$/!/' "$dir/sheet00" >"$dir/slipped"
if "$relais" escrow combine "$dir/new/escrow.key" <"$dir/slipped" 2>"$dir/why"; then fail "a slip opens"; fi
grep -q "sheet 1 .*line 4: character 5 of group 4" "$dir/why" || fail "a slip: $(cat "$dir/why")"
[ ! -e "$dir/new/escrow.key" ] || fail "a key was written"

# Typed at a terminal, with a slip that costs one line, and sealed under a passphrase.
cat "$dir/sheet02" "$dir/sheet00" >"$dir/desk"
typist "seven wet lamps sing" "$dir/desk" "$relais" escrow combine "$dir/new/escrow.key" --passphrase >"$dir/typed" ||
    { cat "$dir/typed"; fail "typing the sheets"; }
grep -q "line 3 does not fit: look at character 2 of group 2" "$dir/typed" || { cat "$dir/typed"; fail "the slip was not located"; }
grep -qF "$escrow" "$dir/typed" || fail "another key came out"
grep -q "^relais key 2" "$dir/new/escrow.key" || fail "the key is not sealed"

umask 077
echo "seven wet lamps sing" >"$dir/old"
echo "eight dry lamps hum" >"$dir/other"
if cli new restore site/records@latest volume "$dir/never" --key "$dir/new/escrow.key" --signer "$signer" \
    --passphrase-file "$dir/other" 2>"$dir/why"; then fail "a wrong passphrase opens"; fi
grep -q "the passphrase does not open the key" "$dir/why" || fail "wrong passphrase: $(cat "$dir/why")"
[ ! -e "$dir/never" ] || fail "something was restored"
typist "seven wet lamps sing" - "$relais" -c "$dir/new/relais.conf" restore site/records@latest volume "$dir/restored" \
    --key "$dir/new/escrow.key" --signer "$signer" >"$dir/typed" || { cat "$dir/typed"; fail "restore with the escrow key"; }
same "$dir/was" "$dir/restored"

# Another passphrase: the old one does not open it any more. And none that others may read.
"$relais" keygen --change-passphrase "$dir/new/escrow.key" --passphrase-file "$dir/old" \
    --new-passphrase-file "$dir/other" >/dev/null || fail "changing the passphrase"
if "$relais" keygen --show "$dir/new/escrow.key" --passphrase-file "$dir/old" >/dev/null 2>&1; then fail "the old passphrase opens"; fi
[ "$("$relais" keygen --show "$dir/new/escrow.key" --passphrase-file /dev/fd/3 3<"$dir/other" | head -n 1)" = "$escrow" ] ||
    fail "the new passphrase does not open"
chmod 644 "$dir/other"
if "$relais" keygen --show "$dir/new/escrow.key" --passphrase-file "$dir/other" 2>"$dir/why"; then fail "a passphrase that all may read"; fi
grep -q "chmod 600" "$dir/why" || fail "$(cat "$dir/why")"
echo "restored with a key typed from 2 of 3 sheets; a slip was located at line, group and character"
