/* relais escrow: the key that opens everything, on paper: made, printed, typed back. */
#include "command.h"
#include "escrow.h"
#include "passphrase.h"
#include "sheets.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sodium.h>

#define LINE_TYPED_MAX 256u /* bytes of a line that somebody types */

struct escrow {
    unsigned threshold, count;
    bool passphrase;
    const char *passphrase_file;
};

/* ---- printing ---- */

static int make(const struct escrow *x, struct err *e)
{
    struct key_secret *k = key_generate(KEY_RESTORE, NULL);
    int res = sheets_print(k, x->threshold, x->count, e);
    char word[KEY_WORD_MAX];
    key_public_word(word, key_public(k));
    if (res == 0)
        (void)fprintf(stderr,
                      "relais: the key is on the sheets only. Before it is used, type them back "
                      "once (relais escrow combine), then add to readers of each [site]:\n%s\n",
                      word);
    key_free(k);
    return res;
}

static int print(const struct escrow *x, const char *path, struct err *e)
{
    struct passphrase_source source = {x->passphrase_file, "passphrase"};
    const struct key_asker asker = passphrase_asker(&source);
    struct key_secret *k = NULL;
    int res = key_file_load(&k, KEY_RESTORE, path, &asker, e);
    if (res == 0)
        res = sheets_print(k, x->threshold, x->count, e);
    key_free(k);
    return res;
}

/* ---- typing back ---- */

struct typing {
    FILE *in;
    bool asks; /* somebody sits there: an error costs a line, not all of it */
    struct escrow_sheet *sheets;
    size_t count;
    uint8_t *bytes; /* of the sheet under way */
    unsigned line;
    char *text;
};

/* Sheets hold more than their lines, and people type a line with its number or without. NULL: this
 * is none of the five lines. */
static const char *line_of(const struct typing *t)
{
    const char *p = t->text + strspn(t->text, " \t\f\r");
    if (p[0] == (char)('1' + t->line) && strspn(p + 1, " \t.:)") > 0)
        return p + 1 + strspn(p + 1, " \t.:)");
    return t->asks && *p ? p : NULL;
}

/* A whole sheet has come. 1: and no more are needed. */
static int take_sheet(struct typing *t, struct err *e)
{
    struct escrow_sheet *s = &t->sheets[t->count];
    int res = escrow_decode(s, t->bytes, e);
    if (res != 0)
        return res;
    for (size_t i = 0; i < t->count; i++)
        if (t->sheets[i].number == s->number && t->asks) {
            (void)fprintf(stderr, "relais: sheet %u came before; another one, please\n", s->number);
            return 0;
        }
    t->count++;
    if (t->asks)
        (void)fprintf(stderr, "relais: sheet %u of %u is right; %zu of %u that are needed\n",
                      s->number, s->count, t->count, s->threshold);
    return t->count >= s->threshold || t->count == ESCROW_SHEETS_MAX;
}

static int take_line(struct typing *t, const char *text, struct err *e)
{
    int res = escrow_line_read(t->bytes, t->line, text, e);
    if (res == -ERR_INPUT && t->asks) {
        (void)fprintf(stderr, "relais: %s\n", e->text);
        return 0;
    }
    if (res != 0)
        return err_prefix(e, "sheet %zu as it was typed", t->count + 1);
    if (++t->line < ESCROW_LINES)
        return 0;
    t->line = 0;
    return take_sheet(t, e);
}

static int type_back(struct typing *t, struct err *e)
{
    int res = 0;
    while (res == 0) {
        if (t->asks)
            (void)fprintf(stderr, "sheet %zu, line %u: ", t->count + 1, t->line + 1);
        if (!fgets(t->text, LINE_TYPED_MAX, t->in))
            break;
        t->text[strcspn(t->text, "\n")] = '\0';
        const char *line = line_of(t);
        if (line)
            res = take_line(t, line, e);
    }
    if (res < 0)
        return res;
    if (ferror(t->in))
        return err_os(e, errno, "reading the sheets");
    if (t->line > 0)
        return err_set(e, ERR_INPUT, "sheet %zu ends before its line %u", t->count + 1,
                       t->line + 1);
    if (t->count == 0)
        return err_set(e, ERR_INPUT, "there is no sheet in what came: its lines begin with 1 to %u",
                       ESCROW_LINES);
    return 0;
}

static int save(const struct escrow *x, const char *path, const struct key_secret *k, struct err *e)
{
    const struct passphrase_source source = {x->passphrase_file, "new passphrase"};
    struct key_passphrase pass = {0};
    char *text = NULL, word[KEY_WORD_MAX];
    int res = x->passphrase ? passphrase_new(&text, &pass.len, &source, path, e) : 0;
    if (res != 0)
        return res;
    pass.text = text;
    res = key_file_save(path, k, text ? &pass : NULL, e);
    sodium_free(text);
    key_public_word(word, key_public(k));
    if (res == 0)
        (void)puts(word);
    return res;
}

static int combine(const struct escrow *x, const char *path, struct err *e)
{
    struct typing t = {.in = stdin, .asks = isatty(STDIN_FILENO) == 1};
    struct key_secret *k = NULL;
    char *buffer = sodium_malloc(BUFSIZ);
    int res;
    t.sheets = sodium_malloc(ESCROW_SHEETS_MAX * sizeof *t.sheets);
    t.bytes = sodium_malloc(ESCROW_SHEET_LEN);
    t.text = sodium_malloc(LINE_TYPED_MAX);
    ASSERT(buffer && t.sheets && t.bytes && t.text);
    (void)setvbuf(stdin, buffer, _IOFBF, BUFSIZ);
    res = type_back(&t, e);
    if (res == 0)
        res = escrow_combine(&k, t.sheets, t.count, e);
    if (res == 0)
        res = save(x, path, k, e);
    (void)setvbuf(stdin, NULL, _IONBF, 0);
    key_free(k);
    sodium_free(t.text);
    sodium_free(t.bytes);
    sodium_free(t.sheets);
    sodium_free(buffer);
    return res;
}

int cmd_escrow(struct command_context *ctx, int argc, char **argv, struct err *e)
{
    static const struct option options[] = {{"shares", required_argument, NULL, 's'},
                                            {"passphrase", no_argument, NULL, 'p'},
                                            {"passphrase-file", required_argument, NULL, 'f'},
                                            {NULL, 0, NULL, 0}};
    struct escrow x = {.threshold = 1, .count = 1};
    int c, res = 0;
    while (res == 0 && (c = command_option(ctx, argc, argv, "", options, e)) != -1) {
        if (c == '?')
            res = -(int)e->code;
        else if (c == 's')
            res = sheets_parse(&x.threshold, &x.count, optarg, e) == 0
                      ? 0
                      : command_misuse("escrow", e, "--shares %.20s: %s", optarg, e->text);
        else if (c == 'p')
            x.passphrase = true;
        else
            x.passphrase_file = optarg;
    }
    if (res != 0)
        return res;
    argc -= optind;
    argv += optind;
    if (argc == 1 && strcmp(argv[0], "new") == 0)
        return make(&x, e);
    if (argc == 2 && strcmp(argv[0], "print") == 0)
        return print(&x, argv[1], e);
    if (argc == 2 && strcmp(argv[0], "combine") == 0)
        return combine(&x, argv[1], e);
    return command_misuse("escrow", e, "new, print KEYFILE or combine KEYFILE is needed");
}
