/* config: a good file becomes typed values; every wrong line says where it is, what is wrong with
 * it and what would be right, and all of them are told at once. */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define LINK    "link:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
#define LINK2   "link:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE="
#define LINK3   "link:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAI="
#define SIGN    "sign:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
#define RESTORE "restore:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
#define ESCROW  "restore:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE="

#define SITE  "[site]\nname = lens\nhub = arras\nreaders = " RESTORE "\n"        /* lines 1 to 4 */
#define PEER  "[peer arras]\nlink-key = " LINK "\naddress = arras:7440\n"        /* 5 to 7 */
#define GROUP "[group records]\n[volume records/data]\npath = /dev/vg/records\n" /* 8 to 10 */
#define GOOD  SITE PEER GROUP

struct heard {
    unsigned count;
    int line;
    char first[600], all[8192];
};

static void hear(void *arg, int line, const char *text)
{
    struct heard *h = arg;
    size_t n = strlen(h->all);
    if (h->count++ == 0) {
        h->line = line;
        (void)snprintf(h->first, sizeof h->first, "%s", text);
    }
    (void)snprintf(h->all + n, sizeof h->all - n, "%d: %s\n", line, text);
}

static struct config *parse(const char *text, struct heard *h, struct err *e)
{
    struct config *c = NULL;
    *h = (struct heard){0};
    *e = (struct err)ERR_INIT;
    if (config_parse(&c, "relais.conf", text, strlen(text), hear, h, e) != 0)
        assert_null(c);
    return c;
}

static void a_small_file_gets_defaults(void **state)
{
    struct heard h;
    struct err e;
    struct config *c = parse(GOOD, &h, &e);
    (void)state;
    if (!c)
        fail_msg("%s", e.text);
    assert_int_equal(h.count, 0);
    assert_string_equal(c->name, "lens");
    assert_string_equal(c->state_dir, "/var/lib/relais");
    assert_true(c->spool_budget == 16 * GIB);
    assert_true(c->delta_max == 256 * MIB);
    assert_int_equal(c->compression, CONFIG_LEVEL_AUTO);
    assert_false(c->has_hub);
    assert_int_equal(c->peer_count, 1);
    assert_string_equal(c->peers[0].addrs[0].host, "arras");
    assert_int_equal(c->peers[0].addrs[0].port, 7440);
    assert_int_equal(c->group_count, 1);
    assert_true(c->groups[0].interval_ns == UINT64_C(300000000000));
    assert_int_equal(c->groups[0].volume_count, 1);
    assert_string_equal(c->groups[0].volumes[0].name, "data");
    assert_int_equal(c->groups[0].volumes[0].line, 9);
    assert_int_equal(c->groups[0].volumes[0].source, CONFIG_SCAN);
    assert_string_equal(c->groups[0].volumes[0].export.path, "");
    assert_true(c->export_memory == 256 * MIB);
    assert_ptr_equal(config_group(c, "records"), &c->groups[0]);
    assert_null(config_group(c, "imaging"));
    config_free(c);
}

