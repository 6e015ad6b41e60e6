/* digest: SHA-256 as FIPS 180-4 and sha256sum have it. */
#include "digest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void digests_are_those_of_the_standard(void **state)
{
    struct digest d;
    char hex[DIGEST_HEX];
    (void)state;
    digest_of(&d, "abc", 3);
    digest_hex(hex, &d);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    digest_of(&d, NULL, 0);
    digest_hex(hex, &d);
    assert_string_equal(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

static void digests_compare(void **state)
{
    struct digest a, b = {{0}};
    (void)state;
    digest_of(&a, "abc", 3);
    assert_true(digest_is_zero(&b));
    assert_false(digest_is_zero(&a));
    b = a;
    assert_true(digest_equal(&a, &b));
    b.b[DIGEST_LEN - 1] ^= 1;
    assert_false(digest_equal(&a, &b));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(digests_are_those_of_the_standard),
        cmocka_unit_test(digests_compare),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
