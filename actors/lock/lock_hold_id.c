#include "lock_hold_id.h"

#include <inttypes.h>

lm_bytes_t lm_lock_hold_id_make(lm_arena_t *arena, uint64_t hold, uint64_t claim)
{
    return lm_arena_print(arena, "%" PRIu64 "-%" PRIu64, hold, claim);
}

/* Reads digits from *at on; false if there are none, a leading zero, or more than fit. */
static bool take_number(lm_bytes_t text, size_t *at, uint64_t *number)
{
    size_t begin = *at;
    uint64_t value = 0;
    for (; *at < text.size && text.data[*at] >= '0' && text.data[*at] <= '9'; ++*at) {
        if (__builtin_mul_overflow(value, (uint64_t)10, &value)) return false;
        if (__builtin_add_overflow(value, (uint64_t)(text.data[*at] - '0'), &value)) return false;
    }
    *number = value;
    size_t digits = *at - begin;
    return digits == 1 || (digits > 1 && text.data[begin] != '0');
}

bool lm_lock_hold_id_parse(lm_bytes_t text, uint64_t *hold, uint64_t *claim)
{
    size_t at = 0;
    if (!take_number(text, &at, hold)) return false;
    if (at == text.size || text.data[at++] != '-') return false;
    return take_number(text, &at, claim) && at == text.size;
}