/* A cut of captured volumes costs what was written, a scan all of the volume. */
static void what_is_auto_depends_on_the_volumes(void **state)
{
    static const char nbd[] = "[volume records/wal]\npath = /w\nsource = nbd\nexport = unix:/x\n";
    char text[4096];
    struct heard h;
    struct err e;
    struct config *c;
    (void)state;
    (void)snprintf(text, sizeof text, SITE PEER "[group records]\n%s", nbd);
    c = parse(text, &h, &e);
    if (!c)
        fail_msg("%s", h.all);
    assert_true(c->groups[0].interval_ns == UINT64_C(5000000000));
    assert_true(c->groups[0].seed_rate == 200 * MIB && c->groups[0].cut_bytes == 0);
    assert_true(c->seed_rate == 0);
    config_free(c);
    (void)snprintf(text, sizeof text, GOOD "%s", nbd);
    c = parse(text, &h, &e);
    assert_non_null(c);
    assert_true(c->groups[0].interval_ns == UINT64_C(300000000000));
    assert_true(c->groups[0].seed_rate == 200 * MIB);
    config_free(c);
    c = parse(GOOD, &h, &e);
    assert_non_null(c);
    assert_true(c->groups[0].seed_rate == 0);
    config_free(c);
    (void)snprintf(text, sizeof text,
                   SITE "seed-rate = 1GiB\n" PEER
                        "[group records]\ninterval = auto\nseed-rate = none\ncut-bytes = 64MiB\n%s",
                   nbd);
    c = parse(text, &h, &e);
    assert_non_null(c);
    assert_true(c->groups[0].interval_ns == UINT64_C(5000000000));
    assert_true(c->groups[0].seed_rate == 0 && c->groups[0].cut_bytes == 64 * MIB);
    assert_true(c->seed_rate == GIB);
    config_free(c);
    assert_null(parse(SITE PEER "[group records]\ncut-bytes = 64MiB\n"
                                "[volume records/data]\npath = /d\n",
                      &h, &e));
    assert_string_equal(h.first, "[group records] cut-bytes: the group has no volume with source = "
                                 "nbd, and what others write is not known before a scan; remove "
                                 "it");
}

/* The default of one option must not reach into the next one. */
static void what_is_not_given_stays_empty(void **state)
{
    struct heard h;
    struct err e;
    struct config *c = parse("[site]\nname = lens\n[hub]\nstore = dir:/s\n", &h, &e);
    (void)state;
    if (!c)
        fail_msg("%s", e.text);
    assert_string_equal(c->hub, "");
    assert_string_equal(c->export_tls, "");
    assert_int_equal(c->compression, CONFIG_LEVEL_AUTO);
    config_free(c);
}

static void every_option_arrives(void **state)
{
    struct heard h;
    struct err e;
    struct config *c = parse(
        "\xef\xbb\xbf# a mark, comments, CRLF\r\n"
        "[site]\r\nname=arras\nstate = /s\nspool = /p\nspool-budget = 1GiB\nspool-reserve = 0\n"
        "delta-max = 32MiB\ncontrol = /run/c\nlink-key = /k/l\nsign-key = /k/s\nhash-key = /k/h\n"
        "hub = arras\nreaders = " RESTORE ", " ESCROW
        "\nworkers = 3\ncompression = 19\nexport-memory = 32MiB\nexport-tls = /etc/pki/relais\n"
        "\n; the volumes come before their group\n"
        "[volume 0123456789-0123456789-0123456789-0123456789-0123/"
        "0123456789-0123456789-0123456789-0123456789-012b]\npath = /dev/b\n"
        "source = nbd\nexport = unix:/run/x/data\nexport-mode = 600\n"
        "export-owner = qemu:kvm\n[volume 0123456789-0123456789-0123456789-0123456789-0123/tls]\n"
        "path = /dev/c\nsource = nbd\nexport = tcp:[::1]:10809\nexport-clients = kvm1.x, kvm2.x\n"
        "[group 0123456789-0123456789-0123456789-0123456789-0123]\n"
        "interval = never\nfreeze = psql -c 'CHECKPOINT'; sync # all of it\nthaw = true\n"
        "freeze-timeout = 1min 30s\nfreeze-max = 2h\n"
        "[hub]\nlisten = [2001:db8::1]:7440\nstore = rados:relais\nceph-conf = /c\nceph-user = u\n"
        "ceph-keyring = /r\nmemory = 48MiB\nconnections = 7\n"
        "[peer arras]\nlink-key = " LINK ", " LINK3 "\nsign-key = " SIGN
        "\naddress = a:1, [::1]:2\n"
        "[peer douai]\nlink-key = " LINK2 "\nreads = bapaume/* lens/imaging\n",
        &h, &e);
    (void)state;
    if (!c)
        fail_msg("%s", h.all);
    assert_true(c->spool_budget == GIB && c->spool_reserve == 0 && c->delta_max == 32 * MIB);
    assert_int_equal(c->reader_count, 2);
    assert_string_equal(c->readers[1], ESCROW);
    assert_int_equal(c->workers, 3);
    assert_int_equal(c->compression, 19);
    assert_string_equal(c->groups[0].freeze, "psql -c 'CHECKPOINT'; sync # all of it");
    assert_true(c->groups[0].interval_ns == 0);
    assert_true(c->groups[0].freeze_timeout_ns == UINT64_C(90000000000));
    assert_string_equal(c->groups[0].volumes[0].name,
                        "0123456789-0123456789-0123456789-0123456789-012b");
    assert_int_equal(c->groups[0].volumes[0].source, CONFIG_NBD);
    assert_string_equal(c->groups[0].volumes[0].export.path, "/run/x/data");
    assert_int_equal(c->groups[0].volumes[0].export_mode, 0600);
    assert_string_equal(c->groups[0].volumes[0].export_owner.user, "qemu");
    assert_string_equal(c->groups[0].volumes[0].export_owner.group, "kvm");
    assert_string_equal(c->export_tls, "/etc/pki/relais");
    assert_string_equal(c->groups[0].volumes[1].export.tcp.host, "::1");
    assert_int_equal(c->groups[0].volumes[1].export.tcp.port, 10809);
    assert_int_equal(c->groups[0].volumes[1].client_count, 2);
    assert_string_equal(c->groups[0].volumes[1].clients[1], "kvm2.x");
    assert_true(c->export_memory == 32 * MIB);
    assert_true(c->has_hub);
    assert_string_equal(c->listen.host, "2001:db8::1");
    assert_string_equal(c->store, "rados:relais");
    assert_string_equal(c->ceph_user, "u");
    assert_true(c->hub_memory == 48 * MIB);
    assert_int_equal(c->connections_max, 7);
    assert_int_equal(c->peers[0].link_key_count, 2);
    assert_string_equal(c->peers[0].link_keys[1], LINK3);
    assert_int_equal(c->peers[0].addr_count, 2);
    assert_string_equal(c->peers[0].addrs[1].host, "::1");
    assert_string_equal(c->peers[1].reads[0], "bapaume/*");
    assert_int_equal(c->peers[1].read_count, 2);
    config_free(c);
}

