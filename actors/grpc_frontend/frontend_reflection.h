/* Answers of the reflection services, from tables that are made at build time out of the public
 * protos (gen_reflection.py). v1 and v1alpha have the same form on the wire. */
#ifndef LM_FRONTEND_REFLECTION_H
#define LM_FRONTEND_REFLECTION_H

#include "base_arena.h"
#include "base_bytes.h"

/** Answers a serialized ServerReflectionRequest. False if it cannot be decoded. */
bool lm_frontend_reflection_answer(lm_bytes_t request, lm_arena_t *arena, lm_bytes_t *answer);

/* ---- the tables: for frontend_reflection.c and the generated file ---------------------------- */

typedef struct {
    const char *name;
    const unsigned char *bytes; /* serialized FileDescriptorProto */
    size_t size;
    const unsigned short *files; /* itself and all it imports, as places in the table */
    size_t n_files;
} lm_reflected_file_t;

typedef struct {
    const char *name; /* full name of a service, method, message, field, enum or enum value */
    unsigned short file;
} lm_reflected_symbol_t;

extern const lm_reflected_file_t lm_reflected_files[];
extern const size_t lm_n_reflected_files;
extern const lm_reflected_symbol_t lm_reflected_symbols[]; /* sorted by name */
extern const size_t lm_n_reflected_symbols;

#endif
