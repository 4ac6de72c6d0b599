// SPDX-License-Identifier: GPL-2.0
// A block device or an image file.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

namespace rzcfs {

class medium {
  public:
    enum class access { read, write };

    // Opens what is there; with create_bytes, an image file is created or
    // extended to that size first.
    medium(std::string path, access mode, std::optional<std::uint64_t> create_bytes = {});
    ~medium();
    medium(const medium &) = delete;
    medium &operator=(const medium &) = delete;

    std::uint64_t bytes() const { return size_; }
    bool is_device() const { return device_; }
    // Where it is mounted, or used by something else.
    std::optional<std::string> in_use() const;

    void read(std::uint64_t offset, std::span<std::byte> to) const;
    void write(std::uint64_t offset, std::span<const std::byte> from);
    void zero(std::uint64_t offset, std::uint64_t length);
    void sync();

  private:
    std::string path_;
    int fd_ = -1;
    std::uint64_t size_ = 0;
    bool device_ = false;
    bool busy_ = false;
    std::uint64_t rdev_ = 0;
};

} // namespace rzcfs