#define A50 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

/* Each file has exactly one problem: the line and the text. */
static const struct {
    const char *text;
    int line;
    const char *says;
} bad[] = {
    {"", 0, "there is no [site] section; it names this member"},
    {"[site]\nname = lens\n", 1,
     "[site]: nothing to do: add a [group NAME] to replicate, or [hub] to take in"},
    {"name = lens\n" GOOD, 1, "\"name = lens\" stands before any section; start with [site]"},
    {GOOD "[sites]\nx = 1\n", 11, "[sites]: no such section; did you mean [site]?"},
    {GOOD "[volum records/b]\npath = /b\n", 11,
     "[volum records/b]: no such section; did you mean [volume records/b]?"},
    {GOOD "[backup]\n", 11,
     "[backup]: no such section; there are [site], [hub], [peer NAME], [group NAME] and [volume "
     "GROUP/NAME]"},
    {GOOD "[site]\n", 11, "[site]: this section is on line 1 already; put all its options there"},
    {GOOD "[peer]\n", 11, "[peer]: write [peer NAME]; a name is a-z, 0-9 and -, at most 48"},
    {GOOD "[peer Lens]\n", 11,
     "[peer Lens]: write [peer NAME]; a name is a-z, 0-9 and -, at most 48"},
    {GOOD "[peer " A50 "]\n", 11,
     "[peer " A50 "]: write [peer NAME]; a name is a-z, 0-9 and -, at most 48"},
    {GOOD "[hub arras]\n", 11, "[hub arras]: write [hub], there is only one"},
    {GOOD "[volume data]\n", 11,
     "[volume data]: write [volume GROUP/NAME]; a name is a-z, 0-9 and -, at most 48"},
    {GOOD "[peer douai] # far\n", 11,
     "\"[peer douai] # far\": a section's line ends with ]; put comments on a line of their own"},
    {GOOD "[volume imaging/ct]\npath = /ct\n", 11,
     "[volume imaging/ct]: there is no [group imaging]; add it, or correct the name"},
    {SITE "compresion = 3\n" PEER GROUP, 5,
     "[site]: no option \"compresion\"; did you mean compression?"},
    {SITE "store = dir:/x\n" PEER GROUP, 5,
     "[site]: no option \"store\" here; it belongs in [hub]"},
    {SITE "colour = blue\n" PEER GROUP, 5,
     "[site]: no option \"colour\"; relais config reference lists them"},
    {SITE "hub = lens\n" PEER GROUP, 5,
     "[site] hub = lens: given on line 3 already; keep one of them"},
    {SITE "workers\n" PEER GROUP, 5, "[site]: \"workers\" has no \"=\"; write option = value"},
    {SITE "workers =\n" PEER GROUP, 5,
     "[site] workers = : empty; write a value, or remove the line"},
    {SITE "workers: 3 = 4\n" PEER GROUP, 5,
     "[site]: \"workers: 3\" is not an option's name; those are a-z and -"},
    {SITE "  workers = 4\n" PEER GROUP, 5,
     "[site]: the line starts with a space; values do not go on over lines: write it all on one, "
     "at "
     "the margin"},
    {SITE "workers = \x01\n" PEER GROUP, 5,
     "[site]: the line holds the control byte 0x01; the file is plain text"},
    {SITE "workers = -1\n" PEER GROUP, 5, "[site] workers = -1: not a number; write 0 to 256"},
    {SITE "workers = 99999999999999999999999\n" PEER GROUP, 5,
     "[site] workers = 99999999999999999999999: out of bounds; 0 to 256 is allowed"},
    {SITE "compression = 20\n" PEER GROUP, 5,
     "[site] compression = 20: not a level; write 0 to 19, or auto"},
    {SITE "spool-budget = 10GB\n" PEER GROUP, 5,
     "[site] spool-budget = 10GB: not a size; write a number and KiB, MiB, GiB or TiB, from 32.0 "
     "MiB "
     "to 64.0 TiB"},
    {SITE "delta-max = 1MiB\n" PEER GROUP, 5,
     "[site] delta-max = 1MiB: out of bounds; 8.0 MiB to 4.0 GiB is allowed"},
    {SITE "spool-budget = 512MiB\n" PEER GROUP, 5,
     "[site] spool-budget = 512.0 MiB: too small; 4 times delta-max is needed, which is 1.0 GiB"},
    {SITE "state = var/lib\n" PEER GROUP, 5,
     "[site] state = var/lib: not an absolute path; start it with /"},
    {SITE "spool = /var/lib/relais\n" PEER GROUP, 5,
     "[site] spool = /var/lib/relais: the state directory too; give each its own"},
    {SITE "control = /" A50 A50 A50 "\n" PEER GROUP, 5,
     "[site] control = /" A50 A50
     "aaaaaaaaaaaaaaaaaaa...: 151 bytes long; a unix socket's path has at "
     "most 107"},
    {"[site]\nname = Lens\nhub = arras\nreaders = " RESTORE "\n" PEER GROUP, 2,
     "[site] name = Lens: not a name; use a-z, 0-9 and -, at most 48, not starting with -"},
    {"[site]\nhub = arras\nreaders = " RESTORE "\n" PEER GROUP, 1,
     "[site] name: missing; it is required"},
    {"[site]\nname = lens\nreaders = " RESTORE "\n" PEER GROUP, 1,
     "[site] hub: missing; groups need the name of the peer they ship to"},
    {"[site]\nname = lens\nhub = douai\nreaders = " RESTORE "\n" PEER GROUP, 3,
     "[site] hub = douai: there is no [peer douai]; add it with link-key and address"},
    {SITE "[peer arras]\nlink-key = " LINK "\n" GROUP, 5,
     "[peer arras] address: missing; [site] hub names this peer, so it must say where it listens"},
    {"[site]\nname = lens\nhub = arras\n" PEER GROUP, 7,
     "[group records] readers: missing here and in [site]; without a restore key nobody could ever "
     "open what is shipped"},
    {SITE "[peer arras]\nlink-key = " SIGN "\naddress = a:1\n" GROUP, 6,
     "[peer arras] link-key = " SIGN ": a key of kind sign; a key of kind link is needed here"},
    {SITE "[peer arras]\nlink-key = /etc/relais/arras.pub\naddress = a:1\n" GROUP, 6,
     "[peer arras] link-key = /etc/relais/arras.pub: not a public key; write the word that relais "
     "keygen --show prints, link:..."},
    {SITE "[peer arras]\nlink-key = link:AAAA\naddress = a:1\n" GROUP, 6,
     "[peer arras] link-key = link:AAAA: a damaged key (4 of 44 characters are right); copy the "
     "whole "
     "word that relais keygen --show prints"},
    {SITE "[peer arras]\nlink-key = link:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB=\naddress = "
          "a:1\n" GROUP,
     6,
     "[peer arras] link-key = link:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB=: a damaged key (43 "
     "of "
     "44 characters are right); copy the whole word that relais keygen --show prints"},
    {SITE "[peer arras]\naddress = arras:7440\n" GROUP, 5,
     "[peer arras] link-key: missing; it is required"},
    {SITE "[peer arras]\nlink-key = " LINK "\naddress = arras\n" GROUP, 7,
     "[peer arras] address = arras: has no port; write arras:PORT, as in hub.example.org:7440"},
    {SITE "[peer arras]\nlink-key = " LINK "\naddress = arras:70000\n" GROUP, 7,
     "[peer arras] address = arras:70000: \"70000\" is not a port; write 1 to 65535"},
    {SITE "[peer arras]\nlink-key = " LINK "\naddress = :7440\n" GROUP, 7,
     "[peer arras] address = :7440: has no host; write HOST:7440"},
    {SITE "[peer arras]\nlink-key = " LINK "\naddress = 2001:db8::1:7440\n" GROUP, 7,
     "[peer arras] address = 2001:db8::1:7440: an IPv6 address goes in brackets; write "
     "[2001:db8::1]:7440"},
    {SITE "[peer arras]\nlink-key = " LINK "\naddress = a:1 b:2 c:3 d:4 e:5\n" GROUP, 7,
     "[peer arras] address = a:1 b:2 c:3 d:4 e:5: more than 4 in the list"},
    {GOOD "[peer douai]\nlink-key = " LINK "\n", 12,
     "[peer douai] link-key = " LINK ": the key of [peer arras] too; each has its own"},
    {GOOD "[peer douai]\nlink-key = " LINK2 "\nkeep = all 1h\nkeep = all 2h\n", 14,
     "[peer douai] keep = all 2h: rules for all groups a second time; write them on one line"},
    {GOOD "[peer douai]\nlink-key = " LINK2 "\nreads = bapaume\n", 13,
     "[peer douai] reads = bapaume: \"bapaume\" is not a grant; write SITE/GROUP, or SITE/* for "
     "all"},
    {"[site]\nname = lens\nhub = arras\nreaders = " RESTORE " " RESTORE "\n" PEER
     "[group records]\nreaders = " ESCROW "\n[volume records/data]\npath = /d\n",
     4,
     "[site] readers = " RESTORE " " RESTORE ": \"" RESTORE
     "\" is in the list twice; write it once"},
    {SITE PEER "[group records]\ninterval = 5\n[volume records/data]\npath = /d\n", 9,
     "[group records] interval = 5: not a duration; write a number and ms, s, min, h or d, from "
     "1.0 s "
     "to 7 d, or never"},
    {SITE PEER "[group records]\ninterval = 30d\n[volume records/data]\npath = /d\n", 9,
     "[group records] interval = 30d: out of bounds; 1.0 s to 7 d, or never is allowed"},
    {SITE PEER "[group records]\nfreeze = fsfreeze -f /m\n[volume records/data]\npath = /d\n", 9,
     "[group records] freeze = fsfreeze -f /m: there is no thaw to end it; add thaw"},
    {SITE PEER "[group records]\nthaw = fsfreeze -u /m\n[volume records/data]\npath = /d\n", 9,
     "[group records] thaw = fsfreeze -u /m: there is no freeze that it ends; add freeze, or "
     "remove "
     "it"},
    {SITE PEER "[group records]\n", 8,
     "[group records]: it has no volume; add [volume records/NAME]"},
    {GOOD "[volume records/b]\npath = /dev/vg/records\n", 12,
     "[volume records/b] path = /dev/vg/records: the path of [volume records/data] too; a volume "
     "belongs to one group"},
    {GOOD "[volume records/b]\n", 11, "[volume records/b] path: missing; it is required"},
    {GOOD "[volume records/b]\npath = /b\nsource = ndb\n", 13,
     "[volume records/b] source = ndb: not a source; write scan or nbd"},
    {GOOD "[volume records/b]\npath = /b\nsource = nbd\n", 11,
     "[volume records/b] export: missing; source = nbd needs an address: export = unix:/PATH"},
    {GOOD "[volume records/b]\npath = /b\nexport = unix:/run/b\n", 13,
     "[volume records/b] export: has no meaning with source = scan; add source = nbd, or remove "
     "it"},
    {GOOD "[volume records/b]\npath = /b\nsource = nbd\nexport = /run/b\n", 14,
     "[volume records/b] export = /run/b: not an address; write unix:/PATH or tcp:HOST:PORT"},
    {GOOD "[volume records/b]\npath = /b\nsource = nbd\nexport = tcp:kvm\n", 14,
     "[volume records/b] export = tcp:kvm: has no port; write kvm:PORT, as in "
     "hub.example.org:7440"},
    {GOOD "[volume records/b]\npath = /b\nsource = nbd\nexport = tcp:kvm:10809\n", 14,
     "[volume records/b] export: over TCP a volume is served in TLS only; add export-tls = "
     "DIRECTORY to [site], or use unix:/PATH"},
    {GOOD "[volume records/b]\npath = /b\nsource = nbd\nexport = unix:/s\nexport-clients = kvm1\n",
     15,
     "[volume records/b] export-clients: has no meaning with export = unix:; the socket's mode "
     "says "
     "who may; remove it"},
    {GOOD "[volume records/b]\npath = /b\nsource = nbd\nexport = unix:/s\nexport-owner = a:b:c\n",
     15, "[volume records/b] export-owner = a:b:c: not an owner; write USER, USER:GROUP or :GROUP"},
    {GOOD "[volume records/b]\npath = /b\nsource = nbd\nexport = unix:/s\n"
          "[volume records/c]\npath = /c\nsource = nbd\nexport = unix:/s\nexport-owner = qemu\n",
     19,
     "[volume records/c] export-owner: another than that of [volume records/b] for the same "
     "socket; "
     "write the same, or name another socket"},
    {GOOD "[volume records/b]\npath = /b\nsource = nbd\nexport = unix:/run/\n", 14,
     "[volume records/b] export = unix:/run/: names a directory; write the path of the socket"},
    {GOOD "[volume records/b]\npath = /b\nsource = nbd\nexport = unix:/run/relais/control\n", 14,
     "[volume records/b] export = /run/relais/control: the control socket of [site] too; give "
     "each its own"},
    {GOOD "[volume records/b]\npath = /b\nsource = nbd\nexport = unix:/s\nexport-mode = 0999\n", 15,
     "[volume records/b] export-mode = 0999: not a mode; write it in octal, as 0660"},
    {GOOD "[volume records/b]\npath = /b\nsource = nbd\nexport = unix:/s\n"
          "[volume records/c]\npath = /c\nsource = nbd\nexport = unix:/s\nexport-mode = 0600\n",
     19,
     "[volume records/c] export-mode: 0600, but [volume records/b] has 0660 for the same socket; "
     "write the same, or name another socket"},
    {GOOD "[volume records/b]\npath = /b\nexprt = unix:/s\n", 13,
     "[volume records/b]: no option \"exprt\"; did you mean export?"},
    {GOOD "[hub]\n", 11, "[hub] store: missing; it is required"},
    {GOOD "[hub]\nstore = s3:bucket\n", 12,
     "[hub] store = s3:bucket: not a store; write dir:/PATH, rados:POOL or rados:POOL+DATA"},
    {GOOD "[hub]\nstore = dir:/s\nceph-user = x\n", 13,
     "[hub] ceph-user: has no meaning with store = dir:/s; remove it, or use store = rados:POOL"},
};

