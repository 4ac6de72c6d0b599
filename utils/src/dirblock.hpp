// SPDX-License-Identifier: GPL-2.0
// Directories: their blocks, and how a name gets into one.
#pragma once

#include "image.hpp"
#include "structures.hpp"
#include "tree.hpp"

#include <string>
#include <vector>

namespace rzcfs {

struct dir_entry {
    std::uint32_t offset;
    std::uint32_t ino;
    std::uint32_t hash;
    std::uint8_t type;
    std::string name;

    std::uint32_t end() const { return offset + entry_size(name.size()); }
};

struct dir_block {
    std::vector<dir_entry> entries; // those in use, in order
    bool broken = false;            // the chain of entries of a bucket breaks off
};

// What the kernel sees.
dir_block parse_dir_block(const block &b);

// What can be found by the hashes of names alone.
dir_block salvage_dir_block(const block &b, const hash_key &key);

// A block with these entries at their places, and free space between them.
block compose_dir_block(std::vector<dir_entry> entries);

// Puts a name that is not there, whose hash is right, where the kernel would;
// the offset does not matter. Returns the block of the directory that it is in
// now. Throws error if there is no room at any level.
std::uint64_t insert_entry(image &img, std::uint64_t &map, dir_entry e, const allocator &allocate);

} // namespace rzcfs
