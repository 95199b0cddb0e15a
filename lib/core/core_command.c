#include "core_command.h"

#include "base_limits.h"

#define COMPARE(a, b) (((a) > (b)) - ((a) < (b)))

int lm_pair_compare(lm_pair_t a, lm_pair_t b)
{
    if (a.term != b.term) return COMPARE(a.term, b.term);
    if (a.boot_id != b.boot_id) return COMPARE(a.boot_id, b.boot_id);
    return COMPARE(a.counter, b.counter);
}

lm_settings_t lm_settings_default(void)
{
    return (lm_settings_t){
        .semantics = LM_SEMANTICS_LEVEL,
        .waiters_per_lock_max = LM_WAITERS_PER_LOCK_DEFAULT,
        .locks_max = LM_LOCKS_DEFAULT,
        .holds_per_owner_max = LM_HOLDS_PER_OWNER_DEFAULT,
        .record_ring_size = LM_RECORD_RING_DEFAULT,
    };
}
