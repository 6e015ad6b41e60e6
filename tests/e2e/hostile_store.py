"""A hosting member that lies: changes what a dir store holds, the way relais itself writes it.

    hostile_store.py ROOT flip SITE GROUP RP OFFSET          one bit of a delta; "index", "tables", "manifest": in that
    hostile_store.py ROOT cut SITE GROUP RP BYTES            its first object loses BYTES at the end
    hostile_store.py ROOT lose SITE GROUP RP                 its objects are gone
    hostile_store.py ROOT swap SITE GROUP RP RP              the content of two deltas is exchanged
    hostile_store.py ROOT rollback SITE GROUP RP             nothing after RP was ever committed
    hostile_store.py ROOT drop SITE GROUP RP                 no entry of RP in the catalog
    hostile_store.py ROOT stale SITE GROUP RP OTHER          RP's entry is that of OTHER, under RP's number
    hostile_store.py ROOT embellish SITE GROUP RP            another time and label in RP's entry
    hostile_store.py ROOT replay SITE GROUP SITE GROUP       the second serves what belongs to the first
    hostile_store.py ROOT splice SITE GROUP RP ROOT2         RP and its delta come from another store

The checksums of the store's files are made right again: they guard against decay, not against their owner.
"""
import os
import shutil
import struct
import sys

SLOT, HEAD, BODY = 1024, 24 + 522 + 8, 522


def fnv(data):
    h = 0xCBF29CE484222325
    for b in data:
        h = ((h ^ b) * 0x100000001B3) & (2**64 - 1)
    return h


class Group:
    def __init__(self, root, site, group):
        self.group, self.heads = group, f"{root}/sites/{site}/heads/{group}"
        self.objects = f"{root}/sites/{site}/objects/{group}"
        with open(self.heads + "/head", "rb") as f:
            count, self.generation = struct.unpack("<8xQQ", f.read(24))
        self.catalog = f"{self.heads}/catalog" + (f".{self.generation}" if self.generation else "")
        with open(self.catalog, "rb") as f:
            raw = f.read(count * SLOT)
        self.entries = [raw[i * SLOT : i * SLOT + BODY] for i in range(count)]

    def rp(self, entry):
        return struct.unpack("<Q", entry[:8])[0]

    def at(self, rp):
        for i, e in enumerate(self.entries):
            if self.rp(e) == rp:
                return i
        sys.exit(f"there is no RP {rp}")

    def save(self):
        with open(self.catalog, "wb") as f:
            for e in self.entries:
                slot = e + bytes(SLOT - 8 - len(e))
                f.write(slot + struct.pack("<Q", fnv(slot)))
        head = b"RELAISH1" + struct.pack("<QQ", len(self.entries), self.generation) + self.entries[-1]
        with open(self.heads + "/head", "wb") as f:
            f.write(head + struct.pack("<Q", fnv(head)))

    def files(self, rp):
        """The objects of a delta, in order: those of the digest that its entry names."""
        digest = self.entries[self.at(rp)][10 + 9 : 10 + 17].hex()
        name = f"{rp:016x}"
        folder = f"{self.objects}/{name[:13]}+"
        found = sorted(f for f in os.listdir(folder) if f.startswith(f"{name[13:]}+{digest}."))
        if not found:
            sys.exit(f"RP {rp} has no objects")
        return [f"{folder}/{f}" for f in found]


    def place(self, rp, what):
        """Deltas of one object only."""
        value = self.entries[self.at(rp)][10:]
        end = struct.unpack("<Q", value[157:165])[0] - 16
        manifest = end - struct.unpack("<I", value[173:177])[0]
        with open(self.files(rp)[0], "rb") as f:
            raw = f.read()[manifest:]
        at = 16
        for _ in range(3):
            at += 1 + raw[at]
        at += 48 + (40 if raw[12] & 2 else 0) + 44
        tables = struct.unpack("<I", raw[at + 36 : at + 40])[0]
        return {"index": manifest - tables - 20, "tables": manifest - 20, "manifest": end - 30}.get(what) or int(what)


def change(path, edit):
    with open(path, "rb") as f:
        data = bytearray(f.read())
    data = edit(data)
    with open(path, "wb") as f:
        f.write(data)


def flipped(offset):
    def edit(data):
        data[offset] ^= 1
        return data

    return edit


def main(root, verb, site, group, *args):
    g = Group(root, site, group)
    if verb == "flip":
        change(g.files(int(args[0]))[0], flipped(g.place(int(args[0]), args[1])))
    elif verb == "cut":
        change(g.files(int(args[0]))[0], lambda data: data[: -int(args[1])])
    elif verb == "lose":
        for f in g.files(int(args[0])):
            os.unlink(f)
    elif verb == "swap":
        a, b = g.files(int(args[0]))[0], g.files(int(args[1]))[0]
        os.rename(a, a + "~"), os.rename(b, a), os.rename(a + "~", b)
    elif verb == "rollback":
        g.entries = g.entries[: g.at(int(args[0])) + 1]
        g.save()
    elif verb == "drop":
        del g.entries[g.at(int(args[0]))]
        g.save()
    elif verb == "stale":
        other = g.entries[g.at(int(args[1]))]
        g.entries[g.at(int(args[0]))] = struct.pack("<Q", int(args[0])) + other[8:]
        g.save()
    elif verb == "embellish":
        i = g.at(int(args[0]))
        e = bytearray(g.entries[i])
        length = struct.unpack("<H", e[8:10])[0]
        label = b"trust me"
        at = 10 + 1 + 8 + 32 + 32 + 32  # behind version, rp_first, digest, parent, link: the cut's time
        e[at : at + 8] = struct.pack("<q", 4102444800 * 10**9)
        end = 10 + length - 1  # the label's length, when it is empty
        if e[end] != 0:
            sys.exit(f"RP {args[0]} has a label already")
        e[end : end + 1 + len(label)] = bytes([len(label)]) + label
        e[8:10] = struct.pack("<H", length + len(label))
        g.entries[i] = bytes(e)
        g.save()
    elif verb == "replay":
        other = f"{root}/sites/{args[0]}"
        for kind in ("heads", "objects"):
            shutil.rmtree(f"{other}/{kind}/{args[1]}", ignore_errors=True)
            shutil.copytree(f"{root}/sites/{site}/{kind}/{group}", f"{other}/{kind}/{args[1]}")
    elif verb == "splice":
        theirs = Group(args[1], site, group)
        g.entries[g.at(int(args[0]))] = theirs.entries[theirs.at(int(args[0]))]
        for f in theirs.files(int(args[0])):
            shutil.copy(f, f.replace(args[1], root, 1))
        g.save()
    else:
        sys.exit(__doc__)


main(*sys.argv[1:])
