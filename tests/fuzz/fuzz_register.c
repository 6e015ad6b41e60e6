/* Input: a register of members. It is refused with a reason and leaves nothing behind, or is within
 * its bounds and is written as it was read. */
#include "bytes.h"
#include "fuzz.h"
#include "register.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct enrolled r, back;
    struct err e = ERR_INIT;
    char *text, *again;
    size_t len, len2;
    if (register_parse(&r, (const char *)data, size, &e) != 0) {
        ASSERT((e.code == ERR_CONFIG || e.code == ERR_LIMIT) && e.text[0]);
        ASSERT(!r.members && !r.invitations && !r.revoked);
        return 0;
    }
    ASSERT(r.member_count <= PEERS_MAX && r.invitation_count <= REGISTER_INVITED_MAX &&
           r.revoked_count <= REGISTER_REVOKED_MAX);
    for (unsigned i = 0; i < r.member_count; i++) {
        ASSERT(bytes_is_name(r.members[i].name) && r.members[i].reads.count <= CONFIG_READS_MAX);
        ASSERT(r.members[i].state == MEMBER_REVOKED || !register_revoked(&r, &r.members[i].link));
    }
    ASSERT(register_text(&text, &len, &r, &e) == 0);
    ASSERT(register_parse(&back, text, len, &e) == 0);
    ASSERT(register_text(&again, &len2, &back, &e) == 0 && strcmp(text, again) == 0);
    free(text);
    free(again);
    register_free(&r);
    register_free(&back);
    return 0;
}
