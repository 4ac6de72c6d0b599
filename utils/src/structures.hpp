// SPDX-License-Identifier: GPL-2.0
// What the structures of the medium must look like; one place for mkfs, fsck
// and dumpfs. The rules are those of the kernel.
#pragma once

#include "endian.hpp"
#include "layout.hpp"

#include <array>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace rzcfs {

using hash_key = std::array<std::uint8_t, 16>;

// Superblock

enum class super_state {
    good,
    foreign, // no magic
    damaged,
    unknown, // whole, but of a later version: not to be touched
};

struct super_verdict {
    super_state state;
    std::string what;
};

super_verdict judge(const rzcfs_super_block &sb, std::uint64_t medium_blocks);
layout layout_of(const rzcfs_super_block &sb);
void seal(rzcfs_super_block &sb);
hash_key key_of(const rzcfs_super_block &sb);
std::string label_of(const rzcfs_super_block &sb);

// Words of the changing state

std::uint64_t state_word(unsigned index, std::uint64_t value);
std::optional<std::uint64_t> state_value(unsigned index, std::uint64_t word);
constexpr std::uint64_t state_offset(unsigned index) {
    return RZCFS_STATE_OFFSET + index * sizeof(std::uint64_t);
}

// Journal and pre-store records

std::uint32_t undo_checksum(std::uint64_t generation, const rzcfs_undo &head,
                            std::span<const std::byte> bytes);
// Undo records of a generation as they lie in the journal, and back: XORed with its pad. The
// bytes start at a multiple of 8 on the medium.
void apply_pad(std::span<std::byte> records, const hash_key &key, std::uint64_t generation);
std::uint32_t swap_checksum(const rzcfs_swap &w);
std::uint32_t prestore_checksum(const rzcfs_prestore &p);

// Inodes

constexpr std::uint64_t inode_offset(const layout &l, std::uint64_t ino) {
    return l.itable.start * block_size + ino * RZCFS_INODE_SIZE;
}
constexpr std::uint64_t map_block(std::uint64_t word) { return word & RZCFS_MAP_BLOCK_MASK; }
constexpr unsigned map_height(std::uint64_t word) {
    return static_cast<unsigned>(word >> RZCFS_MAP_HEIGHT_SHIFT);
}
// blocks that a tree covers
constexpr std::uint64_t map_span(unsigned height) { return 1ull << RZCFS_MAP_SHIFT * height; }

void seal(rzcfs_inode &raw);
bool sealed(const rzcfs_inode &raw);
bool known_type(unsigned mode);
const char *type_name(unsigned mode);
unsigned dirent_type(unsigned mode); // DT_*
// what the kernel would refuse beside the checksum, or nullptr
const char *inode_fault(const layout &l, const rzcfs_inode &raw, std::uint64_t ino);

// Directories

constexpr std::uint64_t max_dir_blocks = (1ull << RZCFS_DIR_MAX_DEPTH) - 1;
// the block of a directory that may hold a name at a level
constexpr std::uint64_t dir_block_of(std::uint32_t hash, unsigned level) {
    return (1ull << level) - 1 + (hash & ((1ull << level) - 1));
}
// where its bucket starts in each of those blocks
constexpr std::uint32_t bucket_of(std::uint32_t hash) {
    return static_cast<std::uint32_t>(std::uint64_t(hash) * RZCFS_BUCKETS_PER_BLOCK >> 32) *
           RZCFS_BUCKET_SIZE;
}
unsigned level_of(std::uint64_t fblk);
// can a look-up find a name with this hash at this place of a directory?
bool in_its_bucket(std::uint32_t hash, std::uint64_t fblk, std::uint32_t offset);
std::uint32_t name_hash(const hash_key &key, std::string_view name);
// names that the kernel can look up
bool valid_name(std::string_view name);
// a name or a label as a terminal may be given it
std::string printable(std::string_view name);
constexpr std::uint32_t entry_size(std::size_t name_length) {
    return static_cast<std::uint32_t>((RZCFS_DIRENT_HEAD + name_length + 7) / 8 * 8);
}

} // namespace rzcfs
