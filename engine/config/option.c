#include "option.h"

#include <stdio.h>
#include <string.h>

const struct section_info section_infos[SECTION_KINDS] = {
    [SECTION_SITE] =
        {"site", NULL,
         "This machine: who it is, where it keeps its state, what it may use. Required."},
    [SECTION_HUB] = {"hub", NULL,
                     "Present on the hosting member: take deltas in, store them, serve them."},
    [SECTION_PEER] =
        {"peer", "NAME",
         "Another daemon, known by its keys: for a site its hub, for a hub its sites."},
    [SECTION_GROUP] = {"group", "NAME",
                       "Volumes that are cut at one instant and recovered together."},
    [SECTION_VOLUME] = {"volume", "GROUP/NAME", "One raw image or block device of a group."},
};

#define S            UINT64_C(1000000000)
#define SITE(field)  offsetof(struct config, field), sizeof(((struct config *)0)->field)
#define PEER(field)  offsetof(struct config_peer, field), sizeof(((struct config_peer *)0)->field)
#define GROUP(field) offsetof(struct config_group, field), sizeof(((struct config_group *)0)->field)
#define VOLUME(field)                                                                              \
    offsetof(struct config_volume, field), sizeof(((struct config_volume *)0)->field)

const struct option options[] = {
    {SECTION_SITE, "name", OPTION_NAME, SITE(name), .required = true,
     .help =
         "Name of this member. It is part of every object it ships: it cannot be changed later."},
    {SECTION_SITE, "state", OPTION_PATH, SITE(state_dir), .value = "/var/lib/relais",
     .help = "Directory of the scan indexes and of what is known to be committed."},
    {SECTION_SITE, "spool", OPTION_PATH, SITE(spool_dir), .value = "/var/lib/relais/spool",
     .help = "Directory of sealed deltas that the hub has not committed yet."},
    {SECTION_SITE, "spool-budget", OPTION_SIZE, SITE(spool_budget), 0, 32 * MIB, 64 * TIB, "16GiB",
     .help =
         "Bytes that the spool may hold: at least 4 times *delta-max*. When it is full, changes "
         "are remembered but not sealed; nothing is lost but the history in between."},
    {SECTION_SITE, "connections", OPTION_NUMBER, SITE(lanes_max), 0, 1, 8, "4",
     .help = "Connections to the hub at most. A second one and so on is opened when the link is "
             "busy, and stays when more gets across with it."},
    {SECTION_SITE, "spool-reserve", OPTION_SIZE, SITE(spool_reserve), 0, 0, 16 * TIB, "1GiB",
     .help = "Bytes of the spool's file system that are left free for others."},
    {SECTION_SITE, "delta-max", OPTION_SIZE, SITE(delta_max), 0, 8 * MIB, DELTA_MAX, "256MiB",
     .help =
         "Largest delta. A longer change is shipped as several, and offered for recovery when the "
         "last is there."},
    {SECTION_SITE, "control", OPTION_PATH, SITE(control), .value = "/run/relais/control",
     .help = "Unix socket that *relais*(1) talks to. At most 107 bytes long."},
    {SECTION_SITE, "link-key", OPTION_PATH, SITE(link_key_file), .value = "/etc/relais/link.key",
     .help = "Key file of kind link: who this daemon is on the wire."},
    {SECTION_SITE, "sign-key", OPTION_PATH, SITE(sign_key_file), .value = "/etc/relais/sign.key",
     .help = "Key file of kind sign: signs what this site ships. Needed with groups only."},
    {SECTION_SITE, "hash-key", OPTION_PATH, SITE(hash_key_file), .value = "/etc/relais/hash.key",
     .help = "Key file of kind hash: keys the hashes by which a scan finds changes. Needed with "
             "groups only; never leaves the site."},
    {SECTION_SITE, "hub", OPTION_NAME, SITE(hub),
     .help = "The peer that the groups ship to. Required with groups."},
    {SECTION_SITE, "readers", OPTION_KEYS, offsetof(struct config, readers), CONFIG_WORD_MAX,
     offsetof(struct config, reader_count), .kind = "restore",
     .help =
         "Public restore keys that open everything this site ships: its own, and the escrow key "
         "that the territory keeps offline. Without one of their secret halves nothing can be "
         "restored."},
    {SECTION_SITE, "export-memory", OPTION_SIZE, SITE(export_memory), 0, 16 * MIB, TIB, "256MiB",
     .help = "Memory for requests on their way, of all connections to exports together. Each may "
             "take 4.1 MiB; who connects when it is used up is turned away."},
    {SECTION_SITE, "seed-rate", OPTION_SIZE_NONE, SITE(seed_rate), 0, 64 * KIB, TIB, "none",
     .help = "Bytes that all groups together read of their volumes in a second, where nobody waits "
             "for it: see *seed-rate* of a group, which is a limit of its own."},
    {SECTION_SITE, "export-tls", OPTION_PATH, SITE(export_tls),
     .help = "Directory of the certificates for exports over TCP, as QEMU and nbdkit have it: "
             "_ca-cert.pem_, whose signature each client's certificate must bear, "
             "_server-cert.pem_, _server-key.pem_, and _ca-crl.pem_ if there is one. What is "
             "renewed there counts from the next connection on. TLS 1.3 only."},
    {SECTION_SITE, "workers", OPTION_NUMBER, SITE(workers), 0, 0, 256, "0",
     .help = "Threads that hash, compress and encrypt. 0: one per processor."},
    {SECTION_SITE, "compression", OPTION_LEVEL, SITE(compression), 0, 0, 19, "auto",
     .help = "Level of zstd. *auto*: 1 while the link keeps up; up to 9 when it is the link that "
             "holds shipping up and processors are idle; back when they are not, or cuts take as "
             "long as their interval. *0* stores."},

    {SECTION_SITE, "rate", OPTION_RATES, SITE(rates),
     .help = "How fast to ship, all groups together, by weekday and time of day: rules apart by "
             "commas, on one line or several, of which the first that fits decides. "
             "*mon..fri 08:00-18:00 20mbit, 100mbit* leaves the line to others in working hours. "
             "Days and times may be left out; a time like 22:00-06:00 goes on until the next day; "
             "*off* is no limit, as where no rule fits. Times are local. *relais rate* changes it "
             "until the next start."},

    {SECTION_HUB, "listen", OPTION_LISTEN, SITE(listen), .value = ":7440",
     .help = "Address and port, or :PORT for all addresses."},
    {SECTION_HUB, "address", OPTION_ADDRS, offsetof(struct config, hub_addrs), 0,
     offsetof(struct config, hub_addr_count),
     .help = "Where sites reach this hub, up to 4 HOST:PORT, tried in this order: invitations name "
             "it (*relais territory invite*)."},
    {SECTION_HUB, "escrow", OPTION_KEY, SITE(escrow), .kind = "restore",
     .help = "Public restore key that the territory keeps offline. It is told to who enrols, and "
             "opens what they ship if they accept it."},
    {SECTION_HUB, "store", OPTION_STORE, SITE(store), .required = true,
     .help =
         "*dir:/PATH* for plain files, *rados:POOL* for a Ceph pool, or *rados:POOL+DATA* where "
         "objects are in the pool DATA, which may be erasure-coded."},
    {SECTION_HUB, "ceph-conf", OPTION_PATH, SITE(ceph_conf), .value = "/etc/ceph/ceph.conf",
     .help = "Ceph's configuration file (rados stores)."},
    {SECTION_HUB, "ceph-user", OPTION_WORD, SITE(ceph_user), .value = "relais",
     .help = "Name of the cephx user, without \"client.\" (rados stores)."},
    {SECTION_HUB, "ceph-keyring", OPTION_PATH, SITE(ceph_keyring),
     .value = "/etc/ceph/ceph.client.relais.keyring",
     .help = "Keyring that holds the user's key (rados stores)."},
    {SECTION_HUB, "memory", OPTION_SIZE, SITE(hub_memory), 0, 32 * MIB, TIB, "64MiB",
     .help = "Memory for parts on their way into the store, all connections together."},
    {SECTION_HUB, "connections", OPTION_NUMBER, SITE(connections_max), 0, 1, 4096, "64",
     .help = "Connections served at a time; further ones are refused."},
    {SECTION_HUB, "keep", OPTION_KEEP, SITE(keep), .value = "all ever",
     .help = "Which recovery points stay: rules apart by commas. *all 48h* keeps each of the last "
             "48 hours; *hourly 14d*, *daily 90d*, *weekly 8*, *monthly 36*, *yearly 10* the last "
             "complete one of each hour, day, week (from Monday), month and year of UTC, that is "
             "not older than the span (a number counts hours, days and so on); *labelled 5000d* "
             "those that bear a label, which otherwise stay for ever. A span may be *ever*. What "
             "no rule keeps is merged into the next that stays. The newest complete one always "
             "stays, and what is pinned (*relais pin*). Ages are measured by the hub's clock at "
             "the commit; one that jumps makes nothing older by more than a day. *relais "
             "retention* shows what it means. Rules that keep less take effect *lock* later."},
    {SECTION_HUB, "lock", OPTION_DURATION_NEVER, SITE(lock_ns), 0, S, UINT64_C(36525) * 86400 * S,
     "1d",
     .help = "No recovery point that is younger goes, whatever the rules and whoever asks. A "
             "shorter lock, rules that keep less, and *relais unpin* take effect when as much "
             "time as this has passed: time to notice a mistake, or somebody who should not be "
             "there. *never*: nothing is locked, and everything takes effect at once."},
    {SECTION_HUB, "scrub", OPTION_DURATION_NEVER, SITE(scrub_ns), 0, 60 * S, 3650 * 86400 * S, "7d",
     .help = "How often all that is stored is read and held against the digests that the sites "
             "signed. What is damaged or missing is told by *relais scrub*, the log and *relais "
             "status*. *never*: only on *relais scrub --now*."},
    {SECTION_HUB, "scrub-rate", OPTION_SIZE_NONE, SITE(scrub_rate), 0, 64 * KIB, TIB, "64MiB",
     .help = "Bytes that scrubbing reads in a second."},
    {SECTION_HUB, "compact-interval", OPTION_DURATION_NEVER, SITE(compact_interval), 0, S,
     7 * 86400 * S, "15min",
     .help = "How often recovery points that nobody keeps are folded into those that stay, and "
             "objects that nothing refers to are removed. *relais compact* does it at once."},
    {SECTION_HUB, "compact-rate", OPTION_SIZE, SITE(compact_rate), 0, 0, TIB, "32MiB",
     .help = "Bytes a second that this reads at most, so that the store is there for others; 0: no "
             "limit."},

    {SECTION_PEER, "link-key", OPTION_KEYS, offsetof(struct config_peer, link_keys),
     CONFIG_WORD_MAX, offsetof(struct config_peer, link_key_count), 1, CONFIG_LINK_KEYS_MAX,
     .kind = "link", .required = true,
     .help =
         "Public link key, by which the peer is known on the wire. Up to 4: of each of the daemons "
         "that are one hub together, or of a peer that is to change its key."},
    {SECTION_PEER, "sign-key", OPTION_KEY, PEER(sign_key), .kind = "sign",
     .help =
         "Public key that the peer signs with. A hub needs it of each site that ships to it, and a "
         "site of each other one that it restores from."},
    {SECTION_PEER, "address", OPTION_ADDRS, offsetof(struct config_peer, addrs), 0,
     offsetof(struct config_peer, addr_count),
     .help =
         "Where it listens, up to 4 HOST:PORT, or where the daemons do that are one hub together. "
         "The first that answers is used; when it fails, the next. A site goes back to the first "
         "when that has answered for a minute. None: it connects to us."},
    {SECTION_PEER, "reads", OPTION_READS, offsetof(struct config_peer, reads),
     sizeof(((struct config_peer *)0)->reads[0]), offsetof(struct config_peer, read_count),
     .help =
         "On a hub: what the peer may fetch besides its own, up to 64 of SITE/GROUP or SITE/\\*. "
         "It still needs a restore key that opens it."},
    {SECTION_PEER, "keep", OPTION_KEEPS, offsetof(struct config_peer, keeps),
     sizeof(((struct config_peer *)0)->keeps[0]), offsetof(struct config_peer, keep_count),
     .help = "On a hub: rules for this site's groups in place of [hub] *keep*. *imaging: all 6h, "
             "daily 30d* is for its group imaging only; up to 32 lines."},
    {SECTION_PEER, "quota", OPTION_SIZE_NONE, PEER(quota), 0, MIB, UINT64_C(1) << 60, "none",
     .help = "On a hub: bytes that the site may have stored. Over it new recovery points are "
             "refused: the site keeps them in its spool, and merges them when that fills. "
             "*relais usage* shows how much it is. Removing what is kept (*keep*) makes room."},
    {SECTION_PEER, "lock", OPTION_DURATION_NEVER, PEER(lock_ns), 0, S, UINT64_C(36525) * 86400 * S,
     "auto", .help = "On a hub: in place of [hub] *lock*, which *auto* takes."},

    {SECTION_GROUP, "interval", OPTION_DURATION_NEVER, GROUP(interval_ns), 0, S, 7 * 86400 * S,
     "auto",
     .help =
         "Time from the start of a cut to the next. *never*: only on *relais mark*. *auto*: 5 s "
         "when all volumes of the group have *source = nbd*, because such a cut looks at "
         "nothing but what was written; else 5 min, because all of a scanned volume is read."},
    {SECTION_GROUP, "cut-bytes", OPTION_SIZE_NONE, GROUP(cut_bytes), 0, MIB, TIB, "none",
     .help = "A cut also starts, before the interval is over, when about this much of the group's "
             "volumes with *source = nbd* was written since the last one; but at most once a "
             "second. It bounds what one recovery point can hold and a crash can make to be sealed "
             "again."},
    {SECTION_GROUP, "spool-budget", OPTION_SIZE_NONE, GROUP(spool_budget), 0, 64 * MIB, 64 * TIB,
     "none",
     .help = "Bytes of the site's *spool-budget* that this group may hold, so that one that writes "
             "much does not keep the others from being sealed while the hub is away."},
    {SECTION_GROUP, "seed-rate", OPTION_SIZE_NONE, GROUP(seed_rate), 0, 64 * KIB, TIB, "auto",
     .help = "Bytes of volumes that are read in a second while they are seeded, while the group "
             "catches up after it fell behind, and while a volume with *source = scan* is scanned "
             "without *freeze*: so that those who use the volumes keep most of their disk. What "
             "somebody waits for is not held up: a cut of volumes with *source = nbd*, and a scan "
             "under *freeze*. *auto*: 200 MiB when a volume of the group has *source = nbd*, else "
             "*none*. Seeding 4 TiB of data at 200 MiB takes 6 hours."},
    {SECTION_GROUP, "priority", OPTION_PRIORITY, GROUP(priority), .value = "normal",
     .help = "*high*, *normal* or *low*: its share of the link while others have something to ship "
             "too, 16 to 4 to 1. What a group does not use goes to the others."},
    {SECTION_GROUP, "freeze", OPTION_COMMAND, GROUP(freeze),
     .help = "Command that brings the volumes to rest for the scan, and keeps them there until "
             "*thaw*; run by /bin/sh. When it fails there is no cut, and the next interval tries "
             "again. Without it a volume that is written during the scan has no consistent cut."},
    {SECTION_GROUP, "thaw", OPTION_COMMAND, GROUP(thaw),
     .help = "Command that ends what *freeze* began. Always run after it, also after a failure and "
             "when the daemon starts after a crash: it must not mind being run twice."},
    {SECTION_GROUP, "freeze-timeout", OPTION_DURATION, GROUP(freeze_timeout_ns), 0, S / 10,
     3600 * S, "30s", .help = "Time that each of the two commands may take before it is killed."},
    {SECTION_GROUP, "freeze-max", OPTION_DURATION, GROUP(freeze_max_ns), 0, S, 86400 * S, "10min",
     .help = "A cut that holds the freeze for longer is given up."},
    {SECTION_GROUP, "readers", OPTION_KEYS, offsetof(struct config_group, readers), CONFIG_WORD_MAX,
     offsetof(struct config_group, reader_count), .kind = "restore",
     .help = "Public restore keys that open this group, besides the site's *readers*."},

    {SECTION_VOLUME, "path", OPTION_PATH, VOLUME(path), .required = true,
     .help = "The raw image or block device. Its size is a multiple of 512 bytes, at most 16 TiB."},
    {SECTION_VOLUME, "source", OPTION_SOURCE, VOLUME(source), .value = "scan",
     .help = "How changes become known. *scan*: others write the volume, and it is compared with "
             "hashes of what it was. *nbd*: relaisd serves it as *export*, and sees what is "
             "written; nobody else may write it."},
    {SECTION_VOLUME, "export", OPTION_EXPORT, VOLUME(export),
     .help = "Where to serve a volume with *source = nbd*: a unix socket, or a TCP address, which "
             "needs [site] *export-tls*. Its export is named GROUP/VOLUME; several volumes may "
             "share an address. The path has at most 107 bytes."},
    {SECTION_VOLUME, "export-mode", OPTION_MODE, VOLUME(export_mode), 0, 0, 0777, "0660",
     .help = "Mode of the unix socket, octal: who may connect may read and write the volume."},
    {SECTION_VOLUME, "export-owner", OPTION_OWNER, VOLUME(export_owner),
     .help = "User and group that the unix socket is given to, by name or number. Default: those "
             "of relaisd, or of the directory when it has the setgid bit. A daemon that is not "
             "root can give it to a group that it is in (_SupplementaryGroups=_ of its unit); to "
             "another user only with _AmbientCapabilities=CAP_CHOWN_."},
    {SECTION_VOLUME, "export-clients", OPTION_CLIENTS, offsetof(struct config_volume, clients),
     CONFIG_WORD_MAX, offsetof(struct config_volume, client_count),
     .help = "With TCP: up to 16 names, one of which a client's certificate must bear, as a DNS "
             "subject alternative name or, when it has none, as its common name. Clients see "
             "only the exports that they may use. Default: every certificate that the CA of "
             "*export-tls* has signed."},
};
const size_t option_count = sizeof options / sizeof options[0];

