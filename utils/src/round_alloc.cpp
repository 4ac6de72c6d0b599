// SPDX-License-Identifier: GPL-2.0
// Changes to inodes and block maps, and what they need.
#include "round.hpp"

#include <sys/stat.h>

namespace rzcfs {

rzcfs_inode check_round::load_inode(std::uint32_t ino) const {
    return img_.load<rzcfs_inode>(inode_offset(layout_, ino));
}

void check_round::store_inode(std::uint32_t ino, rzcfs_inode raw) {
    seal(raw);
    img_.store(inode_offset(layout_, ino), raw);
}

// An empty directory in the place of whatever the inode was.
void check_round::store_directory(std::uint32_t ino, unsigned permissions, std::uint32_t parent) {
    rzcfs_inode raw{};

    put(raw.i_ino, ino);
    put(raw.i_generation, get(load_inode(ino).i_generation) + 1);
    put(raw.i_mode, S_IFDIR | permissions);
    put(raw.i_nlink, 2);
    put(raw.i_version, 1);
    raw.i_atime = raw.i_mtime = raw.i_ctime = raw.i_btime = le(options_.now_ns);
    put(raw.i_parent, parent);
    store_inode(ino, raw);
}

void check_round::set_slot(std::uint32_t ino, const slot &s, std::uint64_t target) {
    if (!s.root) {
        img_.store(s.at, le(target));
        return;
    }
    rzcfs_inode raw = load_inode(ino);
    put(raw.i_map, target ? target | std::uint64_t(s.height) << RZCFS_MAP_HEIGHT_SHIFT : 0);
    store_inode(ino, raw);
}

std::uint64_t check_round::allocate(std::uint32_t ino, bool node) {
    // what nobody owns but the bitmap holds may be all that is left of something
    for (bool last_resort : {false, true}) {
        for (std::uint64_t i = 0; i < layout_.data.blocks; i++) {
            std::uint64_t at = (cursor_ + i) % layout_.data.blocks;

            if (owner_[at] || (!last_resort && block_was_used_[layout_.data.start + at]))
                continue;
            cursor_ = at + 1;
            owner_[at] = ino;
            node_[at] = node;
            info_[ino].blocks++;
            return layout_.data.start + at;
        }
    }
    throw refusal("there is no free block, which a repair needs: remove something first");
}

std::uint32_t check_round::allocate_inode() {
    for (std::uint32_t ino = RZCFS_ROOT_INO + 1; ino < layout_.inodes; ino++)
        if (!info_[ino].used && !was_used_[ino])
            return ino;
    for (std::uint32_t ino = RZCFS_ROOT_INO + 1; ino < layout_.inodes; ino++)
        if (!info_[ino].used)
            return ino;
    throw refusal("there is no free inode for lost+found: remove something first");
}

} // namespace rzcfs
