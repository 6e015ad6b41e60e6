# nbdtls: exports over TCP: in TLS, for clients whose certificate the CA has signed, with the programs that
# hospitals use; everybody else is refused, and nothing crosses the network in clear.
need() {
    local p
    for p in "$@"; do command -v "$p" >/dev/null || fail "$p is missing: run deploy/install-deps test"; done
}
need nbdinfo nbdcopy qemu-img qemu-io openssl tcpdump

# ---- certificates, as a hospital's CA makes them ----
pki=$dir/pki
issue() { # issue CA DIRECTORY server|client NAME [DAYS]: key and certificate, as QEMU and libnbd name them
    local d=$2 kind=$3 use
    mkdir -p "$d"
    [ "$kind" = server ] && use=serverAuth || use=clientAuth
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$4" -keyout "$d/$kind-key.pem" \
        -out "$d/csr" 2>/dev/null
    printf 'basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=%s\nsubjectAltName=DNS:%s,IP:127.0.0.1\n' \
        $use "$4" >"$d/ext"
    openssl x509 -req -in "$d/csr" -CA "$pki/$1-cert.pem" -CAkey "$pki/$1-key.pem" -CAcreateserial -days "${5:-30}" \
        -extfile "$d/ext" -out "$d/$kind-cert.pem" 2>/dev/null
    cp "$pki/$1-cert.pem" "$d/ca-cert.pem"
    chmod 600 "$d/$kind-key.pem"
    rm "$d/csr" "$d/ext"
}
mkdir "$pki"
for ca in ca other; do
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj "/CN=$ca" \
        -addext keyUsage=critical,keyCertSign,cRLSign -keyout "$pki/$ca-key.pem" -out "$pki/$ca-cert.pem" 2>/dev/null
done
issue ca "$pki/server" server localhost
issue ca "$pki/kvm1" client kvm1.example.org
issue ca "$pki/kvm2" client kvm2.example.org
issue other "$pki/forged" client kvm1.example.org
cp "$pki/ca-cert.pem" "$pki/forged/ca-cert.pem" # it believes the server, but not the other way round
mkdir "$pki/nobody"
cp "$pki/ca-cert.pem" "$pki/nobody"

# ---- a site whose volumes are on TCP ----
make_keys hub site
truncate -s 64M "$dir/data" "$dir/wal"
make_hub site
nbd=$((port + 1))
make_site site "export-tls = $pki/server" <<END_OF_SITE
[group records]
interval = 1s
[volume records/data]
path = $dir/data
source = nbd
export = tcp:127.0.0.1:$nbd
[volume records/wal]
path = $dir/wal
source = nbd
export = tcp:127.0.0.1:$nbd
export-clients = kvm2.example.org
END_OF_SITE
conf=$dir/site/relais.conf
uri() { echo "nbds://localhost:$nbd/$2?tls-certificates=$pki/$1"; } # uri CLIENT VOLUME
logged() { grep -qF "$1" "$dir/site/log" || fail "the log does not say: $1"; }
refused() { # refused TEXT COMMAND...: the command fails, and the log says why
    local text=$1
    shift
    sleep 1.1 # a line a second of what anybody can cause
    ! "$@" >"$dir/out" 2>&1 || fail "it was let in: $*"
    await 5 "the log to say: $text" grep -qF "$text" "$dir/site/log"
    kill -0 "${pid[site]}" || fail "relaisd is gone"
}

