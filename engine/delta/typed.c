#include "typed.h"

#include "digest.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include <sodium.h>

#define DATA_SYMS 16u
_Static_assert(DATA_SYMS * 5 == TYPED_LINE * 8, "a line's data fills its symbols");

/* Crockford's: no I, L, O, U. */
static const char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/* 20 bits over everything up to the end of the line: a line of something else does not fit. */
static uint32_t check_of(const struct typed *t, const uint8_t *data, unsigned line)
{
    uint8_t text[64 + TYPED_CONTEXT + TYPED_MAX];
    size_t domain = strlen(t->domain) + 1, context = strlen(t->context), n = 0;
    size_t len = (size_t)(line + 1) * TYPED_LINE;
    struct digest d;
    ASSERT(domain <= 64 && context < TYPED_CONTEXT && len <= TYPED_MAX);
    memcpy(text, t->domain, domain);
    n = domain;
    if (context > 0) { /* with its NUL */
        memcpy(text + n, t->context, context + 1);
        n += context + 1;
    }
    memcpy(text + n, data, len);
    digest_of(&d, text, n + len);
    sodium_memzero(text + n, len);
    return (uint32_t)d.b[0] << 12 | (uint32_t)d.b[1] << 4 | d.b[2] >> 4;
}

static void to_symbols(uint8_t dst[TYPED_SYMBOLS], const struct typed *t, const uint8_t *all,
                       unsigned line)
{
    const uint8_t *data = all + (size_t)line * TYPED_LINE;
    uint32_t check = check_of(t, all, line);
    for (unsigned i = 0; i < DATA_SYMS; i++) {
        unsigned bit = i * 5, at = bit / 8;
        unsigned two = (unsigned)data[at] << 8;
        if (at + 1 < TYPED_LINE)
            two |= data[at + 1];
        dst[i] = two >> (11 - bit % 8) & 31;
    }
    for (unsigned i = 0; i < 4; i++)
        dst[DATA_SYMS + i] = check >> (15 - 5 * i) & 31;
}

/* Whether the symbols are this line; if so it is in its place. */
static bool take_symbols(const struct typed *t, uint8_t *all, unsigned line,
                         const uint8_t s[TYPED_SYMBOLS])
{
    uint8_t *data = all + (size_t)line * TYPED_LINE;
    uint32_t bits = 0, check = 0;
    unsigned have = 0, at = 0;
    for (unsigned i = 0; i < DATA_SYMS; i++) {
        bits = bits << 5 | s[i];
        have += 5;
        if (have >= 8) {
            have -= 8;
            data[at++] = (uint8_t)(bits >> have);
        }
    }
    for (unsigned i = DATA_SYMS; i < TYPED_SYMBOLS; i++)
        check = check << 5 | s[i];
    return check == check_of(t, all, line);
}

void typed_print(char dst[TYPED_TEXT], const struct typed *t, const uint8_t *data, unsigned line,
                 char separator)
{
    uint8_t s[TYPED_SYMBOLS];
    size_t n = 0;
    to_symbols(s, t, data, line);
    for (unsigned i = 0; i < TYPED_SYMBOLS; i++) {
        if (i > 0 && i % TYPED_GROUP == 0)
            dst[n++] = separator;
        dst[n++] = alphabet[s[i]];
    }
    dst[n] = '\0';
    sodium_memzero(s, sizeof s);
}

static int symbol_of(char c)
{
    int up = toupper((unsigned char)c);
    const char *at;
    if (up == 'O')
        return 0;
    if (up == 'I' || up == 'L')
        return 1;
    at = up ? strchr(alphabet, up) : NULL;
    return at ? (int)(at - alphabet) : -1;
}

/* The symbol that, typed otherwise, or exchanged with its neighbour, would make the line right. */
static bool find_slip(const struct typed *t, uint8_t *all, unsigned line,
                      const uint8_t typed[TYPED_SYMBOLS], unsigned *where, bool *swapped)
{
    uint8_t s[TYPED_SYMBOLS];
    memcpy(s, typed, TYPED_SYMBOLS);
    for (unsigned i = 0; i < TYPED_SYMBOLS; i++) {
        *where = i;
        *swapped = false;
        for (uint8_t c = 0; c < 32; c++) {
            s[i] = c;
            if (take_symbols(t, all, line, s))
                return true;
        }
        s[i] = typed[i];
        if (i + 1 == TYPED_SYMBOLS)
            break;
        *swapped = true;
        s[i] = typed[i + 1];
        s[i + 1] = typed[i];
        if (take_symbols(t, all, line, s))
            return true;
        s[i] = typed[i];
        s[i + 1] = typed[i + 1];
    }
    return false;
}

/* Lines stand below each other with their numbers, or all groups in one row. */
static unsigned group_of(const struct typed *t, unsigned line, unsigned symbol)
{
    return symbol / TYPED_GROUP + 1 + (t->in_a_row ? line * (TYPED_SYMBOLS / TYPED_GROUP) : 0);
}

static int explain(const struct typed *t, uint8_t *all, unsigned line,
                   const uint8_t typed[TYPED_SYMBOLS], struct err *e)
{
    unsigned where = 0;
    bool swapped = false, found = find_slip(t, all, line, typed, &where, &swapped);
    if (!found && t->in_a_row)
        return err_set(e, ERR_INPUT, "groups %u to %u do not fit: look at each of them",
                       group_of(t, line, 0), group_of(t, line, TYPED_SYMBOLS - 1));
    if (!found)
        return err_set(e, ERR_INPUT,
                       "line %u does not fit: look at each of its groups, and whether it is line "
                       "%u of this very sheet",
                       line + 1, line + 1);
    if (t->in_a_row)
        return err_set(e, ERR_INPUT, "group %u does not fit: look at its character %u%s",
                       group_of(t, line, where), where % TYPED_GROUP + 1,
                       swapped ? ", which seems to be exchanged with the next" : "");
    return err_set(e, ERR_INPUT, "line %u does not fit: look at character %u of group %u%s",
                   line + 1, where % TYPED_GROUP + 1, group_of(t, line, where),
                   swapped ? ", which seems to be exchanged with the next" : "");
}

static int bad_symbol(const struct typed *t, unsigned line, unsigned n, struct err *e)
{
    char where[32] = "";
    if (!t->in_a_row)
        (void)snprintf(where, sizeof where, "line %u: ", line + 1);
    return err_set(e, ERR_INPUT,
                   "%scharacter %u of group %u is none that there can be (digits and letters "
                   "without U)",
                   where, n % TYPED_GROUP + 1, group_of(t, line, n));
}

int typed_read(uint8_t *data, const struct typed *t, unsigned line, const char *text, struct err *e)
{
    uint8_t s[TYPED_SYMBOLS] = {0};
    unsigned n = 0;
    int rc = 0;
    for (const char *p = text; *p && rc == 0; p++) {
        int v = symbol_of(*p);
        if (*p == ' ' || *p == '\t' || *p == '-')
            continue;
        if (v < 0)
            rc = bad_symbol(t, line, n, e);
        else if (n < TYPED_SYMBOLS)
            s[n] = (uint8_t)v;
        n++;
    }
    if (rc == 0 && n != TYPED_SYMBOLS)
        rc = err_set(e, ERR_INPUT, "line %u has %u characters: 4 groups of 5 are due", line + 1, n);
    if (rc == 0 && !take_symbols(t, data, line, s))
        rc = explain(t, data, line, s, e);
    sodium_memzero(s, sizeof s);
    return rc;
}