const struct option *option_find(enum section_kind section, const char *name)
{
    for (size_t i = 0; i < option_count; i++)
        if (options[i].section == section && strcmp(options[i].name, name) == 0)
            return &options[i];
    return NULL;
}

bool option_has_auto(const struct option *o)
{
    /* A level has a word of its own for it, and less room. */
    return o->type != OPTION_LEVEL && o->value && strcmp(o->value, "auto") == 0;
}

/* Edit distance (Levenshtein) of two words, each cut off at 32 bytes. */
static unsigned distance(const char *a, const char *b)
{
    unsigned row[33];
    size_t la = strnlen(a, 32), lb = strnlen(b, 32);
    for (size_t j = 0; j <= lb; j++)
        row[j] = (unsigned)j;
    for (size_t i = 1; i <= la; i++) {
        unsigned corner = row[0];
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= lb; j++) {
            unsigned best = corner + (a[i - 1] != b[j - 1]);
            corner = row[j];
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[lb];
}

/* Near enough to be a slip of the hand: a third of the word, at least one letter. */
static bool nearer(const char *word, const char *candidate, unsigned *best)
{
    unsigned d = distance(word, candidate), limit = (unsigned)(strnlen(candidate, 32) + 2) / 3;
    if (d >= *best || d > limit)
        return false;
    *best = d;
    return true;
}

const char *option_nearest(enum section_kind section, const char *name)
{
    const char *found = NULL;
    unsigned best = UINT32_MAX;
    for (size_t i = 0; i < option_count; i++)
        if (options[i].section == section && nearer(name, options[i].name, &best))
            found = options[i].name;
    return found;
}

const char *section_nearest(const char *word)
{
    const char *found = NULL;
    unsigned best = UINT32_MAX;
    for (size_t i = 0; i < SECTION_KINDS; i++)
        if (nearer(word, section_infos[i].word, &best))
            found = section_infos[i].word;
    return found;
}

void option_set_defaults(enum section_kind section, void *base)
{
    for (size_t i = 0; i < option_count; i++) {
        struct err e = ERR_INIT;
        if (options[i].section == section && options[i].value)
            ASSERT(option_set(&options[i], base, options[i].value, &e) == 0);
    }
}
