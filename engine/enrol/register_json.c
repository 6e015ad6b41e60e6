/* The register as text: JSON, so that an admin can read it and jq can use it. */
#include "bytes.h"
#include "register.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#define FORMAT 1

/* ---- writing ---- */

static json_t *word_of(const struct key_public *k)
{
    char word[KEY_WORD_MAX];
    key_public_word(word, k);
    return json_string(word);
}

static json_t *reads_of(const struct register_reads *r)
{
    json_t *list = json_array();
    for (unsigned i = 0; i < r->count; i++)
        (void)json_array_append_new(list, json_string(r->grants[i]));
    return list;
}

static json_t *invitation_of(const struct register_invitation *inv)
{
    json_t *o = json_pack("{s:s, s:o, s:I, s:I, s:b, s:b, s:o}", "site", inv->site, "key",
                          word_of(&inv->key), "made", (json_int_t)inv->made, "until",
                          (json_int_t)inv->until, "approved", (int)inv->approved, "withdrawn",
                          (int)inv->withdrawn, "reads", reads_of(&inv->reads));
    if (inv->used) {
        (void)json_object_set_new(o, "used", json_integer(inv->used));
        (void)json_object_set_new(o, "used-by", word_of(&inv->used_by));
    }
    return o;
}

static json_t *member_of(const struct register_member *m)
{
    return json_pack("{s:s, s:s, s:o, s:o, s:o, s:I, s:o}", "name", m->name, "state",
                     register_state_name(m->state), "link", word_of(&m->link), "sign",
                     word_of(&m->sign), "restore", word_of(&m->restore), "since",
                     (json_int_t)m->since, "reads", reads_of(&m->reads));
}

static json_t *revoked_of(const struct register_revoked *g)
{
    return json_pack("{s:s, s:o, s:I, s:s}", "name", g->name, "link", word_of(&g->link), "since",
                     (json_int_t)g->since, "reason", g->reason);
}

int register_text(char **out, size_t *len, const struct enrolled *r, struct err *e)
{
    json_t *invitations = json_array(), *members = json_array(), *revoked = json_array(), *all;
    for (unsigned i = 0; i < r->invitation_count; i++)
        (void)json_array_append_new(invitations, invitation_of(&r->invitations[i]));
    for (unsigned i = 0; i < r->member_count; i++)
        (void)json_array_append_new(members, member_of(&r->members[i]));
    for (unsigned i = 0; i < r->revoked_count; i++)
        (void)json_array_append_new(revoked, revoked_of(&r->revoked[i]));
    all = json_pack("{s:i, s:o, s:o, s:o}", "relais-register", FORMAT, "members", members,
                    "invitations", invitations, "revoked", revoked);
    *out = all ? json_dumps(all, JSON_INDENT(1)) : NULL;
    ASSERT(*out); /* only memory can lack */
    json_decref(all);
    *len = strlen(*out);
    if (*len <= REGISTER_FILE_MAX)
        return 0;
    free(*out);
    *out = NULL;
    return err_set(e, ERR_LIMIT,
                   "the register of members would have %zu bytes; at most %llu may be", *len,
                   (unsigned long long)REGISTER_FILE_MAX);
}

/* ---- reading ---- */

struct entry {
    const json_t *o;
    const char *what; /* "members" */
    size_t at;
    struct err *e;
};

static int wrong(const struct entry *n, const char *field, const char *why)
{
    return err_set(n->e, ERR_CONFIG, "%s, entry %zu, \"%s\": %s", n->what, n->at + 1, field, why);
}

static const char *text_of(const struct entry *n, const char *field)
{
    return json_string_value(json_object_get(n->o, field));
}

static int get_name(const struct entry *n, const char *field, char dst[NAME_MAX_LEN + 1])
{
    const char *s = text_of(n, field);
    if (!s || !bytes_is_name(s))
        return wrong(n, field, "not a name");
    memcpy(dst, s, strlen(s) + 1);
    return 0;
}

static int get_time(const struct entry *n, const char *field, int64_t *out)
{
    const json_t *v = json_object_get(n->o, field);
    *out = json_integer_value(v);
    if (!json_is_integer(v) || *out < 1 || *out > INT64_C(253402300799)) /* the year 9999 */
        return wrong(n, field, "not a time in UTC seconds");
    return 0;
}

static int get_key(const struct entry *n, const char *field, enum key_kind kind,
                   struct key_public *out)
{
    const char *s = text_of(n, field);
    if (!s)
        return wrong(n, field, "missing");
    if (key_public_parse(out, kind, s, n->e) == 0)
        return 0;
    n->e->code = ERR_CONFIG;
    return err_prefix(n->e, "%s, entry %zu, \"%s\"", n->what, n->at + 1, field);
}

static int get_flag(const struct entry *n, const char *field, bool *out)
{
    const json_t *v = json_object_get(n->o, field);
    *out = json_is_true(v);
    return json_is_boolean(v) ? 0 : wrong(n, field, "neither true nor false");
}

static int get_reads(const struct entry *n, struct register_reads *out)
{
    const json_t *list = json_object_get(n->o, "reads");
    out->count = 0;
    if (!json_is_array(list) || json_array_size(list) > CONFIG_READS_MAX)
        return wrong(n, "reads", "not a list of at most 64 grants");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *s = json_string_value(json_array_get(list, i));
        if (!s || config_read_check(s, n->e) != 0)
            return wrong(n, "reads", "a grant is SITE/GROUP, or SITE/*");
        memcpy(out->grants[out->count++], s, strlen(s) + 1);
    }
    return 0;
}

