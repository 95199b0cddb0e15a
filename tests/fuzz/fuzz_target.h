/* What every fuzz target is made of.
 *
 * A target is one file with LLVMFuzzerTestOneInput. It is linked twice: with libFuzzer, which makes
 * up inputs, and with fuzz_replay.c, which runs the files of a corpus and needs no clang.
 *
 * Invariants
 *   Z1  A target keeps nothing from one input to the next: the same bytes do the same.
 *   Z2  Whatever the bytes are, it returns. A broken promise of the product ends the process, by
 *       LM_CHECK or by a sanitizer. */
#ifndef LM_FUZZ_TARGET_H
#define LM_FUZZ_TARGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "base_arena.h"
#include "base_bytes.h"
#include "base_check.h"
#include "wire.h"

/** The one function of a target. Returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- an input as a program ---------------------------------------------------------------------
 * Targets that play a story read it from the front of the input. Behind its end there are zeros. */

typedef struct {
    lm_bytes_t left;
} fuzz_input_t;

static inline uint8_t fuzz_u8(fuzz_input_t *in)
{
    if (in->left.size == 0) return 0;
    uint8_t value = in->left.data[0];
    in->left = lm_bytes(in->left.data + 1, in->left.size - 1);
    return value;
}

/** Little-endian, of 1 to 8 bytes. */
static inline uint64_t fuzz_number(fuzz_input_t *in, unsigned bytes)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes; i++) value |= (uint64_t)fuzz_u8(in) << 8 * i;
    return value;
}

static inline lm_bytes_t fuzz_take(fuzz_input_t *in, size_t size)
{
    if (size > in->left.size) size = in->left.size;
    lm_bytes_t taken = lm_bytes(in->left.data, size);
    in->left = lm_bytes(in->left.data + size, in->left.size - size);
    return taken;
}

/** Two bytes of length, then that many bytes. */
static inline lm_bytes_t fuzz_block(fuzz_input_t *in)
{
    return fuzz_take(in, (size_t)fuzz_number(in, 2));
}

/** A copy with exactly its own memory, so that reading beyond its end is noticed. Free it. */
void *fuzz_own(lm_bytes_t bytes);

/** Decodes bytes as that type. If they are a message: encodes it, decodes that, encodes it again;
 *  both encodings must be alike, and every text must keep W1. Returns the message, or NULL. */
void *fuzz_wire_round(const lm_wire_type_t *type, lm_bytes_t bytes, lm_arena_t *arena);

#endif
