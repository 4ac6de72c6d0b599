// SPDX-License-Identifier: GPL-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace rzcfs {

// SipHash-2-4 under a key of 16 bytes.
std::uint64_t siphash(std::span<const std::uint8_t, 16> key, std::span<const std::byte> bytes);

} // namespace rzcfs
