/* A look at the bare text of a configuration file, for what its parser passes over in silence. */
#ifndef LM_SUP_CONFIG_SCAN_H
#define LM_SUP_CONFIG_SCAN_H

#include "sup_problems.h"

/** Adds a problem for every whole number in the file that does not fit 32 bits: the parser would
 *  cut it to its lower half, so that 4294967446 becomes 150. A file that cannot be read adds
 *  none. */
void lm_sup_config_scan_numbers(const char *file, lm_sup_problems_t *problems);

#endif
