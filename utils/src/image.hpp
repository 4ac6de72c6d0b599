// SPDX-License-Identifier: GPL-2.0
// A medium, and changes to it that are kept in memory until they are written
// all together, or dropped.
#pragma once

#include "layout.hpp"
#include "medium.hpp"

#include <array>
#include <cstring>
#include <map>
#include <type_traits>

namespace rzcfs {

using block = std::array<std::byte, block_size>;

// An object at an offset in a block.
template <class T> T object_at(const block &b, std::size_t offset) {
    static_assert(std::is_trivially_copyable_v<T>);
    T object;

    std::memcpy(&object, b.data() + offset, sizeof(object));
    return object;
}

template <class T> void set_object_at(block &b, std::size_t offset, const T &object) {
    static_assert(std::is_trivially_copyable_v<T>);
    std::memcpy(b.data() + offset, &object, sizeof(object));
}

class image {
  public:
    explicit image(medium &m) : medium_(m) {}

    std::uint64_t blocks() const { return medium_.bytes() / block_size; }
    const block &read(std::uint64_t n) const; // good until the next call
    void write(std::uint64_t n, const block &b);
    // objects that lie within one block
    template <class T> T load(std::uint64_t offset) const {
        return object_at<T>(read(offset / block_size), offset % block_size);
    }
    template <class T> void store(std::uint64_t offset, const T &object) {
        block b = read(offset / block_size);

        set_object_at(b, offset % block_size, object);
        write(offset / block_size, b);
    }

    // Have a block written even if it is what the medium has.
    void touch(std::uint64_t n) { changed_.try_emplace(n, block(read(n))); }

    // Block 0 last: it holds the superblock and the state.
    void write_back();

  private:
    medium &medium_;
    std::map<std::uint64_t, block> changed_;
    mutable std::uint64_t seen_at_ = ~0ull;
    mutable block seen_;
};

} // namespace rzcfs
