// SPDX-License-Identifier: GPL-2.0
#include "structures.hpp"

#include "crc.hpp"
#include "siphash.hpp"

#include <algorithm>
#include <bit>
#include <fmt/format.h>
#include <sys/stat.h>

namespace rzcfs {

namespace {

constexpr std::uint64_t div_up(std::uint64_t n, std::uint64_t d) { return (n + d - 1) / d; }

template <class T> std::span<const std::byte> bytes_of(const T &object) {
    return std::as_bytes(std::span(&object, 1));
}

// what is wrong with the regions of a superblock, or nullptr
const char *geometry_fault(const rzcfs_super_block &sb) {
    layout l = layout_of(sb);
    std::uint64_t at = 1;

    if (l.blocks < RZCFS_MIN_BLOCKS || l.blocks > RZCFS_MAX_BLOCKS)
        return "has a bad number of blocks";
    if (l.inodes < RZCFS_MIN_INODES || l.inodes > RZCFS_MAX_INODES)
        return "has a bad number of inodes";
    for (const named_region &r : regions(l)) {
        if (r.where.start < at || r.where.start >= l.blocks ||
            r.where.blocks > l.blocks - 1 - r.where.start)
            return "has overlapping regions";
        at = r.where.end();
    }
    if (l.journal.blocks < RZCFS_MIN_JOURNAL || l.journal.blocks > RZCFS_MAX_JOURNAL ||
        !l.prestore.blocks || l.prestore.blocks > RZCFS_MAX_JOURNAL ||
        l.ibitmap.blocks < div_up(l.inodes, RZCFS_BITS_PER_BLOCK) ||
        l.itable.blocks < div_up(l.inodes, RZCFS_INODES_PER_BLOCK) ||
        l.bbitmap.blocks < div_up(l.blocks, RZCFS_BITS_PER_BLOCK) || !l.data.blocks)
        return "has a region of a bad size";
    return nullptr;
}

} // namespace

super_verdict judge(const rzcfs_super_block &sb, std::uint64_t medium_blocks) {
    if (get(sb.s_magic) != RZCFS_MAGIC)
        return {super_state::foreign, "has no rzcfs in it"};
    if (get(sb.s_checksum) != crc32c_before(sb, offsetof(rzcfs_super_block, s_checksum)))
        return {super_state::damaged, "has a bad checksum"};
    if (get(sb.s_version) != RZCFS_VERSION)
        return {super_state::unknown, fmt::format("is of version {}", get(sb.s_version))};
    if (get(sb.s_feature_incompat) & ~RZCFS_FEATURE_INCOMPAT_KNOWN)
        return {super_state::unknown,
                fmt::format("has unknown features (incompat {:#x})", get(sb.s_feature_incompat))};
    if (get(sb.s_feature_ro_compat) & ~RZCFS_FEATURE_RO_COMPAT_KNOWN)
        return {super_state::unknown,
                fmt::format("has unknown features (ro_compat {:#x})", get(sb.s_feature_ro_compat))};
    if (get(sb.s_block_size) != RZCFS_BLOCK_SIZE || get(sb.s_inode_size) != RZCFS_INODE_SIZE)
        return {super_state::unknown, "has other sizes of blocks or inodes"};
    if (const char *fault = geometry_fault(sb))
        return {super_state::damaged, fault};
    if (get(sb.s_block_count) > medium_blocks)
        return {super_state::unknown,
                fmt::format("is of a file system of {} blocks, and the medium has {}",
                            get(sb.s_block_count), medium_blocks)};
    return {super_state::good, {}};
}

layout layout_of(const rzcfs_super_block &sb) {
    return {
        .blocks = get(sb.s_block_count),
        .inodes = get(sb.s_inode_count),
        .journal = {get(sb.s_journal_start), get(sb.s_journal_blocks)},
        .prestore = {get(sb.s_prestore_start), get(sb.s_prestore_blocks)},
        .ibitmap = {get(sb.s_ibitmap_start), get(sb.s_ibitmap_blocks)},
        .itable = {get(sb.s_itable_start), get(sb.s_itable_blocks)},
        .bbitmap = {get(sb.s_bbitmap_start), get(sb.s_bbitmap_blocks)},
        .pool = {get(sb.s_pool_start), get(sb.s_pool_blocks)},
        .data = {get(sb.s_data_start), get(sb.s_data_blocks)},
    };
}

void seal(rzcfs_super_block &sb) {
    put(sb.s_checksum, crc32c_before(sb, offsetof(rzcfs_super_block, s_checksum)));
}

hash_key key_of(const rzcfs_super_block &sb) {
    hash_key key;

    std::copy(std::begin(sb.s_hash_key), std::end(sb.s_hash_key), key.begin());
    return key;
}

std::string label_of(const rzcfs_super_block &sb) {
    return {std::begin(sb.s_label), std::find(std::begin(sb.s_label), std::end(sb.s_label), 0)};
}

std::uint64_t state_word(unsigned index, std::uint64_t value) {
    const std::uint64_t seed[2] = {le(std::uint64_t(index)), le(value)};

    return value | std::uint64_t(crc32c(std::as_bytes(std::span(seed))) & 0xffff)
                       << RZCFS_STATE_VALUE_BITS;
}

std::optional<std::uint64_t> state_value(unsigned index, std::uint64_t word) {
    std::uint64_t value = word & RZCFS_STATE_VALUE_MASK;

    if (state_word(index, value) != word)
        return std::nullopt;
    return value;
}

std::uint32_t undo_checksum(std::uint64_t generation, const rzcfs_undo &head,
                            std::span<const std::byte> bytes) {
    const std::uint64_t seed = le(generation);

    return crc32({bytes_of(seed), bytes_of(head).first(offsetof(rzcfs_undo, u_checksum)), bytes});
}

void apply_pad(std::span<std::byte> records, const hash_key &key, std::uint64_t generation) {
    const std::uint64_t seed = le(generation), pad = le(siphash(key, bytes_of(seed)));
    auto mask = bytes_of(pad);

    for (std::size_t i = 0; i < records.size(); i++)
        records[i] ^= mask[i % mask.size()];
}

std::uint32_t swap_checksum(const rzcfs_swap &w) {
    return crc32({bytes_of(w).first(offsetof(rzcfs_swap, w_checksum))});
}

std::uint32_t prestore_checksum(const rzcfs_prestore &p) {
    const std::uint64_t seed = 0;

    return crc32({bytes_of(seed), bytes_of(p).first(offsetof(rzcfs_prestore, p_checksum)),
                  bytes_of(p.p_data)});
}

void seal(rzcfs_inode &raw) {
    put(raw.i_checksum, crc32c_before(raw, offsetof(rzcfs_inode, i_checksum)));
}

bool sealed(const rzcfs_inode &raw) {
    return get(raw.i_checksum) == crc32c_before(raw, offsetof(rzcfs_inode, i_checksum));
}

const char *type_name(unsigned mode) {
    switch (mode & S_IFMT) {
    case S_IFREG:
        return "file";
    case S_IFDIR:
        return "directory";
    case S_IFLNK:
        return "symbolic link";
    case S_IFCHR:
        return "character device";
    case S_IFBLK:
        return "block device";
    case S_IFIFO:
        return "FIFO";
    case S_IFSOCK:
        return "socket";
    default:
        return "unknown";
    }
}

bool known_type(unsigned mode) { return *type_name(mode) != 'u'; }

unsigned dirent_type(unsigned mode) { return (mode & S_IFMT) >> 12; }

const char *inode_fault(const layout &l, const rzcfs_inode &raw, std::uint64_t ino) {
    std::uint64_t map = get(raw.i_map), size = get(raw.i_size);

    if (get(raw.i_ino) != ino)
        return "bad number";
    if (get(raw.i_flags) & ~static_cast<std::uint32_t>(RZCFS_FL_KNOWN))
        return "unknown flags";
    if (map_height(map) > RZCFS_MAP_MAX_HEIGHT || (map_block(map) && !l.data.has(map_block(map))))
        return "bad block map";
    if (get(raw.i_blocks) > l.data.blocks)
        return "bad number of blocks";
    switch (get(raw.i_mode) & S_IFMT) {
    case S_IFREG:
        if (size > RZCFS_MAX_FILE_BLOCKS * block_size)
            return "bad size";
        break;
    case S_IFDIR:
        if (raw.i_dir_depth > RZCFS_DIR_MAX_DEPTH || !get(raw.i_parent) ||
            get(raw.i_parent) >= l.inodes)
            return "bad directory";
        break;
    case S_IFLNK:
        if (!size || size >= block_size)
            return "bad size of symbolic link";
        break;
    case S_IFCHR:
    case S_IFBLK:
    case S_IFIFO:
    case S_IFSOCK:
        if (map)
            return "bad block map";
        break;
    default:
        return "bad type";
    }
    return nullptr;
}

unsigned level_of(std::uint64_t fblk) {
    return static_cast<unsigned>(std::bit_width(fblk + 1)) - 1;
}

bool in_its_bucket(std::uint32_t hash, std::uint64_t fblk, std::uint32_t offset) {
    return dir_block_of(hash, level_of(fblk)) == fblk &&
           bucket_of(hash) / RZCFS_BUCKET_SIZE == offset / RZCFS_BUCKET_SIZE;
}

std::uint32_t name_hash(const hash_key &key, std::string_view name) {
    return static_cast<std::uint32_t>(siphash(key, std::as_bytes(std::span(name))));
}

std::string printable(std::string_view name) {
    std::string r;

    for (char c : name)
        r += static_cast<unsigned char>(c) < 0x20 || c == 0x7f
                 ? fmt::format("\\x{:02x}", static_cast<unsigned char>(c))
                 : std::string(1, c);
    return r;
}

bool valid_name(std::string_view name) {
    return !name.empty() && name.size() <= RZCFS_NAME_LEN && name != "." && name != ".." &&
           name.find('/') == name.npos && name.find('\0') == name.npos;
}

} // namespace rzcfs
