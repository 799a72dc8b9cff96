#include "CInstructions.h"

#if defined(__x86_64__)

#include <immintrin.h>

#define BLOCKWISE __attribute__((target("ssse3")))

bool aviary_adler32_can_block(void) { return __builtin_cpu_supports("ssse3"); }

BLOCKWISE static inline uint32_t sum(__m128i words) {
  words = _mm_add_epi32(words, _mm_shuffle_epi32(words, 0x4e));
  words = _mm_add_epi32(words, _mm_shuffle_epi32(words, 0xb1));
  return (uint32_t)_mm_cvtsi128_si32(words);
}

// In a block of 32 bytes the i-th byte counts once in the low sum and 32-i times in the high one, which besides grows by
// 32 times what the low sum was before the block.
BLOCKWISE uint32_t aviary_adler32_blocks(uint32_t adler, const void *bytes, size_t count) {
  const __m128i weights_a = _mm_set_epi8(17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32);
  const __m128i weights_b = _mm_set_epi8(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16);
  const __m128i zero = _mm_setzero_si128(), ones = _mm_set1_epi16(1);
  const char *next = bytes, *end = next + count;
  uint32_t low = adler & 0xffff, high = adler >> 16;
  while (next < end) {
    // As many bytes as leave both sums below 2^32.
    size_t part = end - next > 5536 ? 5536 : (size_t)(end - next);
    __m128i lows = zero, before = zero, highs = zero;
    for (const char *stop = next + part; next < stop; next += 32) {
      __m128i a = _mm_loadu_si128((const __m128i *)next), b = _mm_loadu_si128((const __m128i *)(next + 16));
      before = _mm_add_epi32(before, lows);
      lows = _mm_add_epi32(lows, _mm_add_epi32(_mm_sad_epu8(a, zero), _mm_sad_epu8(b, zero)));
      highs = _mm_add_epi32(highs, _mm_madd_epi16(_mm_maddubs_epi16(a, weights_a), ones));
      highs = _mm_add_epi32(highs, _mm_madd_epi16(_mm_maddubs_epi16(b, weights_b), ones));
    }
    high = (high + low * (uint32_t)part + 32 * sum(before) + sum(highs)) % 65521;
    low = (low + sum(lows)) % 65521;
  }
  return high << 16 | low;
}

#else

bool aviary_adler32_can_block(void) { return false; }

uint32_t aviary_adler32_blocks(uint32_t adler, const void *bytes, size_t count) {
  (void)bytes;
  (void)count;
  return adler;
}

#endif
