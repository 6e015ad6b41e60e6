# The short form of tests/e2e/chaos, which is a campaign of its own: three OSDs, two hubs, what can die or stand
# still does, and no acknowledged recovery point is lost or wrong. Brings a Ceph of its own.
# only with --ceph
tests/e2e/chaos --rounds 3 --sites 2 --restores 1 >"$dir/out" || { cat "$dir/out"; fail "chaos"; }
tail -n 1 "$dir/out"
