/* Commands of the lock state machine as the bytes of one log entry.
 *
 *   entry = mark "LML" and format number 1 (4 bytes) | size of the batch, u32 little-endian
 *         | lockmgr.log.v1.Batch | zeros up to a multiple of 8 bytes
 *
 * Invariants
 *   C1  Decoding any bytes ends with commands that lm_table_apply takes, or with a refusal that
 *       says which rule was broken; memory used is bounded by a multiple of the size of the input.
 *   C2  What encode makes, decode gives back equal.
 */
#ifndef LM_WIRE_COMMAND_H
#define LM_WIRE_COMMAND_H

#include "core_command.h"
#include "wire.h"

/** Bytes that this command adds to an entry at most. A batch fits an entry if it has at most
 *  LM_BATCH_COMMANDS_MAX commands and the sum of this is at most LM_BATCH_BYTES_MAX. */
size_t lm_wire_command_bytes_max(const lm_command_t *command);

/** A whole entry, in the arena. commands: at least one, fitting an entry, each passing
 *  lm_wire_command_check; stops the actor otherwise. */
lm_bytes_t lm_wire_command_encode(const lm_command_t *commands, size_t n, lm_arena_t *arena);

/** The commands of an entry, in the arena; their texts too.
 *
 *  Returns LM_RC_OK; LM_RC_MALFORMED if the frame or the protobuf is damaged, LM_RC_TOO_LARGE, or
 *  LM_RC_INVALID_ARGUMENT if a command breaks a rule. Otherwise *error, which may be NULL, says
 *  what: field "entry" or the name of a field. */
lm_rc_t lm_wire_command_decode(lm_bytes_t entry, lm_arena_t *arena, lm_command_t **commands,
                               size_t *n, lm_wire_error_t *error);

/** Whether the frame of an entry is whole and within the limits: all that can be known without
 *  decoding the batch in it. What decode takes has such a frame. */
bool lm_wire_command_is_framed(lm_bytes_t entry);

/** What decode asks of one command; LM_RC_OK or LM_RC_INVALID_ARGUMENT with *error. */
lm_rc_t lm_wire_command_check(const lm_command_t *command, lm_wire_error_t *error);

#endif
