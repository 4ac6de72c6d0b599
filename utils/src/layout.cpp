// SPDX-License-Identifier: GPL-2.0
#include "layout.hpp"

#include <algorithm>
#include <fmt/format.h>

namespace rzcfs {

namespace {

constexpr std::uint64_t bytes_per_inode = 16384;
constexpr std::uint64_t large_medium = 16384; // blocks

constexpr std::uint64_t div_up(std::uint64_t n, std::uint64_t d) { return (n + d - 1) / d; }

void check(const char *what, std::uint64_t value, std::uint64_t min, std::uint64_t max) {
    if (value < min || value > max)
        throw error(fmt::format("{} must be {} to {}, not {}", what, min, max, value));
}

} // namespace

layout plan(std::uint64_t blocks, const layout_options &options) {
    if (blocks < RZCFS_MIN_BLOCKS)
        throw error(fmt::format("the medium has {} blocks of {} bytes, at least {} are needed",
                                blocks, block_size, RZCFS_MIN_BLOCKS));
    if (blocks > RZCFS_MAX_BLOCKS)
        throw error(fmt::format("the medium has {} blocks, at most {} are possible", blocks,
                                RZCFS_MAX_BLOCKS));

    layout l{};
    l.blocks = blocks;
    l.inodes = options.inodes.value_or(std::clamp<std::uint64_t>(
        blocks * block_size / bytes_per_inode, RZCFS_MIN_INODES, RZCFS_MAX_INODES));
    check("the number of inodes", l.inodes, RZCFS_MIN_INODES, RZCFS_MAX_INODES);
    // whole blocks: what is there can be used
    l.inodes = std::min<std::uint64_t>(
        div_up(l.inodes, RZCFS_INODES_PER_BLOCK) * RZCFS_INODES_PER_BLOCK, RZCFS_MAX_INODES);
    std::uint64_t journal = options.journal_blocks.value_or(
        blocks < large_medium ? RZCFS_MIN_JOURNAL : 4 * RZCFS_MIN_JOURNAL);
    check("the number of journal blocks", journal, RZCFS_MIN_JOURNAL, RZCFS_MAX_JOURNAL);
    std::uint64_t pool = options.pool_blocks.value_or(std::min<std::uint64_t>(blocks / 64, 4096));

    std::uint64_t at = 1;
    auto place = [&at](std::uint64_t n) {
        region r{at, n};

        at += n;
        return r;
    };
    l.journal = place(journal);
    l.prestore = place(1);
    l.ibitmap = place(div_up(l.inodes, RZCFS_BITS_PER_BLOCK));
    l.itable = place(div_up(l.inodes, RZCFS_INODES_PER_BLOCK));
    l.bbitmap = place(div_up(blocks, RZCFS_BITS_PER_BLOCK));
    if (pool > blocks)
        throw error(fmt::format("a landing pool of {} blocks is larger than the medium", pool));
    l.pool = place(pool);
    // one block at the end is the copy of the superblock
    if (at + 2 > blocks)
        throw error(fmt::format("{} inodes, {} journal blocks and {} pool blocks leave no room "
                                "for files on {} blocks",
                                l.inodes, journal, pool, blocks));
    l.data = place(blocks - 1 - at);
    return l;
}

std::array<named_region, 7> regions(const layout &l) {
    return {{{"journal", l.journal},
             {"prestore", l.prestore},
             {"ibitmap", l.ibitmap},
             {"itable", l.itable},
             {"bbitmap", l.bbitmap},
             {"pool", l.pool},
             {"data", l.data}}};
}

} // namespace rzcfs
