/* Input: frames one behind the other, taken apart as a link does it. What is accepted keeps the
 * bounds and is the one encoding of what it says. */
#include "frame.h"
#include "fuzz.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    while (size >= FRAME_HEADER_LEN) {
        struct frame_header h;
        struct err e = ERR_INIT;
        uint8_t back[FRAME_HEADER_LEN];
        uint64_t len;
        int rc = frame_header_decode(&h, data, &e);
        if (rc != 0) {
            ASSERT(rc == -(int)e.code && (e.code == ERR_PROTO || e.code == ERR_LIMIT));
            ASSERT(h.type == 0 && h.message_len == 0 && h.payload_len == 0 && e.text[0]);
            return 0;
        }
        ASSERT(h.message_len <= MESSAGE_MAX && h.payload_len <= PAYLOAD_MAX);
        ASSERT(strcmp(frame_type_name(h.type), "?") != 0);
        frame_header_encode(back, &h);
        ASSERT(memcmp(back, data, sizeof back) == 0);
        len = FRAME_HEADER_LEN + (uint64_t)h.message_len + h.payload_len;
        if (len > size)
            return 0;
        data += len;
        size -= len;
    }
    return 0;
}
