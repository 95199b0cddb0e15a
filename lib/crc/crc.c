/* The library takes its lengths as int. Of the two, crc32_iscsi leaves the inversions to its caller
 * and crc32_ieee makes them itself. */
#include "crc.h"

#include <isa-l/crc.h>

#define STEP_BYTES ((size_t)1 << 30)

uint32_t lm_crc32c(uint32_t crc, lm_bytes_t bytes)
{
    unsigned char *at = (unsigned char *)(uintptr_t)bytes.data;
    uint32_t state = ~crc;
    while (bytes.size > 0) {
        size_t step = bytes.size < STEP_BYTES ? bytes.size : STEP_BYTES;
        state = crc32_iscsi(at, (int)step, state);
        at += step;
        bytes.size -= step;
    }
    return ~state;
}

uint32_t lm_crc32_msb(uint32_t crc, lm_bytes_t bytes)
{
    return ~crc32_ieee(~crc, (unsigned char *)(uintptr_t)bytes.data, bytes.size);
}