echo "-- what is wrong with the certificates is said before anything starts"
check() { # check TEXT: config check fails and says so
    local status=0
    cli site config check >"$dir/out" 2>&1 || status=$?
    [ $status -eq 78 ] || fail "config check ended with $status, not 78, for: $1"
    grep -qF -- "[site] export-tls = $pki/server: $1" "$dir/out" || { cat "$dir/out"; fail "config check does not say: $1"; }
}
cli site config check >"$dir/out" 2>&1 || { cat "$dir/out"; fail "the good configuration"; }
chmod 644 "$pki/server/server-key.pem"
check "server-key.pem: others may read it (mode 644)"
cp "$pki/server/server-key.pem" "$pki/good-key.pem"
cat "$pki/kvm1/client-key.pem" >"$pki/server/server-key.pem"
chmod 600 "$pki/server/server-key.pem"
check "server-key.pem: not the key of server-cert.pem"
cat "$pki/good-key.pem" >"$pki/server/server-key.pem"
mv "$pki/server/ca-cert.pem" "$pki/away"
check "ca-cert.pem: No such file or directory"
cp "$pki/server/server-cert.pem" "$pki/server/ca-cert.pem"
check "ca-cert.pem: not a CA's certificate"
mv "$pki/away" "$pki/server/ca-cert.pem"
cp "$pki/server/server-cert.pem" "$pki/good-cert.pem"
issue ca "$pki/server" server localhost 5
cli site config check >"$dir/out" 2>&1 || { cat "$dir/out"; fail "a certificate that expires soon"; }
grep -q "warning: $pki/server/server-cert.pem expires in [45] days; renew it" "$dir/out" || fail "no warning: $(cat "$dir/out")"
cp "$pki/good-cert.pem" "$pki/server/server-cert.pem"
cat "$pki/good-key.pem" >"$pki/server/server-key.pem"
cp "$conf" "$dir/good.conf"
sed -i '/^export-tls/d' "$conf"
! cli site config check >"$dir/out" 2>&1 || fail "TCP without certificates"
grep -qF "add export-tls = DIRECTORY" "$dir/out" || fail "$(cat "$dir/out")"
cp "$dir/good.conf" "$conf"

start hub
start site
await 20 "the export" nbdinfo --size "$(uri kvm1 records/data)"
tcpdump -i lo -U -w "$dir/pcap" "tcp port $nbd" >"$dir/tcpdump" 2>&1 &
pid[tcpdump]=$!
await 10 "tcpdump" grep -q listening "$dir/tcpdump"

echo "-- libnbd"
/usr/bin/python3 -c 'print("Mme Lefebvre, dossier 4711; " * 300000, end="")' >"$dir/source"
truncate -s 64M "$dir/source"
nbdcopy --flush "$dir/source" "$(uri kvm1 records/data)"
same "$dir/source" "$dir/data"
nbdcopy "$(uri kvm1 records/data)" "$dir/copy"
same "$dir/source" "$dir/copy"
nbdinfo --json "$(uri kvm1 records/data)" | jq -e '.TLS == true and .protocol == "newstyle-fixed"' >"$dir/out" || fail "nbdinfo"

echo "-- QEMU"
creds() { echo "tls-creds-x509,id=tls0,endpoint=client,dir=$pki/$1"; }
image() { echo "driver=raw,file.driver=nbd,file.server.type=inet,file.server.host=localhost,file.server.port=$nbd,file.export=$1,file.tls-creds=tls0"; }
qemu-img compare -q --object "$(creds kvm1)" --image-opts "driver=raw,file.driver=file,file.filename=$dir/source" \
    "$(image records/data)" || fail "qemu-img compare"
qemu-io --object "$(creds kvm2)" --image-opts "$(image records/wal)" >"$dir/out" 2>&1 <<'END_OF_IO' || fail "qemu-io"
write -P 0x51 0 20M
write -z 4M 1M
aio_write -P 0x52 30M 8M
aio_read 0 16M
aio_flush
flush
read -P 0x51 0 4M
read -P 0 4M 1M
read -P 0x52 30M 8M
END_OF_IO
! grep -iE "failed|error" "$dir/out" || fail "qemu-io"
[ "$(grep -c 'read [0-9]*/' "$dir/out")" -eq 4 ] || fail "qemu-io did not read all: $(cat "$dir/out")"

