/* Input: what somebody pasted as an invitation. It is refused with a reason, or is one: then it is
 * within its bounds, and comes out of printing and reading as it was. */
#include "bytes.h"
#include "fuzz.h"
#include "token.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct token t, back;
    struct err e = ERR_INIT;
    char printed[TOKEN_TEXT_MAX], again[TOKEN_TEXT_MAX];
    char *text = err_malloc(size + 1);
    memcpy(text, data, size);
    text[size] = '\0';
    if (token_parse(&t, text, &e) != 0) {
        ASSERT(e.code == ERR_INPUT && e.text[0]);
    } else {
        ASSERT(bytes_is_name(t.site) && t.addr_count >= 1 && t.addr_count <= CONFIG_ADDRS_MAX);
        for (unsigned i = 0; i < t.addr_count; i++)
            ASSERT(t.addrs[i].host[0] && t.addrs[i].port > 0);
        if (token_print(printed, &t, &e) == 0) {
            ASSERT(token_parse(&back, printed, &e) == 0);
            ASSERT(token_print(again, &back, &e) == 0 && strcmp(printed, again) == 0);
        }
    }
    (void)token_fingerprint_is("3f2a-91bc-0000-1111-2222", text);
    free(text);
    return 0;
}
