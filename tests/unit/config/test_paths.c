/* config: the paths that a file names are there, of the right kind, and out of others' reach; so is
 * the file itself. */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define LINK    "link:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
#define RESTORE "restore:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
#define PEER    "[peer arras]\nlink-key = " LINK "\naddress = arras:7440\n"

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

static char dir[] = "/tmp/relais-config-XXXXXX";

static const char *put(const char *name, const char *text, mode_t mode)
{
    static char path[4][128];
    static unsigned turn;
    char *p = path[turn++ % 4];
    FILE *f;
    (void)snprintf(p, sizeof path[0], "%s/%s", dir, name);
    f = fopen(p, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(p, mode), 0);
    return p;
}

static const char *conf_for(const char *volume)
{
    char text[4096];
    (void)snprintf(
        text, sizeof text,
        "[site]\nname = lens\nhub = arras\nreaders = " RESTORE "\nstate = %s/state\n"
        "spool = %s/a/b/spool\nspool-reserve = 0\nspool-budget = 32MiB\ndelta-max = 8MiB\n"
        "control = %s/control\nlink-key = %s/link.key\nsign-key = %s/sign.key\n"
        "hash-key = %s/hash.key\n" PEER "[group records]\n[volume records/data]\npath = %s/%s\n",
        dir, dir, dir, dir, dir, dir, dir, volume);
    return put("relais.conf", text, 0644);
}

static struct config *load(const char *volume, bool paths, struct heard *h)
{
    struct config *c = NULL;
    struct err e = ERR_INIT;
    *h = (struct heard){0};
    (void)config_load(&c, conf_for(volume), paths, hear, h, &e);
    return c;
}

static int paths_setup(void **state)
{
    char path[128];
    (void)state;
    assert_non_null(mkdtemp(dir));
    (void)put("link.key", "relais key 1\nkind link\n", 0600);
    (void)put("sign.key", "relais key 1\nkind sign\n", 0600);
    (void)put("hash.key", "relais key 1\nkind hash\n", 0600);
    (void)snprintf(path, sizeof path, "%s", put("vol", "", 0600));
    assert_int_equal(truncate(path, 1 << 20), 0);
    return 0;
}

static int paths_teardown(void **state)
{
    char command[256];
    (void)state;
    (void)snprintf(command, sizeof command, "rm -rf %s", dir);
    return system(command);
}

static void paths_that_are_as_they_should_be_pass(void **state)
{
    struct heard h;
    struct config *c = load("vol", true, &h);
    (void)state;
    if (!c)
        fail_msg("%s", h.all);
    config_free(c);
}

static void a_wrong_path_is_found_only_when_asked_for(void **state)
{
    struct heard h;
    struct config *c = load("gone", true, &h);
    (void)state;
    assert_null(c);
    assert_non_null(
        strstr(h.all, "gone: No such file or directory; name the raw image or block device"));
    assert_int_equal(h.line, 19);
    c = load("gone", false, &h);
    assert_non_null(c);
    config_free(c);
}

static void an_unsafe_or_wrong_key_file_is_refused(void **state)
{
    struct heard h;
    (void)state;
    (void)put("link.key", "relais key 1\nkind link\n", 0640);
    (void)put("sign.key", "relais key 1\nkind hash\n", 0600);
    assert_null(load("vol", true, &h));
    assert_int_equal(h.count, 2);
    assert_non_null(strstr(h.all, "11: [site] link-key = "));
    assert_non_null(strstr(h.all, "others may read it (mode 640); run: chmod 600 "));
    assert_non_null(strstr(h.all, "sign.key: not a key file of kind sign"));
    (void)put("link.key", "relais key 1\nkind link\n", 0600);
    (void)put("sign.key", "relais key 1\nkind sign\n", 0600);
}

static void a_volume_that_is_no_raw_image_is_refused(void **state)
{
    struct heard h;
    (void)state;
    (void)put("odd", "not a disk", 0600);
    (void)put("empty", "", 0600);
    assert_null(load("odd", true, &h));
    assert_non_null(strstr(h.all, "odd: 10 bytes large, not a multiple of 512"));
    assert_null(load("empty", true, &h));
    assert_non_null(strstr(h.all, "empty: it is empty; a volume has a fixed size"));
    assert_null(load(".", true, &h));
    assert_non_null(strstr(h.all, "neither a file nor a block device"));
}

static void a_directory_that_cannot_be_made_is_refused(void **state)
{
    struct heard h;
    (void)state;
    (void)put("a", "a file where the spool's parent should be", 0600);
    assert_null(load("vol", true, &h));
    assert_non_null(strstr(h.all, "6: [site] spool = "));
    (void)unlink(put("a", "", 0600));
}

/* It names commands that the daemon runs. Tools that only read it need not care. */
static void a_file_that_others_may_write_is_refused(void **state)
{
    static const mode_t modes[] = {0666, 0664, 0646};
    struct config *c = NULL;
    struct heard h;
    (void)state;
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        struct err e = ERR_INIT;
        const char *file = conf_for("vol");
        assert_int_equal(chmod(file, modes[i]), 0);
        assert_int_equal(config_load(&c, file, true, NULL, NULL, &e), -(int)ERR_CONFIG);
        assert_non_null(strstr(e.text, "may be written by others"));
        assert_non_null(strstr(e.text, "chmod go-w"));
        assert_int_equal(config_load(&c, file, false, NULL, NULL, &e), 0);
        config_free(c);
        assert_int_equal(chmod(file, 0644), 0);
    }
    c = load("vol", true, &h);
    assert_non_null(c);
    config_free(c);
    if (geteuid() == 0) {
        struct err e = ERR_INIT;
        const char *file = conf_for("vol");
        assert_int_equal(chown(file, 65534, (gid_t)-1), 0);
        assert_int_equal(config_load(&c, file, true, NULL, NULL, &e), -(int)ERR_CONFIG);
        assert_non_null(strstr(e.text, "belongs to user 65534"));
        assert_int_equal(chown(file, 0, (gid_t)-1), 0);
    }
}

static void a_file_that_is_not_there_is_a_config_error(void **state)
{
    struct config *c = NULL;
    struct err e = ERR_INIT;
    (void)state;
    assert_int_equal(config_load(&c, "/nonexistent/relais.conf", true, NULL, NULL, &e),
                     -(int)ERR_CONFIG);
    assert_string_equal(e.text, "/nonexistent/relais.conf: No such file or directory; name the "
                                "configuration with -c FILE");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths_that_are_as_they_should_be_pass),
        cmocka_unit_test(a_wrong_path_is_found_only_when_asked_for),
        cmocka_unit_test(an_unsafe_or_wrong_key_file_is_refused),
        cmocka_unit_test(a_volume_that_is_no_raw_image_is_refused),
        cmocka_unit_test(a_directory_that_cannot_be_made_is_refused),
        cmocka_unit_test(a_file_that_others_may_write_is_refused),
        cmocka_unit_test(a_file_that_is_not_there_is_a_config_error),
    };
    return cmocka_run_group_tests(tests, paths_setup, paths_teardown);
}
