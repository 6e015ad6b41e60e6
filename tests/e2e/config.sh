# config: a wrong configuration names file, line, option and what would be right, and nothing starts.
make_keys hub site
truncate -s 1M "$dir/volume"
make_site site <<END
[group records]
[volume records/volume]
path = $dir/volume
END
good=$dir/good.conf
conf=$dir/site/relais.conf
cp "$conf" "$good"
cli site config check >"$dir/check" 2>&1 || fail "the good configuration: $(cat "$dir/check")"

line_of() { grep -n -m1 -- "$1" "$conf" | cut -d: -f1; }

cases=0
# refused PATTERN TEXT: daemon and check both say "FILE:LINE: TEXT", LINE being that of PATTERN; the
# daemon ends with status 78 and has made nothing.
refused() {
    local want status=0
    want="$conf:$(line_of "$1"): $2"
    timeout 10 "$relaisd" -c "$conf" >"$dir/out" 2>&1 || status=$?
    [ $status -eq 78 ] || fail "relaisd ended with $status, not 78, for: $2"
    grep -qF -- "$want" "$dir/out" || { cat "$dir/out"; fail "relaisd does not say: $want"; }
    status=0
    cli site config check >"$dir/out" 2>&1 || status=$?
    [ $status -eq 78 ] || fail "config check ended with $status, not 78, for: $2"
    grep -qF -- "$want" "$dir/out" || { cat "$dir/out"; fail "config check does not say: $want"; }
    for f in state spool control; do
        [ ! -e "$dir/site/$f" ] || fail "$f was made although the configuration is wrong"
    done
    cp "$good" "$conf"
    cases=$((cases + 1))
}

# An unknown option, a bad number, a bad unit.
sed -i 's/^hub = hub/compresion = 3\n&/' "$conf"
refused '^compresion' '[site]: no option "compresion"; did you mean compression?'
sed -i 's/^hub = hub/workers = many\n&/' "$conf"
refused '^workers' '[site] workers = many: not a number; write 0 to 256'
sed -i 's/^hub = hub/spool-budget = 10GB\n&/' "$conf"
refused '^spool-budget' '[site] spool-budget = 10GB: not a size; write a number and KiB, MiB, GiB or TiB'
sed -i 's/^\[group records\]/&\ninterval = 5/' "$conf"
refused '^interval' '[group records] interval = 5: not a duration; write a number and ms, s, min, h or d'

# Wrong keys: one of another kind, a damaged one, a file of another kind, one that others may read, none.
wrong=$(word site restore)
sed -i "s|^link-key = link:.*|link-key = $wrong|" "$conf"
refused "^link-key = $wrong" "[peer hub] link-key = $wrong: a key of kind restore; a key of kind link is needed here"
sed -i 's|^\(link-key = link:.\{10\}\).*|\1|' "$conf"
refused '^link-key = link:' "$(sed -n 's/^link-key = \(link:.*\)/[peer hub] link-key = \1: a damaged key (10 of 44/p' "$conf")"
sed -i "s|^sign-key = .*|sign-key = $dir/site/link.key|" "$conf"
refused '^sign-key' "[site] sign-key = $dir/site/link.key: not a key file of kind sign"
chmod 644 "$dir/site/hash.key"
refused '^hash-key' "[site] hash-key = $dir/site/hash.key: others may read it (mode 644); run: chmod 600"
chmod 600 "$dir/site/hash.key"
sed -i "s|^link-key = /.*|link-key = $dir/none.key|" "$conf"
refused '^link-key = /' "[site] link-key = $dir/none.key: No such file or directory; make it: relais keygen link $dir/none.key"

# Paths that cannot be: no volume, a directory below a file.
sed -i "s|^path = .*|path = $dir/gone|" "$conf"
refused '^path' "[volume records/volume] path = $dir/gone: No such file or directory"
sed -i "s|^spool = .*|spool = $dir/volume/spool|" "$conf"
refused '^spool' "[site] spool = $dir/volume/spool: $dir/volume"

# Things that do not go together.
sed -i 's/^hub = hub/hub = arras/' "$conf"
refused '^hub' '[site] hub = arras: there is no [peer arras]; add it with link-key and address'
sed -i '/^readers/d' "$conf"
refused '^\[group' '[group records] readers: missing here and in [site]'

# All problems at once.
sed -i 's/^hub = hub/&\nworkers = x\ncompression = 99/' "$conf"
status=0
cli site config check >"$dir/out" 2>&1 || status=$?
[ $status -eq 78 ] && grep -q 'workers = x' "$dir/out" && grep -q 'compression = 99' "$dir/out" ||
    { cat "$dir/out"; fail "two problems, but not both are told"; }
cp "$good" "$conf"

echo "$((cases + 1)) wrong configurations, each named and none started"
