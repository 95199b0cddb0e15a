/* Commands for a table, made of a few bytes each: names, owners and requests that meet, numbers
 * near those that exist. */
#ifndef LM_FUZZ_STORY_H
#define LM_FUZZ_STORY_H

#include "core_table.h"
#include "fuzz_target.h"

/** One command; it passes lm_wire_command_check. Its texts are static. */
lm_command_t fuzz_story_command(fuzz_input_t *in, const lm_table_t *table);

/** Applies a command, reads all its effects tell, and looks up what it was about. */
void fuzz_story_apply(lm_table_t *table, const lm_command_t *command);

#endif