echo "-- everybody else"
refused "shows no certificate" nbdinfo --size "$(uri nobody records/data)"
# GnuTLS does not even show a certificate of a CA that the server does not name; OpenSSL does.
refused "shows no certificate" nbdinfo --size "$(uri forged records/data)"
refused "shows no certificate" qemu-img info --object "$(creds forged)" --image-opts "$(image records/data)"
cat >"$dir/client" <<'END_OF_PYTHON'
import socket, ssl, struct, sys
port, pki, version = int(sys.argv[1]), sys.argv[2], sys.argv[3]
s = socket.create_connection(("127.0.0.1", port), 10)
s.recv(18, socket.MSG_WAITALL)
s.sendall(struct.pack(">I", 3) + b"IHAVEOPT" + struct.pack(">II", 5, 0))
s.recv(20, socket.MSG_WAITALL)
c = ssl.create_default_context(cafile=pki + "/ca-cert.pem")
c.load_cert_chain(pki + "/client-cert.pem", pki + "/client-key.pem")
c.maximum_version = getattr(ssl.TLSVersion, version)
s = c.wrap_socket(s, server_hostname="localhost")
s.sendall(b"IHAVEOPT" + struct.pack(">II", 3, 0))
assert s.recv(20)
END_OF_PYTHON
client() { /usr/bin/python3 "$dir/client" $nbd "$pki/$1" "$2"; }
client kvm1 TLSv1_3 || fail "a client that is to be let in"
refused "the client's certificate is refused" client forged TLSv1_3
refused "TLS with the client failed: unsupported protocol" client kvm1 TLSv1_2
issue ca "$pki/late" client kvm1.example.org 0
sleep 1.1
refused "the client's certificate is refused: certificate has expired" client late TLSv1_3
! nbdinfo --size "nbd://localhost:$nbd/records/data" >"$dir/out" 2>&1 || fail "a client in clear"
grep -qi tls "$dir/out" || fail "a client in clear is not told why: $(cat "$dir/out")"
! nbdinfo --list "nbd://localhost:$nbd" >"$dir/out" 2>&1 || fail "a list in clear"
! nbdinfo --size "$(uri kvm1 records/wal)" >"$dir/out" 2>&1 || fail "kvm1 may use wal"
[ "$(nbdinfo --list --json "$(uri kvm1 '')" | jq -r '.exports[]."export-name"')" = records/data ] || fail "kvm1 sees wal"
[ "$(nbdinfo --list --json "$(uri kvm2 '')" | jq '.exports | length')" = 2 ] || fail "kvm2 does not see both"

echo "-- strangers who say nothing keep nobody out; what is slipped in behind STARTTLS is not taken"
/usr/bin/python3 - $nbd "$(uri kvm1 records/data)" <<'END_OF_PYTHON' || fail "strangers"
import socket, struct, subprocess, sys, time
port, uri = int(sys.argv[1]), sys.argv[2]
def connect(source="127.0.0.1"):
    s = socket.create_connection(("127.0.0.1", port), 10, (source, 0))
    assert s.recv(18, socket.MSG_WAITALL).startswith(b"NBDMAGIC")
    s.sendall(struct.pack(">I", 3))
    return s
def option(n, data=b""):
    return b"IHAVEOPT" + struct.pack(">II", n, len(data)) + data
slow = connect("127.0.0.3")
mute = [connect("127.0.0.2") for _ in range(40)]
assert subprocess.run(["nbdinfo", "--size", uri], capture_output=True, timeout=10).stdout.strip() == b"67108864"
gone = 0
for s in mute:
    s.settimeout(0.2)
    try:
        gone += s.recv(1) == b""
    except TimeoutError:
        pass
    except ConnectionResetError:
        gone += 1
