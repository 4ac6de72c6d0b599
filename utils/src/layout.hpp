// SPDX-License-Identifier: GPL-2.0
// Where the regions of a file system lie.
#pragma once

#include <linux/rzcfs_fs.h>

#include <array>
#include <cstdint>
#include <optional>
#include <stdexcept>

namespace rzcfs {

constexpr std::uint64_t block_size = RZCFS_BLOCK_SIZE;

struct error : std::runtime_error {
    using std::runtime_error::runtime_error;
};

struct region {
    std::uint64_t start, blocks;

    std::uint64_t end() const { return start + blocks; }
    bool has(std::uint64_t block) const { return block >= start && block - start < blocks; }
};

struct layout_options {
    std::optional<std::uint64_t> inodes, journal_blocks, pool_blocks;
};

struct layout {
    std::uint64_t blocks, inodes;
    region journal, prestore, ibitmap, itable, bbitmap, pool, data;
};

struct named_region {
    const char *name;
    region where;
};

// in the order in which they lie
std::array<named_region, 7> regions(const layout &l);

// Throws error if the medium is too small or an option is out of range.
layout plan(std::uint64_t blocks, const layout_options &options);

} // namespace rzcfs
