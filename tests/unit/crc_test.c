/* CRC-32C against its published check values, whole and in parts. */
#include "crc.h"

#include <criterion/criterion.h>
#include <string.h>

static uint32_t bit_by_bit(uint32_t crc, const uint8_t *bytes, size_t size)
{
    crc = ~crc;
    for (size_t i = 0; i < size; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++) crc = crc & 1 ? crc >> 1 ^ 0x82F63B78u : crc >> 1;
    }
    return ~crc;
}

Test(crc, has_the_published_values)
{
    uint8_t zeros[32] = {0}, ones[32];
    memset(ones, 0xFF, sizeof ones);
    cr_assert_eq(lm_crc32c(0, lm_bytes("123456789", 9)), 0xE3069283u);
    cr_assert_eq(lm_crc32c(0, lm_bytes(zeros, sizeof zeros)), 0x8A9136AAu);
    cr_assert_eq(lm_crc32c(0, lm_bytes(ones, sizeof ones)), 0x62A8AB43u);
    cr_assert_eq(lm_crc32c(0, lm_bytes(NULL, 0)), 0);
}

Test(crc, parts_make_the_whole)
{
    uint8_t bytes[700];
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)(i * 151 + i / 7);
    uint32_t whole = bit_by_bit(0, bytes, sizeof bytes);
    for (size_t cut = 0; cut <= sizeof bytes; cut++) {
        uint32_t first = lm_crc32c(0, lm_bytes(bytes, cut));
        cr_assert_eq(first, bit_by_bit(0, bytes, cut));
        cr_assert_eq(lm_crc32c(first, lm_bytes(bytes + cut, sizeof bytes - cut)), whole);
    }
}

Test(crc, segments_have_another_one)
{
    uint8_t bytes[300];
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)(i * 37 + 1);
    for (size_t size = 0; size <= sizeof bytes; size++) {
        uint32_t expected = 0;
        for (size_t i = 0; i < 8 * size; i++) {
            uint32_t bit = bytes[i / 8] >> (7 - i % 8) & 1;
            expected = (expected >> 31 ^ bit) ? expected << 1 ^ 0x04C11DB7u : expected << 1;
        }
        uint32_t first = lm_crc32_msb(0, lm_bytes(bytes, size / 2));
        cr_assert_eq(lm_crc32_msb(first, lm_bytes(bytes + size / 2, size - size / 2)), expected);
    }
}
