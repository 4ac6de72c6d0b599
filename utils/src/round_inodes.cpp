// SPDX-License-Identifier: GPL-2.0
// Inodes, their block maps, who owns which block.
#include "crc.hpp"
#include "round.hpp"
#include "xattr.hpp"

#include <algorithm>
#include <sys/stat.h>

namespace rzcfs {

namespace {

constexpr int max_restarts = 16;

std::vector<bool> load_bits(const image &img, const region &r, std::uint64_t n) {
    std::vector<bool> bits(n);

    for (std::uint64_t i = 0; i < n; i++) {
        const block &b = img.read(r.start + i / RZCFS_BITS_PER_BLOCK);

        bits[i] = (std::to_integer<unsigned>(b[i % RZCFS_BITS_PER_BLOCK / 8]) >> i % 8) & 1;
    }
    return bits;
}

constexpr std::uint64_t blocks_of(std::uint64_t bytes) {
    return bytes / block_size + (bytes % block_size != 0);
}

} // namespace

void check_round::load_bitmaps() {
    was_used_ = load_bits(img_, layout_.ibitmap, layout_.inodes);
    block_was_used_ = load_bits(img_, layout_.bbitmap, layout_.blocks);
    adopted_ = was_used_;
    doubtful_.resize(layout_.inodes);
    info_.resize(layout_.inodes);
}

// An inode that has a name and is whole is in use, whatever the bitmap says.
void check_round::adopt_named() {
    std::vector<bool> seen(layout_.data.blocks);
    std::vector<std::uint32_t> directories;
    auto look = [&](std::uint32_t ino) {
        if (S_ISDIR(get(load_inode(ino).i_mode)))
            directories.push_back(ino);
    };
    auto adopt = [&](const dir_entry &e) {
        if (e.ino >= layout_.inodes || adopted_[e.ino])
            return;
        rzcfs_inode raw = load_inode(e.ino);
        if (!sealed(raw) || inode_fault(layout_, raw, e.ino) || !get(raw.i_nlink))
            return;
        adopted_[e.ino] = true; // check_bitmaps() reports it
        look(e.ino);
    };

    adopted_[0] = false;
    adopted_[RZCFS_ROOT_INO] = true;
    for (std::uint32_t ino = RZCFS_ROOT_INO; ino < layout_.inodes; ino++)
        if (adopted_[ino])
            look(ino);
    while (!directories.empty()) {
        std::uint32_t dir = directories.back();

        poll();
        directories.pop_back();
        walk_tree(img_, inode_offset(layout_, dir), [&](const slot &s) {
            if (!layout_.data.has(s.target) || seen[s.target - layout_.data.start])
                return false;
            seen[s.target - layout_.data.start] = true;
            if (!s.height)
                for (const dir_entry &e : salvage_dir_block(img_.read(s.target), key_).entries)
                    adopt(e);
            return true;
        });
    }
}

void check_round::check_inodes() {
    std::vector<inode_info> fresh = info_;

    for (int i = 0; i == 0 || again_; i++) {
        if (i == max_restarts)
            throw refusal("block maps are too entangled");
        again_ = false;
        info_ = fresh;
        owner_.assign(layout_.data.blocks, 0);
        node_.assign(layout_.data.blocks, false);
        copies_.clear();
        for (std::uint32_t ino = RZCFS_ROOT_INO; ino < layout_.inodes; ino++)
            if (adopted_[ino])
                check_inode(ino);
    }
}

bool check_round::correct_bit(rzcfs_inode &raw) const {
    constexpr std::size_t length = offsetof(rzcfs_inode, i_checksum);
    std::uint32_t difference = crc32c_before(raw, length) ^ get(raw.i_checksum);

    if (!(difference & (difference - 1))) {
        seal(raw); // a bit of the checksum itself
        return true;
    }
    if (auto bit = crc32c_bit_error(difference, length)) {
        auto bytes = std::as_writable_bytes(std::span(&raw, 1));

        bytes[*bit / 8] ^= std::byte(1u << *bit % 8);
        return true;
    }
    return false;
}

void check_round::rebuild_root() {
    loss("the root directory is lost: an empty one is made");
    store_directory(RZCFS_ROOT_INO, 0755, RZCFS_ROOT_INO);
}

// Makes an inode one that the kernel accepts; false if nothing can be made of it.
bool check_round::repair_inode(std::uint32_t ino, rzcfs_inode &raw) {
    std::uint64_t map = get(raw.i_map);

    if (!sealed(raw)) {
        if (get(raw.i_ino) != ino) {
            loss("inode {}: nothing in it makes sense: dropped", ino);
            return false;
        }
        loss("inode {}: bad checksum: what it says is taken as far as it makes sense", ino);
        doubtful_[ino] = true;
    }
    if (get(raw.i_ino) != ino) {
        problem("inode {}: says it is inode {}", ino, get(raw.i_ino));
        put(raw.i_ino, ino);
    }
    if (std::uint32_t unknown = get(raw.i_flags) & ~static_cast<std::uint32_t>(RZCFS_FL_KNOWN)) {
        problem("inode {}: unknown flags {:#x}", ino, unknown);
        put(raw.i_flags, get(raw.i_flags) & RZCFS_FL_KNOWN);
    }
    if (map_height(map) > RZCFS_MAP_MAX_HEIGHT ||
        (map_block(map) && !layout_.data.has(map_block(map)))) {
        loss("inode {}: bad block map {:#x}: the contents are lost", ino, map);
        put(raw.i_map, 0);
    }
    if (get(raw.i_blocks) > layout_.data.blocks) {
        problem("inode {}: cannot have {} blocks", ino, get(raw.i_blocks));
        put(raw.i_blocks, 0);
    }
    if (!known_type(get(raw.i_mode))) {
        // the kernel sets a parent in directories only
        unsigned type = get(raw.i_parent)                                       ? S_IFDIR
                        : !get(raw.i_map) && get(raw.i_size) && raw.i_inline[0] ? S_IFLNK
                                                                                : S_IFREG;

        loss("inode {}: unknown type: taken for a {}", ino, type_name(type));
        put(raw.i_mode, type | (get(raw.i_mode) & 0777));
        doubtful_[ino] = true;
    }
    switch (get(raw.i_mode) & S_IFMT) {
    case S_IFREG:
        if (get(raw.i_size) > RZCFS_MAX_FILE_BLOCKS * block_size) {
            loss("inode {}: cannot have {} bytes: the last block is taken for its end", ino,
                 get(raw.i_size));
            put(raw.i_size, 0);
            doubtful_[ino] = true; // finish_inode() looks what is filled
        }
        break;
    case S_IFDIR:
        if (raw.i_dir_depth > RZCFS_DIR_MAX_DEPTH) {
            problem("inode {}: a directory cannot have {} levels", ino, raw.i_dir_depth);
            raw.i_dir_depth = 0;
        }
        if (!get(raw.i_parent) || get(raw.i_parent) >= layout_.inodes) {
            problem("inode {}: inode {} cannot be its parent", ino, get(raw.i_parent));
            put(raw.i_parent, RZCFS_ROOT_INO);
        }
        break;
    case S_IFLNK:
        break; // see check_symlink()
    default:
        if (get(raw.i_map)) {
            loss("inode {}: a {} cannot have blocks", ino, type_name(get(raw.i_mode)));
            put(raw.i_map, 0);
        }
    }
    store_inode(ino, raw);
    return true;
}

void check_round::check_inode(std::uint32_t ino) {
    rzcfs_inode raw = load_inode(ino);
    inode_info &info = info_[ino];

    poll();
    if (!sealed(raw)) {
        rzcfs_inode better = raw;

        if (correct_bit(better) && !inode_fault(layout_, better, ino)) {
            problem("inode {}: one bit is wrong", ino);
            store_inode(ino, better);
            raw = better;
        }
    }
    bool usable = sealed(raw) && !inode_fault(layout_, raw, ino);
    if (!usable)
        usable = repair_inode(ino, raw);
    if (ino == RZCFS_ROOT_INO && (!usable || !S_ISDIR(get(raw.i_mode)))) {
        rebuild_root();
        usable = true;
    }
    if (!usable) {
        adopted_[ino] = false;
        return;
    }
    info.used = true;
    raw = load_inode(ino);
    info.mode = get(raw.i_mode);
    check_xattr(ino);
    walk_map(ino, load_inode(ino));
    if (S_ISLNK(info.mode) && !check_symlink(ino)) {
        release(ino);
        adopted_[ino] = false;
        return;
    }
    info.plausible = info.blocks == get(raw.i_blocks);
}

void check_round::walk_map(std::uint32_t ino, const rzcfs_inode &raw) {
    walk_tree(img_, inode_offset(layout_, ino),
              [&](const slot &s) { return claim_slot(ino, raw, s); });
    // a truncation that mount would finish
    std::uint64_t rest = get(raw.i_size) % block_size;
    if (S_ISREG(info_[ino].mode) && info_[ino].orphan && get(raw.i_nlink) && rest) {
        std::uint64_t last =
            map_lookup(img_, get(load_inode(ino).i_map), get(raw.i_size) / block_size);

        if (layout_.data.has(last) && owner(last) == ino) {
            block b = img_.read(last);

            std::fill(b.begin() + std::ptrdiff_t(rest), b.end(), std::byte(0));
            img_.write(last, b);
        }
    }
}

// Takes what a pointer leads to for an inode; true if it is a node to go on with.
bool check_round::claim_slot(std::uint32_t ino, const rzcfs_inode &raw, const slot &s) {
    inode_info &info = info_[ino];
    bool node = s.height != 0;

    if (!layout_.data.has(s.target)) {
        loss("inode {}: block {} cannot be in block {}: cut off", ino, s.fblk, s.target);
        set_slot(ino, s, 0);
        return false;
    }
    bool beyond = S_ISREG(info.mode) && s.fblk >= blocks_of(get(raw.i_size));
    if (beyond && info.orphan && get(raw.i_nlink)) {
        set_slot(ino, s, 0);
        // free by rights, and what lies below it too
        bool below = node && block_was_used_[s.target];
        block_was_used_[s.target] = false;
        return below;
    }
    if (S_ISDIR(info.mode) && !node && s.fblk >= max_dir_blocks) {
        loss("directory {}: cannot have a block {}: cut off", ino, s.fblk);
        set_slot(ino, s, 0);
        return false;
    }
    std::uint32_t other = owner(s.target);
    if (!node) {
        info.end = std::max(info.end, s.fblk + 1);
        if (beyond && img_.read(s.target) != block{})
            info.filled = std::max(info.filled, s.fblk + 1);
        if (other || exclusive_.count(s.target)) {
            copies_.push_back({s, ino});
            info.blocks++;
            return false;
        }
    } else {
        auto it = node_owner_.find(s.target);
        bool lost_to_other = it != node_owner_.end() && it->second != ino;

        if (other && !node_[s.target - layout_.data.start]) {
            // contents there may be copied, a node may not
            exclusive_.insert(s.target);
            again_ = true;
            return false;
        }
        if (other && other != ino && !lost_to_other && !info_[other].plausible) {
            node_owner_[s.target] = ino;
            again_ = true;
            return false;
        }
        if (other || lost_to_other) {
            loss("inode {}: block {} of its map is also in use for inode {}: cut off", ino,
                 s.target, other ? other : it->second);
            set_slot(ino, s, 0);
            return false;
        }
    }
    owner(s.target) = ino;
    node_[s.target - layout_.data.start] = node;
    info.blocks++;
    return node;
}

// A symbolic link must have a target; false if it cannot get one.
bool check_round::check_symlink(std::uint32_t ino) {
    rzcfs_inode raw = load_inode(ino);
    std::uint64_t size = get(raw.i_size);
    const char *text = reinterpret_cast<const char *>(raw.i_inline);
    std::uint64_t room = RZCFS_INLINE_BYTES;
    block contents{};

    if (get(raw.i_map) && (size > RZCFS_INLINE_BYTES || !raw.i_inline[0])) {
        if (std::uint64_t at = map_lookup(img_, get(raw.i_map), 0))
            contents = img_.read(at);
        text = reinterpret_cast<const char *>(contents.data());
        room = block_size - 1;
    }
    std::uint64_t length = strnlen(text, room);
    if (!length) {
        loss("inode {}: a symbolic link that leads nowhere: dropped", ino);
        return false;
    }
    if (length == size)
        return true;
    if (room == block_size - 1 && length <= RZCFS_INLINE_BYTES) {
        // so short a target belongs into the inode
        std::memset(raw.i_inline, 0, sizeof(raw.i_inline));
        std::memcpy(raw.i_inline, text, length);
    }
    problem("inode {}: a symbolic link of {} bytes says it has {}", ino, length, size);
    put(raw.i_size, length);
    store_inode(ino, raw);
    return true;
}

void check_round::drop_xattr(std::uint32_t ino) {
    rzcfs_inode raw = load_inode(ino);

    put(raw.i_xattr, 0);
    store_inode(ino, raw);
}

void check_round::check_xattr(std::uint32_t ino) {
    rzcfs_inode raw = load_inode(ino);
    std::uint64_t at = get(raw.i_xattr);
    bool directory = S_ISDIR(info_[ino].mode);

    if (!at)
        return;
    if (!layout_.data.has(at)) {
        loss("inode {}: its extended attributes cannot be in block {}: dropped", ino, at);
        drop_xattr(ino);
        return;
    }
    block b = img_.read(at);
    xattr_block found = parse_xattrs(b, raw, directory);
    if (found.fault) {
        block better = b;

        if (correct_xattr_bit(better) && !parse_xattrs(better, raw, directory).fault) {
            problem("inode {}: extended attributes: one bit is wrong", ino);
            found = parse_xattrs(better, raw, directory);
            b = better;
        } else if (found.entries.empty()) {
            loss("inode {}: block {} has {}: dropped", ino, at, found.fault);
            drop_xattr(ino);
            return;
        } else {
            loss("inode {}: extended attributes: block {} has {}: {} are kept", ino, at,
                 found.fault, found.entries.size());
            b = compose_xattrs(found.entries, raw);
        }
    }
    auto it = node_owner_.find(at);
    std::uint32_t other = owner(at);
    if ((it != node_owner_.end() && it->second != ino) ||
        (other && node_[at - layout_.data.start])) {
        loss("inode {}: block {} of its extended attributes has another use: dropped", ino, at);
        drop_xattr(ino);
        return;
    }
    exclusive_.insert(at);
    again_ |= other != 0;
    img_.write(at, b);
    owner(at) = ino;
    node_[at - layout_.data.start] = true;
    info_[ino].blocks++;
}

// Contents that more than one inode has: each gets its own.
void check_round::copy_shared() {
    for (const pending_copy &c : copies_) {
        std::uint64_t to = allocate(c.ino, false);

        info_[c.ino].blocks--; // counted already
        loss("block {} is in use more than once: inode {} gets a copy", c.where.target, c.ino);
        img_.write(to, block(img_.read(c.where.target)));
        set_slot(c.ino, c.where, to);
    }
}

void check_round::release(std::uint32_t ino) {
    std::uint64_t at = get(load_inode(ino).i_xattr);
    auto give = [&](std::uint64_t blk) {
        if (!layout_.data.has(blk) || owner(blk) != ino)
            return false;
        owner(blk) = 0;
        if (info_[ino].orphan)
            block_was_used_[blk] = false; // that it is marked is no mistake
        return true;
    };

    give(at);
    walk_tree(img_, inode_offset(layout_, ino), [&](const slot &s) { return give(s.target); });
    std::erase_if(copies_, [&](const pending_copy &c) { return c.ino == ino; });
    info_[ino].used = false;
    if (info_[ino].orphan)
        was_used_[ino] = false;
}

void check_round::finish_inodes() {
    for (std::uint32_t ino = RZCFS_ROOT_INO; ino < layout_.inodes; ino++)
        if (info_[ino].used)
            finish_inode(ino);
}

void check_round::finish_inode(std::uint32_t ino) {
    const inode_info &info = info_[ino];
    rzcfs_inode raw = load_inode(ino);
    std::uint32_t links = S_ISDIR(info.mode) ? 2 + info.subdirs : info.names;
    std::uint64_t size = get(raw.i_size);

    if (get(raw.i_nlink) != links) {
        problem("inode {}: has {} links, not {}", ino, links, get(raw.i_nlink));
        put(raw.i_nlink, links);
    }
    if (get(raw.i_blocks) != info.blocks) {
        if (!info.orphan) // those are being truncated
            problem("inode {}: has {} blocks, not {}", ino, info.blocks, get(raw.i_blocks));
        put(raw.i_blocks, info.blocks);
    }
    if (get(raw.i_next_orphan)) {
        if (!info.orphan)
            problem("inode {}: is on a list of orphans that is none", ino);
        put(raw.i_next_orphan, 0);
    }
    if (S_ISDIR(info.mode)) {
        unsigned depth = info.end ? level_of(info.end - 1) + 1 : 0;

        if (get(raw.i_parent) != info.parent) {
            problem("directory {}: its parent is {}, not {}", ino, info.parent, get(raw.i_parent));
            put(raw.i_parent, info.parent);
        }
        if (raw.i_dir_depth != depth) {
            problem("directory {}: has {} levels, not {}", ino, depth, raw.i_dir_depth);
            raw.i_dir_depth = static_cast<std::uint8_t>(depth);
        }
        if (size != info.end * block_size) {
            problem("directory {}: has {} bytes, not {}", ino, info.end * block_size, size);
            put(raw.i_size, info.end * block_size);
        }
    } else if (S_ISREG(info.mode) && doubtful_[ino] && blocks_of(size) < info.filled) {
        // else it may be what a write into preallocated blocks left when the power went
        problem("inode {}: has {} bytes at least, not {}", ino, info.filled * block_size, size);
        put(raw.i_size, info.filled * block_size);
    }
    store_inode(ino, raw);
}

void check_round::check_bitmaps() {
    auto apply = [&](const char *what, const region &r, const std::vector<bool> &is, auto &&shall) {
        std::uint64_t n = is.size(), from = 0;

        for (std::uint64_t first = 0; first < n; first += RZCFS_BITS_PER_BLOCK) {
            std::uint64_t at = r.start + first / RZCFS_BITS_PER_BLOCK;
            block b = img_.read(at);

            for (std::uint64_t i = first; i < std::min(n, first + RZCFS_BITS_PER_BLOCK); i++) {
                std::byte bit = std::byte(1u << i % 8), &byte = b[(i - first) / 8];

                byte = shall(i) ? byte | bit : byte & ~bit;
            }
            img_.write(at, b);
        }
        // one message for a run
        for (std::uint64_t i = 0; i < n; i = from) {
            for (from = i; from < n && is[from] != shall(from) && is[from] == is[i]; from++)
                ;
            if (from == i)
                from++;
            else if (from == i + 1)
                problem("{} {} is {}", what, i,
                        is[i] ? "free, but marked as in use" : "in use, but marked as free");
            else
                problem("{}s {} to {} are {}", what, i, from - 1,
                        is[i] ? "free, but marked as in use" : "in use, but marked as free");
        }
    };

    apply("inode", layout_.ibitmap, was_used_,
          [&](std::uint64_t i) { return !i || info_[i].used; });
    apply("block", layout_.bbitmap, block_was_used_,
          [&](std::uint64_t i) { return !layout_.data.has(i) || owner(i); });
    out_.inodes = layout_.inodes - 1;
    out_.blocks = layout_.data.blocks;
    for (const inode_info &i : info_)
        out_.used_inodes += i.used;
    for (std::uint32_t o : owner_)
        out_.used_blocks += o != 0;
}

} // namespace rzcfs
