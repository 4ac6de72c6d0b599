// SPDX-License-Identifier: GPL-2.0
#include "crc.hpp"
#include "endian.hpp"
#include "format.hpp"
#include "siphash.hpp"
#include "structures.hpp"

#include <cstring>
#include <gtest/gtest.h>

using namespace rzcfs;

TEST(Crc32c, KnownAnswers) {
    const char digits[] = "123456789";

    EXPECT_EQ(crc32c(std::as_bytes(std::span(digits, 9))), 0xe3069283u);
    EXPECT_EQ(crc32c({}), 0u);
}

TEST(Uuid, RoundTrip) {
    uuid u = random_uuid();

    EXPECT_EQ(parse_uuid(to_string(u)), u);
    EXPECT_FALSE(parse_uuid("1234"));
    EXPECT_FALSE(parse_uuid("0123456789abcdef0123456789abcdef0123"));
    EXPECT_FALSE(parse_uuid("g1234567-0123-0123-0123-0123456789ab"));
    EXPECT_TRUE(parse_uuid("01234567-0123-0123-0123-0123456789AB"));
}

class Plan : public testing::TestWithParam<std::uint64_t> {};

TEST_P(Plan, RegionsFillTheMedium) {
    layout l = plan(GetParam(), {});
    const region *r[] = {&l.journal, &l.prestore, &l.ibitmap, &l.itable,
                         &l.bbitmap, &l.pool,     &l.data};
    std::uint64_t at = 1;

    for (const region *x : r) {
        EXPECT_EQ(x->start, at);
        at = x->end();
    }
    EXPECT_EQ(at, l.blocks - 1);
    EXPECT_GT(l.data.blocks, 0u);
    EXPECT_GE(l.bbitmap.blocks * RZCFS_BITS_PER_BLOCK, l.blocks);
    EXPECT_GE(l.ibitmap.blocks * RZCFS_BITS_PER_BLOCK, l.inodes);
    EXPECT_GE(l.itable.blocks * RZCFS_INODES_PER_BLOCK, l.inodes);
    EXPECT_GE(l.journal.blocks, unsigned(RZCFS_MIN_JOURNAL));
}

INSTANTIATE_TEST_SUITE_P(Sizes, Plan,
                         testing::Values(64, 65, 100, 1024, 16383, 16384, 32768, 1 << 18, 1 << 22,
                                         1ull << 28, std::uint64_t(RZCFS_MAX_BLOCKS)));

TEST(PlanErrors, AreRefused) {
    EXPECT_THROW(plan(63, {}), error);
    EXPECT_THROW(plan(std::uint64_t(RZCFS_MAX_BLOCKS) + 1, {}), error);
    EXPECT_THROW(plan(1024, {.inodes = 3, .journal_blocks = {}, .pool_blocks = {}}), error);
    EXPECT_THROW(plan(1024, {.inodes = 1 << 20, .journal_blocks = {}, .pool_blocks = {}}), error);
    EXPECT_THROW(plan(1024, {.inodes = {}, .journal_blocks = 1, .pool_blocks = {}}), error);
    EXPECT_THROW(plan(1024, {.inodes = {}, .journal_blocks = {}, .pool_blocks = 1000}), error);
    EXPECT_THROW(plan(1024, {.inodes = {}, .journal_blocks = {}, .pool_blocks = ~0ull}), error);
}

TEST(Super, ChecksumAndLabel) {
    layout l = plan(1024, {});
    format_options o;

    o.label = std::string(64, 'x');
    rzcfs_super_block sb = make_super(l, o);
    EXPECT_EQ(le(std::uint32_t(sb.s_checksum)),
              crc32c_before(sb, offsetof(rzcfs_super_block, s_checksum)));
    EXPECT_EQ(std::memcmp(sb.s_label, o.label.data(), 64), 0);
    o.label += 'x';
    EXPECT_THROW(make_super(l, o), error);
}

TEST(State, WordsKnowTheirPlace) {
    EXPECT_NE(state_word(0, 1), state_word(1, 1));
    EXPECT_EQ(state_word(3, 77) & RZCFS_STATE_VALUE_MASK, 77u);
}
