// SPDX-License-Identifier: GPL-2.0
#include "siphash.hpp"

#include <bit>

namespace rzcfs {

namespace {

struct state {
    std::uint64_t a, b, c, d;

    void round() {
        a += b;
        b = std::rotl(b, 13) ^ a;
        a = std::rotl(a, 32);
        c += d;
        d = std::rotl(d, 16) ^ c;
        a += d;
        d = std::rotl(d, 21) ^ a;
        c += b;
        b = std::rotl(b, 17) ^ c;
        c = std::rotl(c, 32);
    }
    void word(std::uint64_t w) {
        d ^= w;
        round();
        round();
        a ^= w;
    }
};

template <class T> std::uint64_t little(std::span<const T> bytes) {
    std::uint64_t w = 0;

    for (std::size_t i = bytes.size(); i--;)
        w = w << 8 | static_cast<std::uint64_t>(bytes[i]);
    return w;
}

} // namespace

std::uint64_t siphash(std::span<const std::uint8_t, 16> key, std::span<const std::byte> bytes) {
    std::uint64_t k0 = little<std::uint8_t>(key.first(8)), k1 = little<std::uint8_t>(key.last(8));
    state s{k0 ^ 0x736f6d6570736575, k1 ^ 0x646f72616e646f6d, k0 ^ 0x6c7967656e657261,
            k1 ^ 0x7465646279746573};
    std::uint64_t length = bytes.size();

    for (; bytes.size() >= 8; bytes = bytes.subspan(8))
        s.word(little(bytes.first(8)));
    s.word(length << 56 | little(bytes));
    s.c ^= 0xff;
    for (int i = 0; i < 4; i++)
        s.round();
    return s.a ^ s.b ^ s.c ^ s.d;
}

} // namespace rzcfs
