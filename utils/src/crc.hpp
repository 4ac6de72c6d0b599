// SPDX-License-Identifier: GPL-2.0
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>

namespace rzcfs {

// CRC-32C (Castagnoli): superblock, inodes, state words, extended attributes.
std::uint32_t crc32c(std::span<const std::byte> bytes);

template <class T> std::uint32_t crc32c_before(const T &object, std::size_t length) {
    return crc32c(std::as_bytes(std::span(&object, 1)).first(length));
}

// Which single bit of `length` bytes, if wrong, makes the difference of two
// CRC-32Cs; counted from the first byte, lowest bit first.
std::optional<std::size_t> crc32c_bit_error(std::uint32_t difference, std::size_t length);

// CRC-32 as of zlib over all parts in turn: records of the journal and of the
// pre-store region.
std::uint32_t crc32(std::initializer_list<std::span<const std::byte>> parts);

} // namespace rzcfs