static void each_wrong_line_says_what_would_be_right(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct heard h;
        struct err e;
        char want[ERR_TEXT_MAX];
        struct config *c = parse(bad[i].text, &h, &e);
        if (c)
            fail_msg("case %zu was accepted; it should say: %s", i, bad[i].says);
        if (h.line != bad[i].line || strcmp(h.first, bad[i].says) != 0)
            fail_msg("case %zu:\n  says %d: %s\n  want %d: %s", i, h.line, h.first, bad[i].line,
                     bad[i].says);
        if (h.count != 1)
            fail_msg("case %zu has %u problems, not one:\n%s", i, h.count, h.all);
        assert_int_equal(e.code, ERR_CONFIG);
        if (bad[i].line)
            (void)snprintf(want, sizeof want, "relais.conf:%d: %s", bad[i].line, bad[i].says);
        else
            (void)snprintf(want, sizeof want, "relais.conf: %s", bad[i].says);
        assert_string_equal(e.text, want);
    }
}

static void all_problems_are_told_and_the_first_is_returned(void **state)
{
    struct heard h;
    struct err e;
    struct config *c =
        parse(SITE "workers = many\nspool = here\nunknown-thing = 1\n" PEER GROUP, &h, &e);
    (void)state;
    assert_null(c);
    assert_int_equal(h.count, 3);
    assert_string_equal(e.text,
                        "relais.conf:5: [site] workers = many: not a number; write 0 to 256 "
                        "(and 2 more problems)");
    assert_non_null(strstr(h.all, "6: [site] spool = here"));
    assert_non_null(strstr(h.all, "7: [site]: no option \"unknown-thing\""));
}