static int get_invitation(const struct entry *n, void *at)
{
    struct register_invitation *inv = at;
    int rc = get_name(n, "site", inv->site);
    if (rc == 0)
        rc = get_key(n, "key", KEY_SIGN, &inv->key);
    if (rc == 0)
        rc = get_time(n, "made", &inv->made);
    if (rc == 0)
        rc = get_time(n, "until", &inv->until);
    if (rc == 0)
        rc = get_flag(n, "approved", &inv->approved);
    if (rc == 0)
        rc = get_flag(n, "withdrawn", &inv->withdrawn);
    if (rc == 0)
        rc = get_reads(n, &inv->reads);
    if (rc == 0 && json_object_get(n->o, "used")) {
        rc = get_time(n, "used", &inv->used);
        if (rc == 0)
            rc = get_key(n, "used-by", KEY_LINK, &inv->used_by);
    }
    return rc;
}

static int get_state(const struct entry *n, enum register_state *out)
{
    const char *s = text_of(n, "state");
    for (int i = MEMBER_PENDING; s && i <= MEMBER_REVOKED; i++)
        if (strcmp(s, register_state_name((enum register_state)i)) == 0) {
            *out = (enum register_state)i;
            return 0;
        }
    return wrong(n, "state", "not pending, active or revoked");
}

static int get_member(const struct entry *n, void *at)
{
    struct register_member *m = at;
    int rc = get_name(n, "name", m->name);
    if (rc == 0)
        rc = get_state(n, &m->state);
    if (rc == 0)
        rc = get_key(n, "link", KEY_LINK, &m->link);
    if (rc == 0)
        rc = get_key(n, "sign", KEY_SIGN, &m->sign);
    if (rc == 0)
        rc = get_key(n, "restore", KEY_RESTORE, &m->restore);
    if (rc == 0)
        rc = get_time(n, "since", &m->since);
    return rc == 0 ? get_reads(n, &m->reads) : rc;
}

static int get_revoked(const struct entry *n, void *at)
{
    struct register_revoked *g = at;
    const char *reason = text_of(n, "reason");
    int rc = get_name(n, "name", g->name);
    if (rc == 0)
        rc = get_key(n, "link", KEY_LINK, &g->link);
    if (rc == 0)
        rc = get_time(n, "since", &g->since);
    if (rc == 0 && (!reason || strlen(reason) >= sizeof g->reason))
        rc = wrong(n, "reason", "missing, or too long");
    if (rc == 0)
        memcpy(g->reason, reason, strlen(reason) + 1);
    return rc;
}

/* All entries of a list into an array of `size` bytes each. */
static int get_list(const json_t *all, const char *what, unsigned max, size_t size, void **out,
                    unsigned *count, int (*get)(const struct entry *, void *), struct err *e)
{
    const json_t *list = json_object_get(all, what);
    size_t n = json_array_size(list);
    int rc = 0;
    if (!json_is_array(list) || n > max)
        return err_set(e, ERR_CONFIG, "\"%s\" is not a list of at most %u entries", what, max);
    *out = n > 0 ? err_calloc(n, size) : NULL;
    for (size_t i = 0; i < n && rc == 0; i++) {
        const struct entry entry = {json_array_get(list, i), what, i, e};
        rc = get(&entry, (char *)*out + i * size);
    }
    *count = (unsigned)n;
    return rc;
}

static int check_once(const struct enrolled *r, struct err *e)
{
    for (unsigned i = 0; i < r->member_count; i++)
        for (unsigned k = 0; k < i; k++)
            if (strcmp(r->members[i].name, r->members[k].name) == 0 ||
                memcmp(r->members[i].link.b, r->members[k].link.b, KEY_LEN) == 0)
                return err_set(e, ERR_CONFIG, "members %s and %s share a name or a key",
                               r->members[k].name, r->members[i].name);
    for (unsigned i = 0; i < r->member_count; i++)
        if (r->members[i].state != MEMBER_REVOKED && register_revoked(r, &r->members[i].link))
            return err_set(e, ERR_CONFIG, "the key of member %s is among those revoked",
                           r->members[i].name);
    return 0;
}

int register_parse(struct enrolled *out, const char *text, size_t len, struct err *e)
{
    json_error_t why;
    json_t *all;
    int rc;
    *out = (struct enrolled){NULL, NULL, NULL, 0, 0, 0};
    if (len > REGISTER_FILE_MAX)
        return err_set(e, ERR_LIMIT, "%zu bytes long; at most %llu may be", len,
                       (unsigned long long)REGISTER_FILE_MAX);
    all = json_loadb(text, len, JSON_REJECT_DUPLICATES, &why);
    if (!all)
        return err_set(e, ERR_CONFIG, "line %d: %s", why.line, why.text);
    if (json_integer_value(json_object_get(all, "relais-register")) != FORMAT)
        rc = err_set(e, ERR_CONFIG, "not a register of members of version %d", FORMAT);
    else
        rc = get_list(all, "members", PEERS_MAX, sizeof *out->members, (void **)&out->members,
                      &out->member_count, get_member, e);
    if (rc == 0)
        rc = get_list(all, "invitations", REGISTER_INVITED_MAX, sizeof *out->invitations,
                      (void **)&out->invitations, &out->invitation_count, get_invitation, e);
    if (rc == 0)
        rc = get_list(all, "revoked", REGISTER_REVOKED_MAX, sizeof *out->revoked,
                      (void **)&out->revoked, &out->revoked_count, get_revoked, e);
    json_decref(all);
    if (rc == 0)
        rc = check_once(out, e);
    if (rc != 0)
        register_free(out);
    return rc;
}
