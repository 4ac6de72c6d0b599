// SPDX-License-Identifier: GPL-2.0
// The block map of an inode: reading it.
#pragma once

#include "image.hpp"
#include "structures.hpp"

#include <functional>

namespace rzcfs {

// One pointer that is not 0.
struct slot {
    std::uint64_t at;     // byte offset on the medium
    std::uint64_t target; // as it stands there, not validated
    std::uint64_t fblk;   // first block of the file that lies below it
    unsigned height;      // 0: it points to contents
    bool root;            // i_map itself
};

// Calls fn for every pointer of a tree, parents first, and reads the node
// behind it if the height is not 0 and fn returns true, which it may only for
// a block of the data region. That a tree is none, and has no end, is for fn
// to notice.
using slot_visitor = std::function<bool(const slot &)>;
void walk_tree(const image &img, std::uint64_t inode_at, const slot_visitor &fn);

// The block that holds a block of the file, 0 for a hole, of a sound tree.
std::uint64_t map_lookup(const image &img, std::uint64_t map, std::uint64_t fblk);

// Gives a block that was free; `node` says whether it will hold pointers.
using allocator = std::function<std::uint64_t(bool node)>;

// Maps a block of a file, of a sound tree; returns the new i_map.
std::uint64_t map_set(image &img, std::uint64_t map, std::uint64_t fblk, std::uint64_t blk,
                      const allocator &allocate);

} // namespace rzcfs