static void options_of_a_refused_section_bring_no_further_problems(void **state)
{
    struct heard h;
    struct err e;
    (void)state;
    assert_null(parse(GOOD "[gruop x]\ninterval = 5\nnonsense\n  more\n", &h, &e));
    assert_int_equal(h.count, 1);
}

static void a_line_at_the_bound_is_read_and_one_past_it_refused(void **state)
{
    struct heard h;
    struct err e;
    char text[2 * CONFIG_LINE_MAX], line[CONFIG_LINE_MAX + 2];
    struct config *c;
    (void)state;
    memset(line, '#', sizeof line);
    line[CONFIG_LINE_MAX] = '\0';
    (void)snprintf(text, sizeof text, "%s\n%s", line, GOOD);
    c = parse(text, &h, &e);
    assert_non_null(c);
    assert_int_equal(c->groups[0].volumes[0].line, 10);
    config_free(c);
    line[CONFIG_LINE_MAX] = '#';
    line[CONFIG_LINE_MAX + 1] = '\0';
    (void)snprintf(text, sizeof text, "%s\n%s", line, GOOD);
    assert_null(parse(text, &h, &e));
    assert_string_equal(h.all, "1: the line is 4097 bytes long; at most 4096 are allowed\n");
}

static void a_nul_does_not_end_the_file_early(void **state)
{
    static const char text[] = GOOD "#\0\n[nonsense]\n";
    struct heard h = {0};
    struct err e = ERR_INIT;
    struct config *c = NULL;
    (void)state;
    assert_int_not_equal(config_parse(&c, "f", text, sizeof text - 1, hear, &h, &e), 0);
    assert_int_equal(h.count, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_small_file_gets_defaults),
        cmocka_unit_test(what_is_auto_depends_on_the_volumes),
        cmocka_unit_test(what_is_not_given_stays_empty),
        cmocka_unit_test(every_option_arrives),
        cmocka_unit_test(each_wrong_line_says_what_would_be_right),
        cmocka_unit_test(all_problems_are_told_and_the_first_is_returned),
        cmocka_unit_test(options_of_a_refused_section_bring_no_further_problems),
        cmocka_unit_test(a_line_at_the_bound_is_read_and_one_past_it_refused),
        cmocka_unit_test(a_nul_does_not_end_the_file_early),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
