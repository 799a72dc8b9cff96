#include "CInstructions.h"

#if defined(__x86_64__)

#include <immintrin.h>

// V. Gopal et al., "Fast CRC Computation for Generic Polynomials Using PCLMULQDQ Instruction" (Intel, 2009), in the
// bit-reflected form. A block of 128 bits is moved over n bits by multiplying its halves with x^(n±32) mod P; four
// blocks run beside each other so that the multiplier never waits, and a Barrett reduction takes what is left to 32 bits.

#define FOLDING __attribute__((target("pclmul,sse4.1")))

bool aviary_crc32_can_fold(void) {
  return __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.1");
}

FOLDING static inline __m128i load(const char *bytes) { return _mm_loadu_si128((const __m128i *)bytes); }

/// The block moved over the distance that `factors` stand for, plus what stands there.
FOLDING static inline __m128i fold(__m128i block, __m128i factors, __m128i next) {
  __m128i low = _mm_clmulepi64_si128(block, factors, 0x00);
  __m128i high = _mm_clmulepi64_si128(block, factors, 0x11);
  return _mm_xor_si128(_mm_xor_si128(low, high), next);
}

FOLDING uint32_t aviary_crc32_fold(uint32_t state, const void *bytes, size_t count) {
  const __m128i over512 = _mm_set_epi64x(0x1c6e41596, 0x154442bd4);
  const __m128i over128 = _mm_set_epi64x(0x0ccaa009e, 0x1751997d0);
  const __m128i over64 = _mm_set_epi64x(0, 0x163cd6124);
  const __m128i barrett = _mm_set_epi64x(0x1f7011641, 0x1db710641);
  const __m128i low_words = _mm_set_epi32(0, -1, 0, -1);
  const char *next = bytes, *end = next + count;

  __m128i a = _mm_xor_si128(load(next), _mm_cvtsi32_si128((int)state));
  __m128i b = load(next + 16), c = load(next + 32), d = load(next + 48);
  for (next += 64; end - next >= 64; next += 64) {
    a = fold(a, over512, load(next));
    b = fold(b, over512, load(next + 16));
    c = fold(c, over512, load(next + 32));
    d = fold(d, over512, load(next + 48));
  }
  a = fold(fold(fold(a, over128, b), over128, c), over128, d);
  for (; end - next >= 16; next += 16) a = fold(a, over128, load(next));

  // 128 bits to 64, then to 32.
  a = _mm_xor_si128(_mm_srli_si128(a, 8), _mm_clmulepi64_si128(a, over128, 0x10));
  a = _mm_xor_si128(_mm_srli_si128(a, 4), _mm_clmulepi64_si128(_mm_and_si128(a, low_words), over64, 0x00));
  __m128i quotient = _mm_and_si128(_mm_clmulepi64_si128(_mm_and_si128(a, low_words), barrett, 0x10), low_words);
  a = _mm_xor_si128(a, _mm_clmulepi64_si128(quotient, barrett, 0x00));
  return (uint32_t)_mm_extract_epi32(a, 1);
}

#elif defined(__aarch64__) && defined(__ARM_FEATURE_CRC32)

#include <arm_acle.h>
#include <string.h>

bool aviary_crc32_can_fold(void) { return true; }

uint32_t aviary_crc32_fold(uint32_t state, const void *bytes, size_t count) {
  const char *next = bytes;
  for (; count >= 8; count -= 8, next += 8) {
    uint64_t word;
    memcpy(&word, next, 8);
    state = __crc32d(state, word);
  }
  return state;
}

#else

bool aviary_crc32_can_fold(void) { return false; }

uint32_t aviary_crc32_fold(uint32_t state, const void *bytes, size_t count) {
  (void)bytes;
  (void)count;
  return state;
}

#endif
