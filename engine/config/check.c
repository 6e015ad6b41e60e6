/* What no single line can show: what is missing, and what does not go together. */
#include "parser.h"

#include "units.h"

#include <string.h>

#define INTERVAL_NBD  UINT64_C(5000000000)
#define INTERVAL_SCAN UINT64_C(300000000000)
#define SEED_RATE_NBD (200 * MIB)

static bool given(const struct section *s, const char *name)
{
    return s->lines[option_find(s->kind, name) - options] != 0;
}

/* Required options of every section. */
static void check_required(struct parser *p)
{
    for (unsigned i = 0; i < p->section_count; i++)
        for (size_t k = 0; k < option_count; k++) {
            const struct section *s = &p->sections[i];
            const struct option *o = &options[k];
            if (o->section == s->kind && o->required && s->lines[k] == 0)
                parser_problem(p, s->line, s, o, NULL, "missing; it is required");
        }
}

static void check_site(struct parser *p, const struct section *s)
{
    const struct config *c = p->config;
    const struct option *hub = option_find(SECTION_SITE, "hub");
    const struct config_peer *peer = config_peer(c, c->hub);
    char budget[UNITS_TEXT], least[UNITS_TEXT];
    if (c->spool_budget < 4 * c->delta_max)
        parser_problem(p, parser_line(s, "spool-budget"), s,
                       option_find(SECTION_SITE, "spool-budget"),
                       units_size(budget, c->spool_budget),
                       "too small; 4 times delta-max is needed, which is %s",
                       units_size(least, 4 * c->delta_max));
    if (strlen(c->control) > 107)
        parser_problem(p, parser_line(s, "control"), s, option_find(SECTION_SITE, "control"),
                       c->control, "%zu bytes long; a unix socket's path has at most 107",
                       strlen(c->control));
    if (strcmp(c->state_dir, c->spool_dir) == 0)
        parser_problem(p, parser_line(s, "spool"), s, option_find(SECTION_SITE, "spool"),
                       c->spool_dir, "the state directory too; give each its own");
    /* A machine that only restores has a hub to ask and nothing else. */
    if (c->group_count == 0 && !c->has_hub && !given(s, "hub"))
        parser_problem(p, s->line, s, NULL, NULL,
                       "nothing to do: add a [group NAME] to replicate, or [hub] to take in");
    if (c->group_count > 0 && !given(s, "hub"))
        parser_problem(p, s->line, s, hub, NULL,
                       "missing; groups need the name of the peer they ship to");
    else if (given(s, "hub") && *c->hub && !peer)
        parser_problem(p, parser_line(s, "hub"), s, hub, c->hub,
                       "there is no [peer %s]; add it with link-key and address", c->hub);
    else if (peer && peer->addr_count == 0 &&
             !given(parser_section(p, SECTION_PEER, c->hub), "address"))
        parser_problem(p, peer->line, parser_section(p, SECTION_PEER, c->hub),
                       option_find(SECTION_PEER, "address"), NULL,
                       "missing; [site] hub names this peer, so it must say where it listens");
}

static void check_hub(struct parser *p)
{
    static const char *const ceph[] = {"ceph-conf", "ceph-user", "ceph-keyring"};
    const struct section *s = parser_section(p, SECTION_HUB, "");
    if (!s || strncmp(p->config->store, "dir:", 4) != 0)
        return;
    for (size_t i = 0; i < sizeof ceph / sizeof ceph[0]; i++)
        if (given(s, ceph[i]))
            parser_problem(
                p, parser_line(s, ceph[i]), s, option_find(SECTION_HUB, ceph[i]), NULL,
                "has no meaning with store = %.100s; remove it, or use store = rados:POOL",
                p->config->store);
}

static const char *shared_key(const struct config_peer *a, const struct config_peer *b)
{
    for (unsigned i = 0; i < a->link_key_count; i++)
        for (unsigned k = 0; k < b->link_key_count; k++)
            if (strcmp(a->link_keys[i], b->link_keys[k]) == 0)
                return a->link_keys[i];
    return NULL;
}

