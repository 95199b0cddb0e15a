/* CRC-32C (Castagnoli), by the instructions of the processor where there are any. The only file
 * that knows the library for it.
 *
 * Invariants
 *   C1  The checksum of parts, each begun with that of the parts before, is that of the whole.
 */
#ifndef LM_CRC_H
#define LM_CRC_H

#include <stdint.h>

#include "base_bytes.h"

/** Goes on with crc over bytes. crc is 0 for the first bytes, else what came out for those before.
 */
uint32_t lm_crc32c(uint32_t crc, lm_bytes_t bytes);

/** Goes on with the checksum of the engine's segments: CRC-32 with the highest bit first, neither
 *  begun nor ended with an inversion. Begins with 0. */
uint32_t lm_crc32_msb(uint32_t crc, lm_bytes_t bytes);

#endif
