"""Whoever took a site: what is in its daemon's memory and on its disk, and what its link key can do.

    stolen_site.py open PID SITE_DIR RESTORE_KEY OLD_DELTA... -- CURRENT_DELTA
        Looks for what would open the old deltas (their data keys, their subkeys, the restore key) in all
        memory of PID and all files below SITE_DIR. The current delta's data key must be found: else this
        looks in the wrong place.
    stolen_site.py destroy PORT SITE_DIR SITE GROUP RP DIGEST FRAME_H
        Connects with the site's link key, and says everything that the protocol has words for, to
        overwrite or remove what is committed. Prints what was answered; the caller looks at the store.
"""
import base64
import ctypes
import ctypes.util
import os
import re
import socket
import ssl
import struct
import subprocess
import sys
import tempfile

sodium = ctypes.CDLL(ctypes.util.find_library("sodium"))
assert sodium.sodium_init() >= 0


def key_file(path):
    with open(path) as f:
        lines = dict(line.split(" ", 1) for line in f.read().splitlines()[1:])
    return base64.b64decode(lines["public"].split(":")[1]), base64.b64decode(lines["secret"])


def keys_of(delta, public, secret):
    """(data key, subkey) of each source of a delta: wraps and salts are in the tables before its manifest."""
    with open(delta, "rb") as f:
        raw = f.read()
    end = len(raw) - 16 - struct.unpack("<I", raw[-16:-12])[0]
    manifest = raw[max(0, end - 4096) : end]
    fp = __import__("hashlib").sha256(public).digest()[:8]
    out = []
    for at in (m.start() for m in re.finditer(re.escape(fp), manifest)):
        key = ctypes.create_string_buffer(32)
        if sodium.crypto_box_seal_open(key, manifest[at + 8 : at + 88], ctypes.c_ulonglong(80), public, secret) == 0:
            out.append(key.raw)
    # A source is u64 rp, salt, u16 key: whatever follows a small number is tried as a salt.
    pairs = []
    for key in out:
        for at in range(8, len(manifest) - 16):
            if 0 < struct.unpack("<Q", manifest[at - 8 : at])[0] < 100:
                sub = ctypes.create_string_buffer(32)
                sodium.crypto_core_hchacha20(sub, manifest[at : at + 16], key, None)
                pairs.append(sub.raw)
    return out, pairs


def memory_of(pid):
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as mem:
        for line in maps:
            span, mode = line.split()[:2]
            if "r" not in mode or "[v" in line:
                continue
            start, end = (int(x, 16) for x in span.split("-"))
            try:
                mem.seek(start)
                yield f"memory {line.strip()}", mem.read(end - start)
            except OSError:
                pass  # guard pages, device memory


def files_below(top):
    for folder, _, names in os.walk(top):
        for name in names:
            path = os.path.join(folder, name)
            if os.path.isfile(path):
                with open(path, "rb") as f:
                    yield path, f.read()


def find(secrets, places):
    """Which of the named secrets occur, and where first."""
    found = {}
    for where, data in places:
        for name, secret in secrets:
            if name not in found and secret in data:
                found[name] = where
    return found


def open_them(pid, site_dir, restore_key, *deltas):
    cut = deltas.index("--")
    public, secret = key_file(restore_key)
    secrets = [("the restore key", secret)]
    for d in deltas[:cut]:
        data, subs = keys_of(d, public, secret)
        assert data, f"{d}: no data key opens with {restore_key}: the test is blind"
        secrets += [(f"a data key of {os.path.basename(d)}", k) for k in data]
        secrets += [(f"a subkey of {os.path.basename(d)}", k) for k in subs]
    data, _ = keys_of(deltas[cut + 1], public, secret)
    assert data, "the current delta has no data key: the test is blind"
    secrets += [("the current data key", k) for k in data]
    link, sign = key_file(f"{site_dir}/link.key")[1], key_file(f"{site_dir}/sign.key")[1]
    secrets += [("the link key", link), ("the signing key", sign)]
    places = list(memory_of(pid)) + list(files_below(site_dir))
    found = find(secrets, places)
    size = sum(len(d) for _, d in places) >> 20
    for name in ("the current data key", "the link key", "the signing key"):
        assert name in found, f"{name} was not found in {size} MiB: the test is blind"
        del found[name]
    if found:
        sys.exit("\n".join(f"found {name} in {where}" for name, where in found.items()))
    print(f"{len(secrets) - 4} secrets of {cut} old deltas are nowhere in {size} MiB of memory and disk")