/* One key, two names: the hub could not tell who it talks to. */
static void check_peers(struct parser *p)
{
    const struct config *c = p->config;
    for (unsigned i = 0; i < c->peer_count; i++)
        for (unsigned k = 0; k < i; k++) {
            const struct section *s = parser_section(p, SECTION_PEER, c->peers[i].name);
            const char *key = shared_key(&c->peers[i], &c->peers[k]);
            if (key)
                parser_problem(p, parser_line(s, "link-key"), s,
                               option_find(SECTION_PEER, "link-key"), key,
                               "the key of [peer %s] too; each has its own", c->peers[k].name);
        }
}

static void check_group(struct parser *p, const struct config_group *g)
{
    const struct section *s = parser_section(p, SECTION_GROUP, g->name);
    const struct section *site = parser_section(p, SECTION_SITE, "");
    bool readers = given(s, "readers") || (site && given(site, "readers"));
    if (g->volume_count == 0)
        parser_problem(p, s->line, s, NULL, NULL, "it has no volume; add [volume %s/NAME]",
                       g->name);
    if (!readers)
        parser_problem(p, s->line, s, option_find(SECTION_GROUP, "readers"), NULL,
                       "missing here and in [site]; without a restore key nobody could ever open "
                       "what is shipped");
    if (p->config->reader_count + g->reader_count > READERS_MAX)
        parser_problem(p, parser_line(s, "readers"), s, option_find(SECTION_GROUP, "readers"), NULL,
                       "%u keys, with those of [site]; at most %u are allowed",
                       p->config->reader_count + g->reader_count, READERS_MAX);
    if (*g->freeze && !*g->thaw)
        parser_problem(p, parser_line(s, "freeze"), s, option_find(SECTION_GROUP, "freeze"),
                       g->freeze, "there is no thaw to end it; add thaw");
    if (*g->thaw && !*g->freeze)
        parser_problem(p, parser_line(s, "thaw"), s, option_find(SECTION_GROUP, "thaw"), g->thaw,
                       "there is no freeze that it ends; add freeze, or remove it");
}

/* The same path twice would be scanned by two groups at two instants. Paths are compared as text
 * here and as files in check_paths.c. */
static void check_volumes(struct parser *p)
{
    for (unsigned i = 0; i < p->section_count; i++) {
        const struct section *s = &p->sections[i];
        if (s->kind != SECTION_VOLUME)
            continue;
        for (unsigned k = 0; k < i; k++) {
            const struct section *t = &p->sections[k];
            if (t->kind != SECTION_VOLUME || !*p->volumes[s->index].path ||
                strcmp(p->volumes[s->index].path, p->volumes[t->index].path) != 0)
                continue;
            parser_problem(p, parser_line(s, "path"), s, option_find(SECTION_VOLUME, "path"),
                           p->volumes[s->index].path,
                           "the path of [%s] too; a volume belongs to one group", t->title);
            break;
        }
    }
}

static bool same_export(const struct config_export *a, const struct config_export *b)
{
    return strcmp(a->path, b->path) == 0 && strcmp(a->tcp.host, b->tcp.host) == 0 &&
           a->tcp.port == b->tcp.port;
}

static bool same_owner(const struct config_owner *a, const struct config_owner *b)
{
    return strcmp(a->user, b->user) == 0 && strcmp(a->group, b->group) == 0;
}

/* A socket is made once, with one mode and owner, and serves one thing. */
static void check_socket(struct parser *p, const struct section *s, const struct config_volume *v)
{
    const struct option *o = option_find(SECTION_VOLUME, "export");
    if (strcmp(v->export.path, p->config->control) == 0)
        parser_problem(p, parser_line(s, "export"), s, o, v->export.path,
                       "the control socket of [site] too; give each its own");
    for (unsigned i = 0; i < p->section_count; i++) {
        const struct section *t = &p->sections[i];
        const struct config_volume *w;
        if (t == s)
            return;
        if (t->kind != SECTION_VOLUME)
            continue;
        w = &p->volumes[t->index];
        if (!same_export(&v->export, &w->export))
            continue;
        if (v->export_mode != w->export_mode)
            parser_problem(p, parser_line(s, "export-mode"), s,
                           option_find(SECTION_VOLUME, "export-mode"), NULL,
                           "%04o, but [%s] has %04o for the same socket; write the same, or name "
                           "another socket",
                           v->export_mode, t->title, w->export_mode);
        if (!same_owner(&v->export_owner, &w->export_owner))
            parser_problem(p, parser_line(s, "export-owner"), s,
                           option_find(SECTION_VOLUME, "export-owner"), NULL,
                           "another than that of [%s] for the same socket; write the same, or name "
                           "another socket",
                           t->title);
        return;
    }
}

