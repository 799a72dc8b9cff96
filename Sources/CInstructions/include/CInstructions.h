#ifndef AVIARY_CINSTRUCTIONS_H
#define AVIARY_CINSTRUCTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Instructions that Swift has no name for. Nothing else belongs in here: no state, no I/O, no allocation.

/// Whether this processor has what `aviary_crc32_fold` needs.
bool aviary_crc32_can_fold(void);

/// CRC-32 (IEEE, reflected) of whole blocks of sixteen bytes.
///
/// `state` is the register and not the finished CRC: that is its complement. `count` is a multiple of 16 and at least 64.
uint32_t aviary_crc32_fold(uint32_t state, const void *bytes, size_t count);

/// Whether this processor has what `aviary_adler32_blocks` needs.
bool aviary_adler32_can_block(void);

/// Adler-32 of whole blocks of 32 bytes, continued from `adler`.
uint32_t aviary_adler32_blocks(uint32_t adler, const void *bytes, size_t count);

/// Begins to bring the cache line at `address` closer. A hint: it reads nothing, and any address will do.
static inline void aviary_prefetch(const void *address) {
    __builtin_prefetch(address);
}

#endif
