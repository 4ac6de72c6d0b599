// SPDX-License-Identifier: GPL-2.0
#include "crc32c.hpp"

#include <array>

namespace rzcfs {

namespace {

constexpr std::uint32_t polynomial = 0x82f63b78; // reflected

constexpr auto table = [] {
    std::array<std::uint32_t, 256> t{};

    for (std::uint32_t i = 0; i < t.size(); i++) {
        std::uint32_t c = i;

        for (int bit = 0; bit < 8; bit++)
            c = c & 1 ? c >> 1 ^ polynomial : c >> 1;
        t[i] = c;
    }
    return t;
}();

} // namespace

std::uint32_t crc32c(std::span<const std::byte> bytes) {
    std::uint32_t c = ~0u;

    for (std::byte b : bytes)
        c = c >> 8 ^ table[(c ^ std::to_integer<std::uint32_t>(b)) & 0xff];
    return ~c;
}

} // namespace rzcfs