/* Options that mean nothing where the volume is served. */
static void check_meaning(struct parser *p, const struct section *s, const char *option,
                          const char *with, const char *instead)
{
    if (given(s, option))
        parser_problem(p, parser_line(s, option), s, option_find(SECTION_VOLUME, option), NULL,
                       "has no meaning with %s; %sremove it", with, instead);
}

static void check_export(struct parser *p, const struct section *s, const struct config_volume *v)
{
    if (!given(s, "export")) {
        parser_problem(p, s->line, s, option_find(SECTION_VOLUME, "export"), NULL,
                       "missing; source = nbd needs an address: export = unix:/PATH");
    } else if (v->export.tcp.port) {
        check_meaning(p, s, "export-mode", "export = tcp:", "");
        check_meaning(p, s, "export-owner", "export = tcp:", "");
        if (!*p->config->export_tls)
            parser_problem(p, parser_line(s, "export"), s, option_find(SECTION_VOLUME, "export"),
                           NULL,
                           "over TCP a volume is served in TLS only; add export-tls = DIRECTORY to "
                           "[site], or use unix:/PATH");
    } else if (*v->export.path) {
        check_meaning(p, s, "export-clients", "export = unix:", "the socket's mode says who may; ");
        check_socket(p, s, v);
    }
}

static void check_exports(struct parser *p)
{
    static const char *const only_nbd[] = {"export", "export-mode", "export-owner",
                                           "export-clients"};
    for (unsigned i = 0; i < p->section_count; i++) {
        const struct section *s = &p->sections[i];
        if (s->kind != SECTION_VOLUME)
            continue;
        if (p->volumes[s->index].source == CONFIG_NBD) {
            check_export(p, s, &p->volumes[s->index]);
            continue;
        }
        for (unsigned k = 0; k < sizeof only_nbd / sizeof only_nbd[0]; k++)
            check_meaning(p, s, only_nbd[k], "source = scan", "add source = nbd, or ");
    }
}

/* What "auto" means for this group. A cut of captured volumes costs what was written and may come
 * every few seconds, and who uses them feels what we read beside them. */
static void settle_autos(struct parser *p, struct config_group *g)
{
    const struct section *s = parser_section(p, SECTION_GROUP, g->name);
    unsigned served = 0;
    for (unsigned i = 0; i < g->volume_count; i++)
        served += g->volumes[i].source == CONFIG_NBD;
    if (g->cut_bytes > 0 && served == 0 && g->volume_count > 0)
        parser_problem(p, parser_line(s, "cut-bytes"), s, option_find(SECTION_GROUP, "cut-bytes"),
                       NULL,
                       "the group has no volume with source = nbd, and what others write is not "
                       "known before a scan; remove it");
    if (g->interval_ns == CONFIG_AUTO)
        g->interval_ns = served > 0 && served == g->volume_count ? INTERVAL_NBD : INTERVAL_SCAN;
    if (g->seed_rate == CONFIG_AUTO)
        g->seed_rate = served > 0 ? SEED_RATE_NBD : 0;
}

void check_whole(struct parser *p)
{
    const struct section *site = parser_section(p, SECTION_SITE, "");
    check_required(p);
    if (site)
        check_site(p, site);
    else
        parser_problem(p, 0, NULL, NULL, NULL, "there is no [site] section; it names this member");
    check_hub(p);
    check_peers(p);
    for (unsigned i = 0; i < p->config->group_count; i++) {
        check_group(p, &p->config->groups[i]);
        settle_autos(p, &p->config->groups[i]);
    }
    check_volumes(p);
    check_exports(p);
}
