// SPDX-License-Identifier: GPL-2.0
// Numbers of the medium, which are little-endian.
#pragma once

#include <bit>
#include <concepts>

namespace rzcfs {

template <std::unsigned_integral T> constexpr T le(T v) {
    if constexpr (std::endian::native == std::endian::little || sizeof(T) == 1) {
        return v;
    } else {
        T r = 0;

        for (unsigned i = 0; i < sizeof(T); i++)
            r = static_cast<T>(r << 8 | ((v >> 8 * i) & 0xff));
        return r;
    }
}

template <class T> constexpr T get(const T &field) { return le(field); }

template <class T, class V> constexpr void put(T &field, V value) {
    field = le(static_cast<T>(value));
}

} // namespace rzcfs