assert gone >= 24, gone
slow.sendall(option(5)) # one who is alone at his address goes on, however slow
assert struct.unpack(">QIII", slow.recv(20, socket.MSG_WAITALL))[2] == 1
s = connect()
for n in (3, 8, 99):
    s.sendall(option(n))
    magic, to, kind, length = struct.unpack(">QIII", s.recv(20, socket.MSG_WAITALL))
    assert (to, kind) == (n, 0x80000005), (n, to, hex(kind))
    s.recv(length, socket.MSG_WAITALL)
time.sleep(1.1)
s.sendall(option(5) + option(8))
assert s.recv(100) == b""
s = connect()
s.sendall(option(1, b"records/data"))
assert s.recv(100) == b""
s = connect()
s.sendall(option(5))
assert struct.unpack(">QIII", s.recv(20, socket.MSG_WAITALL))[2] == 1
s.sendall(b"this is no TLS" * 100)
try:
    while s.recv(1000):
        pass
except ConnectionResetError:
    pass
END_OF_PYTHON
/usr/bin/python3 - $nbd <<'END_OF_PYTHON'
import socket, struct, sys
for i in range(500):
    s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 10)
    s.sendall(b"GET / HTTP/1.0\r\n\r\n" + bytes(100))
    s.close()
END_OF_PYTHON
logged "it went on in clear behind NBD_OPT_STARTTLS"

lines=$(grep -c "connection closed" "$dir/site/log")
[ "$lines" -le 60 ] || fail "$lines lines in the log about strangers"
[ "$(grep -c "more came to nothing" "$dir/site/log")" -ge 1 ] || fail "500 strangers are told of nowhere"

echo "-- a certificate that is renewed, one that is revoked, and none of it needs a restart"
issue other "$pki/server" server localhost
cp "$pki/ca-cert.pem" "$pki/server/ca-cert.pem"
refused "the client closed during the TLS handshake" nbdinfo --size "$(uri kvm1 records/data)"
issue ca "$pki/server" server localhost
nbdinfo --size "$(uri kvm1 records/data)" >"$dir/out" || fail "the renewed certificate"
: >"$pki/index"
printf '[ca]\ndefault_ca=x\n[x]\ndatabase=%s/index\ndefault_md=sha256\ndefault_crl_days=30\n' "$pki" >"$pki/ca.conf"
openssl ca -config "$pki/ca.conf" -keyfile "$pki/ca-key.pem" -cert "$pki/ca-cert.pem" -revoke "$pki/kvm2/client-cert.pem" 2>/dev/null
openssl ca -config "$pki/ca.conf" -keyfile "$pki/ca-key.pem" -cert "$pki/ca-cert.pem" -gencrl -out "$pki/server/ca-crl.pem" 2>/dev/null
nbdinfo --size "$(uri kvm1 records/data)" >"$dir/out" || fail "another one than the revoked"
refused "certificate revoked" nbdinfo --size "$(uri kvm2 records/wal)"

echo "-- nothing in clear"
mark site records tls
restore site "records@$(cli site list records --json | jq -r '[.points[] | select(.label == "tls") | .rp][0]')" data "$dir/restored"
same "$dir/source" "$dir/restored"
kill -INT "${pid[tcpdump]}"
wait "${pid[tcpdump]}" || true
unset "pid[tcpdump]"
[ "$(stat -c %s "$dir/pcap")" -gt 16000000 ] || fail "tcpdump saw $(stat -c %s "$dir/pcap") bytes only"
for word in "Mme Lefebvre" "$dir/data" QQQQQQQQQQQQQQQQ; do # an export's description is its path
    ! grep -qaF "$word" "$dir/pcap" || fail "\"$word\" crossed the network in clear"
done
stop site
! grep -E "(READ|WRITE|TRIM|FLUSH|CACHE|STATUS)[A-Z_]* of [0-9]* bytes at" "$dir/site/log" || fail "requests failed"
echo "libnbd and QEMU over TLS; no certificate, a forged one, a revoked one, no TLS: refused"
