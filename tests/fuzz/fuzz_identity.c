/* The identity text of a data directory: what is read is what was written, or it is refused. */
#include <stdio.h>
#include <string.h>

#include "fuzz_target.h"
#include "raft_identity.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static lm_raft_identity_t identity, again;
    static char text[LM_RAFT_IDENTITY_TEXT_MAX];
    /* The checksum would hide everything behind it, so an input may ask for a good one. */
    lm_bytes_t bytes = lm_bytes(data, size);
    char *own = lm_alloc(size + 16);
    if (size) memcpy(own, data, size);
    if (size && data[size - 1] == '\n') {
        uint32_t crc = lm_raft_identity_crc(bytes);
        bytes = lm_bytes(own, size + (size_t)sprintf(own + size, "crc %08x\n", crc));
    }
    uint8_t *exact = fuzz_own(bytes);
    if (!lm_raft_identity_read(lm_bytes(exact, bytes.size), &identity)) {
        size_t n = lm_raft_identity_write(&identity, text);
        LM_CHECK(!lm_raft_identity_read(lm_bytes(text, n), &again), "it does not read again");
        LM_CHECK(memcmp(&identity, &again, sizeof again) == 0, "it reads as another one");
        LM_CHECK(lm_raft_identity_id(&identity, identity.node) != 0, "without itself");
    }
    free(exact);
    free(own);
    return 0;
}
