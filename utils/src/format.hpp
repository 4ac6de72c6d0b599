// SPDX-License-Identifier: GPL-2.0
// An empty file system.
#pragma once

#include "layout.hpp"
#include "medium.hpp"
#include "uuid.hpp"

#include <array>
#include <string>

namespace rzcfs {

struct format_options {
    std::string label;
    uuid id = random_uuid();
    std::array<std::uint8_t, 16> hash_key{};
    std::uint32_t uid = 0, gid = 0;
    std::uint16_t mode = 0755;
    std::uint64_t time_ns = 0;
    std::uint32_t root_generation = 1;
};

// What the first bytes of a medium say.
enum class contents { blank, rzcfs, other };
contents look(const medium &m);

// Name of a foreign file system or partition table, if it is a known one.
std::string foreign_name(const medium &m);

rzcfs_super_block make_super(const layout &l, const format_options &o);
rzcfs_inode make_root(const format_options &o);

// Writes everything; the superblock comes last, so that an interrupted run
// leaves a medium that cannot be mounted.
void format(medium &m, const layout &l, const format_options &o);

} // namespace rzcfs