# ---- the link ----


def identity(site_dir):
    _, seed = key_file(f"{site_dir}/link.key")
    with tempfile.TemporaryDirectory() as d:
        der = bytes.fromhex("302e020100300506032b657004220420") + seed
        pem = base64.encodebytes(der).decode()
        with open(f"{d}/key.pem", "w") as f:
            f.write(f"-----BEGIN PRIVATE KEY-----\n{pem}-----END PRIVATE KEY-----\n")
        subprocess.run(["openssl", "req", "-x509", "-new", "-key", f"{d}/key.pem", "-out", f"{d}/cert.pem", "-days", "2",
                        "-subj", "/CN=relais"], check=True, stderr=subprocess.DEVNULL)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.load_cert_chain(f"{d}/cert.pem", f"{d}/key.pem")
        return context


def connect(port, context):
    return context.wrap_socket(socket.create_connection(("127.0.0.1", int(port)), 5))


def frame(kind, message, payload=b"", ident=7):
    return struct.pack("<HBBIII", 0x4C52, kind, 0, ident, len(message), len(payload)) + message + payload


def field(number, value):
    if isinstance(value, int):
        return bytes([number << 3]) + varint(value)
    return bytes([number << 3 | 2]) + varint(len(value)) + value


def varint(n):
    out = b""
    while n > 127:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])


def answer(s):
    try:
        _, kind, _, _, n, p = struct.unpack("<HBBIII", read(s, 16))
        return kind, read(s, n), read(s, p)
    except (OSError, EOFError):
        return 0, b"", b""


def read(s, n):
    data = b""
    while len(data) < n:
        more = s.recv(n - len(data))
        if not more:
            raise EOFError
        data += more
    return data


def destroy(port, site_dir, site, group, rp, digest, frame_h):
    with open(frame_h) as f:
        kinds = {int(n): name for n, name in re.findall(r"X\((\d+), (\w+),", f.read())}
    site, group, rp, digest = site.encode(), group.encode(), int(rp), bytes.fromhex(digest)
    context = identity(site_dir)
    s = connect(port, context)
    number = {name: n for n, name in kinds.items()}
    hello = frame(number["Hello"], field(1, 1))
    s.sendall(hello)
    assert answer(s)[0] == number["Welcome"], "the hub does not greet the site: the test is blind"
    s.sendall(frame(number["HeadGet"], field(1, group)))
    kind, _, manifest = answer(s)
    assert kind == number["Head"] and manifest, "the hub does not tell the site its head: the test is blind"
    s.close()
    forged = bytearray(manifest)
    forged[60] ^= 1
    bodies = {
        "by group": field(1, group),
        "of the committed delta": field(1, group) + field(2, digest) + field(3, 0) + field(4, 0),
        "of the committed recovery point": field(1, site) + field(2, group) + field(3, rp) + field(4, digest),
        "of another site": field(1, b"douai") + field(2, group) + field(3, rp) + field(4, digest),
    }
    payloads = {"": b"", "its own manifest": manifest, "a forged manifest": bytes(forged), "other bytes": os.urandom(4096)}
    said = {}
    for kind in list(kinds) + [0, 127, 255]:
        for what, body in bodies.items():
            for with_, payload in payloads.items():
                if kinds.get(kind) in ("Hello", "Welcome", "Ping", "Pong") and with_:
                    continue
                s = connect(port, context)
                s.settimeout(0.15)
                s.sendall(hello)
                answer(s)
                try:
                    s.sendall(frame(kind, body, payload))
                    got = answer(s)
                except OSError:
                    got = (0, b"", b"")
                said.setdefault(kinds.get(kind, "unknown"), set()).add(kinds.get(got[0], "hung up" if got[0] == 0 else "?"))
                s.close()
    for name, answers in sorted(said.items()):
        print(f"{name}: {', '.join(sorted(answers))}")


{"open": open_them, "destroy": destroy}[sys.argv[1]](*sys.argv[2:])
