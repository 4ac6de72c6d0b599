// SPDX-License-Identifier: GPL-2.0
#include "crc.hpp"

#include <array>

namespace rzcfs {

namespace {

using table = std::array<std::uint32_t, 256>;

// of a reflected polynomial
constexpr table make_table(std::uint32_t polynomial) {
    table t{};

    for (std::uint32_t i = 0; i < t.size(); i++) {
        std::uint32_t c = i;

        for (int bit = 0; bit < 8; bit++)
            c = c & 1 ? c >> 1 ^ polynomial : c >> 1;
        t[i] = c;
    }
    return t;
}

constexpr table castagnoli = make_table(0x82f63b78);
constexpr table zlib = make_table(0xedb88320);

std::uint32_t go_on(const table &t, std::uint32_t c, std::span<const std::byte> bytes) {
    for (std::byte b : bytes)
        c = c >> 8 ^ t[(c ^ std::to_integer<std::uint32_t>(b)) & 0xff];
    return c;
}

} // namespace

std::uint32_t crc32c(std::span<const std::byte> bytes) { return ~go_on(castagnoli, ~0u, bytes); }

std::optional<std::size_t> crc32c_bit_error(std::uint32_t difference, std::size_t length) {
    std::array<std::uint32_t, 8> effect; // of each bit of the byte at hand

    for (unsigned bit = 0; bit < 8; bit++)
        effect[bit] = castagnoli[1u << bit];
    for (std::size_t at = length; at--;) {
        for (unsigned bit = 0; bit < 8; bit++) {
            if (effect[bit] == difference)
                return at * 8 + bit;
            effect[bit] = effect[bit] >> 8 ^ castagnoli[effect[bit] & 0xff];
        }
    }
    return std::nullopt;
}

std::uint32_t crc32(std::initializer_list<std::span<const std::byte>> parts) {
    std::uint32_t c = ~0u;

    for (auto part : parts)
        c = go_on(zlib, c, part);
    return ~c;
}

} // namespace rzcfs
