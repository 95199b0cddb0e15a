/* Messages as plain structs, and their protobuf form.
 *
 * The structs are made at build time from the files in proto/ (gen_wire.py); wire_<package>.h has
 * those of one package. This library alone includes protobuf-c.
 *
 * Invariants
 *   W1  A decoded string is well-formed UTF-8 without NUL. What breaks this is refused by name.
 *   W2  Everything decoded lives in the arena it was decoded with, and only there.
 *   W3  Decoding any bytes ends with a message or a refusal; memory used is bounded by a multiple
 *       of the size of the input.
 */
#ifndef LM_WIRE_H
#define LM_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base_arena.h"
#include "base_bytes.h"
#include "base_result.h"

/** Describes one message type: lm_<package>_<message>_type. */
typedef struct lm_wire_type lm_wire_type_t;

/** What a refused message broke. Both texts are static or live in the arena. */
typedef struct {
    const char *field; /* name of the field; "" if the whole message is malformed */
    const char *rule;  /* what it must be, as the end of a sentence that begins with the field */
} lm_wire_error_t;

/** Serializes message, a struct of the given type, into the arena. Text fields must satisfy W1;
 *  submessages that are NULL are left out. Never fails. */
lm_bytes_t lm_wire_encode(const lm_wire_type_t *type, const void *message, lm_arena_t *arena);

/** Parses bytes into a struct of the given type, in the arena.
 *
 *  Returns LM_RC_OK and sets *message; or LM_RC_MALFORMED (not protobuf) or LM_RC_INVALID_ARGUMENT
 *  (W1 broken) and fills *error, which may be NULL. */
lm_rc_t lm_wire_decode(const lm_wire_type_t *type, lm_bytes_t bytes, lm_arena_t *arena,
                       void **message, lm_wire_error_t *error);

/** Full protobuf name, for example "lockmgr.v1.AcquireRequest". */
const char *lm_wire_name(const lm_wire_type_t *type);

/** Walks the set fields of a message, in order of their numbers, for printing it as JSON or text.
 *  Fields that have their default value are visited too when all is true. */
typedef struct {
    /* Each may be NULL. name is the JSON name of the field; NULL for an element of a list. */
    void (*begin_message)(void *arg, const char *name);
    void (*end_message)(void *arg);
    void (*begin_list)(void *arg, const char *name);
    void (*end_list)(void *arg);
    void (*text)(void *arg, const char *name, lm_bytes_t value);
    void (*bytes)(void *arg, const char *name, lm_bytes_t value);
    void (*boolean)(void *arg, const char *name, bool value);
    void (*int32)(void *arg, const char *name, int64_t value);   /* fits 32 bits: a JSON number */
    void (*int64)(void *arg, const char *name, int64_t value);   /* a JSON string */
    void (*uint64)(void *arg, const char *name, uint64_t value); /* a JSON string */
    void (*real)(void *arg, const char *name, double value);
    void (*enumeration)(void *arg, const char *name, int32_t value, const char *value_name);
} lm_wire_visitor_t;
void lm_wire_visit(const lm_wire_type_t *type, const void *message, bool all,
                   const lm_wire_visitor_t *visitor, void *arg);

#endif
