// SPDX-License-Identifier: GPL-2.0
// A block of extended attributes.
#pragma once

#include "image.hpp"
#include "structures.hpp"

#include <string>
#include <vector>

namespace rzcfs {

struct xattr {
    std::uint8_t index;
    std::string name, value;

    bool operator==(const xattr &) const = default;
};

struct xattr_block {
    std::vector<xattr> entries; // those that follow the rules
    const char *fault;          // of the block as a whole, or nullptr
};

// `directory`: the inode is one, and may have a default ACL.
xattr_block parse_xattrs(const block &b, const rzcfs_inode &owner, bool directory);

// Throws error if they do not fit.
block compose_xattrs(std::vector<xattr> entries, const rzcfs_inode &owner);

// Repairs one wrong bit, if that is what the checksum says.
bool correct_xattr_bit(block &b);

// As getfattr(1) shows it.
std::string full_name(const xattr &x);

} // namespace rzcfs
