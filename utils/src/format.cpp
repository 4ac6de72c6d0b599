// SPDX-License-Identifier: GPL-2.0
#include "format.hpp"

#include "crc.hpp"
#include "endian.hpp"
#include "structures.hpp"

#include <algorithm>
#include <cstring>
#include <sys/stat.h>
#include <vector>

namespace rzcfs {

namespace {

template <class T> std::span<const std::byte> bytes_of(const T &object) {
    return std::as_bytes(std::span(&object, 1));
}

// Sets bits [from, from + n) of a bitmap that has only zeroes otherwise.
void write_bits(medium &m, const region &r, std::span<const region> set) {
    // block by block: a bitmap of a large medium is large
    for (std::uint64_t b = 0; b < r.blocks; b++) {
        std::uint64_t first = b * RZCFS_BITS_PER_BLOCK;
        std::vector<std::byte> block(block_size);

        for (const region &s : set) {
            std::uint64_t from = std::max(s.start, first);
            std::uint64_t to = std::min<std::uint64_t>(s.end(), first + RZCFS_BITS_PER_BLOCK);

            for (std::uint64_t bit = from; bit < to; bit++)
                block[(bit - first) / 8] |= std::byte(1 << (bit - first) % 8);
        }
        m.write((r.start + b) * block_size, block);
    }
}

} // namespace

contents look(const medium &m) {
    std::vector<std::byte> head(std::min<std::uint64_t>(m.bytes(), 128 << 10));
    std::uint32_t magic;

    m.read(0, head);
    if (head.size() < sizeof(rzcfs_super_block))
        return contents::other;
    std::memcpy(&magic, head.data(), sizeof(magic));
    if (le(magic) == RZCFS_MAGIC)
        return contents::rzcfs;
    for (std::byte b : head)
        if (b != std::byte(0))
            return contents::other;
    return contents::blank;
}

std::string foreign_name(const medium &m) {
    struct signature {
        const char *name;
        std::uint64_t offset;
        std::string_view bytes;
    };
    using namespace std::string_view_literals;
    static constexpr signature known[] = {
        {"ext2, ext3 or ext4", 1080, "\x53\xef"sv},
        {"XFS", 0, "XFSB"sv},
        {"Btrfs", 65600, "_BHRfS_M"sv},
        {"F2FS", 1024, "\x10\x20\xf5\xf2"sv},
        {"EROFS", 1024, "\xe2\xe1\xf5\xe0"sv},
        {"swap", 4086, "SWAPSPACE2"sv},
        {"LUKS", 0, "LUKS\xba\xbe"sv},
        {"GPT", 512, "EFI PART"sv},
        {"FAT or a partition table", 510, "\x55\xaa"sv},
    };

    for (const signature &s : known) {
        std::vector<std::byte> found(s.bytes.size());

        if (s.offset + s.bytes.size() > m.bytes())
            continue;
        m.read(s.offset, found);
        if (!std::memcmp(found.data(), s.bytes.data(), s.bytes.size()))
            return s.name;
    }
    return "something";
}

rzcfs_super_block make_super(const layout &l, const format_options &o) {
    rzcfs_super_block sb{};

    if (o.label.size() > sizeof(sb.s_label))
        throw error("the label is longer than 64 bytes");
    put(sb.s_magic, RZCFS_MAGIC);
    put(sb.s_version, RZCFS_VERSION);
    put(sb.s_block_size, RZCFS_BLOCK_SIZE);
    put(sb.s_inode_size, RZCFS_INODE_SIZE);
    std::copy(o.id.begin(), o.id.end(), sb.s_uuid);
    std::copy(o.label.begin(), o.label.end(), sb.s_label);
    std::copy(o.hash_key.begin(), o.hash_key.end(), sb.s_hash_key);
    put(sb.s_mkfs_time, o.time_ns / 1000000000);
    put(sb.s_block_count, l.blocks);
    put(sb.s_inode_count, l.inodes);
    put(sb.s_journal_start, l.journal.start);
    put(sb.s_journal_blocks, l.journal.blocks);
    put(sb.s_prestore_start, l.prestore.start);
    put(sb.s_prestore_blocks, l.prestore.blocks);
    put(sb.s_ibitmap_start, l.ibitmap.start);
    put(sb.s_ibitmap_blocks, l.ibitmap.blocks);
    put(sb.s_itable_start, l.itable.start);
    put(sb.s_itable_blocks, l.itable.blocks);
    put(sb.s_bbitmap_start, l.bbitmap.start);
    put(sb.s_bbitmap_blocks, l.bbitmap.blocks);
    put(sb.s_pool_start, l.pool.start);
    put(sb.s_pool_blocks, l.pool.blocks);
    put(sb.s_data_start, l.data.start);
    put(sb.s_data_blocks, l.data.blocks);
    seal(sb);
    return sb;
}

rzcfs_inode make_root(const format_options &o) {
    rzcfs_inode root{};

    put(root.i_ino, RZCFS_ROOT_INO);
    put(root.i_generation, o.root_generation);
    put(root.i_mode, S_IFDIR | o.mode);
    put(root.i_uid, o.uid);
    put(root.i_gid, o.gid);
    put(root.i_nlink, 2);
    put(root.i_version, 1);
    put(root.i_atime, o.time_ns);
    put(root.i_mtime, o.time_ns);
    put(root.i_ctime, o.time_ns);
    put(root.i_btime, o.time_ns);
    put(root.i_parent, RZCFS_ROOT_INO);
    seal(root);
    return root;
}

void format(medium &m, const layout &l, const format_options &o) {
    const rzcfs_super_block sb = make_super(l, o);

    // from here to the end there is no file system
    m.zero(0, block_size);
    m.zero((l.blocks - 1) * block_size, block_size);
    m.sync();

    m.zero(l.journal.start * block_size, l.journal.blocks * block_size);
    m.zero(l.prestore.start * block_size, l.prestore.blocks * block_size);
    const region used_inodes[] = {{0, RZCFS_ROOT_INO + 1}};
    write_bits(m, l.ibitmap, used_inodes);
    const region used_blocks[] = {{0, l.data.start}, {l.blocks - 1, 1}};
    write_bits(m, l.bbitmap, used_blocks);
    const rzcfs_inode root = make_root(o);
    m.zero(l.itable.start * block_size, block_size);
    m.write(l.itable.start * block_size + RZCFS_ROOT_INO * RZCFS_INODE_SIZE, bytes_of(root));

    rzcfs_state state{};
    for (unsigned i = 0; i < RZCFS_STATE_WORDS; i++) {
        std::uint64_t value = 0;

        if (i == RZCFS_STATE_FLAGS)
            value = RZCFS_STATE_CLEAN;
        else if (i == RZCFS_STATE_JOURNAL_GEN)
            value = 1;
        put(state.word[i], state_word(i, value));
    }
    m.write(RZCFS_STATE_OFFSET, bytes_of(state));
    m.write((l.blocks - 1) * block_size, bytes_of(sb));
    m.sync();
    m.write(0, bytes_of(sb));
    m.sync();
}

} // namespace rzcfs
