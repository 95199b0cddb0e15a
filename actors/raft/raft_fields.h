/* Numbers in files of our own: little endian, whatever the machine. */
#ifndef LM_RAFT_FIELDS_H
#define LM_RAFT_FIELDS_H

#include <stddef.h>
#include <stdint.h>

/** Writes the size lowest bytes of value. */
static inline void lm_raft_fields_put(uint8_t *at, uint64_t value, size_t size)
{
    for (size_t i = 0; i < size; i++, value >>= 8) at[i] = (uint8_t)value;
}

static inline uint64_t lm_raft_fields_get(const uint8_t *at, size_t size)
{
    uint64_t value = 0;
    for (size_t i = size; i > 0; i--) value = value << 8 | at[i - 1];
    return value;
}

#endif
