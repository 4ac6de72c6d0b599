// SPDX-License-Identifier: GPL-2.0
#pragma once

#include <cstdint>
#include <span>

namespace rzcfs {

// CRC-32C (Castagnoli), as of every checksum on the medium.
std::uint32_t crc32c(std::span<const std::byte> bytes);

template <class T> std::uint32_t crc32c_before(const T &object, std::size_t length) {
    return crc32c(std::as_bytes(std::span(&object, 1)).first(length));
}

} // namespace rzcfs
