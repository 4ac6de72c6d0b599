// SPDX-License-Identifier: GPL-2.0
#include "builder.hpp"

#include <algorithm>
#include <sys/stat.h>

namespace rzcfs {

scratch::scratch() {
    std::string name = (std::filesystem::temp_directory_path() / "rzcfs-XXXXXX").string();

    if (!mkdtemp(name.data()))
        throw error("cannot make a directory");
    dir_ = name;
}

builder::builder(const std::filesystem::path &path, std::uint64_t blocks,
                 const layout_options &options)
    : m(path, medium::access::write, blocks * block_size), img(m), l(plan(blocks, options)),
      next_block_(l.data.start) {
    format_options o;

    o.id = {1, 2, 3};
    for (std::size_t i = 0; i < key.size(); i++)
        o.hash_key[i] = key[i] = static_cast<std::uint8_t>(17 * i + 3);
    o.time_ns = 1700000000000000000;
    o.label = "test";
    format(m, l, o);
}

rzcfs_inode builder::inode(std::uint32_t ino) const {
    return img.load<rzcfs_inode>(inode_offset(l, ino));
}

void builder::set_inode(std::uint32_t ino, rzcfs_inode raw) {
    seal(raw);
    img.store(inode_offset(l, ino), raw);
}

void builder::set_bit(const region &bitmap, std::uint64_t bit) {
    std::uint64_t at = bitmap.start * block_size + bit / 8;

    img.store(at, img.load<std::byte>(at) | std::byte(1u << bit % 8));
}

std::uint64_t builder::allocate(std::uint32_t ino) {
    rzcfs_inode raw = inode(ino);

    put(raw.i_blocks, get(raw.i_blocks) + 1);
    set_inode(ino, raw);
    set_bit(l.bbitmap, next_block_);
    return next_block_++;
}

void builder::map(std::uint32_t ino, std::uint64_t fblk, std::uint64_t blk) {
    std::uint64_t word =
        map_set(img, get(inode(ino).i_map), fblk, blk, [&](bool) { return allocate(ino); });
    rzcfs_inode raw = inode(ino);

    put(raw.i_map, word);
    set_inode(ino, raw);
}

std::uint32_t builder::make(std::uint32_t dir, const std::string &n, unsigned mode) {
    std::uint32_t ino = next_ino_++;
    rzcfs_inode raw{};

    put(raw.i_ino, ino);
    put(raw.i_generation, 1000 + ino);
    put(raw.i_mode, mode);
    put(raw.i_nlink, S_ISDIR(mode) ? 2 : 0);
    put(raw.i_version, 1);
    raw.i_atime = raw.i_mtime = raw.i_ctime = raw.i_btime = le(1700000000000000000ull + ino);
    if (S_ISDIR(mode))
        put(raw.i_parent, dir);
    if (S_ISCHR(mode) || S_ISBLK(mode))
        put(raw.i_rdev, 0x103);
    set_inode(ino, raw);
    set_bit(l.ibitmap, ino);
    if (!n.empty())
        name(dir, n, ino);
    return ino;
}

void builder::name(std::uint32_t dir, const std::string &n, std::uint32_t ino) {
    rzcfs_inode raw = inode(ino), at = inode(dir);
    std::uint64_t word = get(at.i_map);
    dir_entry e{0, ino, name_hash(key, n), static_cast<std::uint8_t>(dirent_type(get(raw.i_mode))),
                n};

    std::uint64_t fblk = insert_entry(img, word, std::move(e), [&](bool) { return allocate(dir); });
    at = inode(dir);
    put(at.i_map, word);
    put(at.i_size, std::max<std::uint64_t>(get(at.i_size), (fblk + 1) * block_size));
    at.i_dir_depth = std::max(at.i_dir_depth, static_cast<std::uint8_t>(level_of(fblk) + 1));
    if (S_ISDIR(get(raw.i_mode)))
        put(at.i_nlink, get(at.i_nlink) + 1);
    else
        put(raw.i_nlink, get(raw.i_nlink) + 1);
    set_inode(ino, raw);
    set_inode(dir, at);
}

void builder::write(std::uint32_t ino, std::uint64_t fblk, const std::string &contents) {
    for (std::size_t at = 0; at < contents.size(); at += block_size, fblk++) {
        std::size_t n = std::min<std::size_t>(block_size, contents.size() - at);
        std::uint64_t blk = allocate(ino);
        block b{};

        std::memcpy(b.data(), contents.data() + at, n);
        img.write(blk, b);
        map(ino, fblk, blk);
        rzcfs_inode raw = inode(ino);
        put(raw.i_size, std::max<std::uint64_t>(get(raw.i_size), fblk * block_size + n));
        set_inode(ino, raw);
    }
}

void builder::journal(block records, std::uint64_t generation) {
    apply_pad(records, key, generation);
    img.write(l.journal.start, records);
}

void builder::preallocate(std::uint32_t ino, std::uint64_t fblk) {
    std::uint64_t blk = allocate(ino);

    img.write(blk, block{});
    map(ino, fblk, blk);
}

std::uint32_t builder::symlink(std::uint32_t dir, const std::string &n, const std::string &target) {
    std::uint32_t ino = make(dir, n, S_IFLNK | 0777);

    if (target.size() > RZCFS_INLINE_BYTES) {
        write(ino, 0, target);
        return ino;
    }
    rzcfs_inode raw = inode(ino);
    std::memcpy(raw.i_inline, target.data(), target.size());
    put(raw.i_size, target.size());
    set_inode(ino, raw);
    return ino;
}

void builder::xattrs(std::uint32_t ino, std::vector<xattr> entries) {
    std::uint64_t blk = allocate(ino);
    rzcfs_inode raw = inode(ino);

    put(raw.i_xattr, blk);
    set_inode(ino, raw);
    img.write(blk, compose_xattrs(std::move(entries), raw));
}

void builder::orphan(std::uint32_t ino) {
    std::uint64_t at = state_offset(RZCFS_STATE_ORPHANS);
    rzcfs_inode raw = inode(ino);

    put(raw.i_next_orphan,
        state_value(RZCFS_STATE_ORPHANS, le(img.load<std::uint64_t>(at))).value());
    set_inode(ino, raw);
    img.store(at, le(state_word(RZCFS_STATE_ORPHANS, ino)));
}

void builder::finish() { img.write_back(); }

} // namespace rzcfs
