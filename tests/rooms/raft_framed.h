/* Entries that look like those of a lock actor: raft looks at their frame and no further. */
#ifndef RAFT_FRAMED_H
#define RAFT_FRAMED_H

#include <stdint.h>
#include <string.h>

/* The smallest of all, 8 bytes. */
#define RAFT_FRAMED "LML\1\0\0\0\0"
enum { RAFT_FRAMED_HEAD = 8 };

/** Gives size bytes, at least 8, a frame; the first 8 are lost. */
static inline uint8_t *raft_framed(uint8_t *bytes, size_t size)
{
    memcpy(bytes, RAFT_FRAMED, RAFT_FRAMED_HEAD);
    for (int i = 0; i < 4; i++) bytes[4 + i] = (uint8_t)((size - RAFT_FRAMED_HEAD) >> (8 * i));
    return bytes;
}

#endif
