// SPDX-License-Identifier: GPL-2.0
#include "medium.hpp"

#include "layout.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <fstream>
#include <linux/fs.h>
#include <sstream>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include <vector>

namespace rzcfs {

namespace {

[[noreturn]] void fail(const std::string &path, const char *what) {
    throw error(fmt::format("{}: {}: {}", path, what, std::strerror(errno)));
}

} // namespace

medium::medium(std::string path, access mode, std::optional<std::uint64_t> create_bytes)
    : path_(std::move(path)) {
    struct stat st;
    int flags = (mode == access::write ? O_RDWR : O_RDONLY) | O_CLOEXEC;
    bool exists = stat(path_.c_str(), &st) == 0;

    device_ = exists && S_ISBLK(st.st_mode);
    if (exists && !device_ && !S_ISREG(st.st_mode))
        throw error(fmt::format("{}: neither a block device nor a file", path_));
    if (device_) {
        // a mounted device refuses to be opened exclusively
        fd_ = open(path_.c_str(), flags | O_EXCL);
        if (fd_ < 0 && errno == EBUSY) {
            busy_ = true;
            fd_ = open(path_.c_str(), flags);
        }
    } else {
        fd_ = open(path_.c_str(), create_bytes ? flags | O_CREAT : flags, 0644);
    }
    if (fd_ < 0)
        fail(path_, "cannot open");
    if (fstat(fd_, &st))
        fail(path_, "cannot stat");
    rdev_ = st.st_rdev;
    if (device_) {
        if (ioctl(fd_, BLKGETSIZE64, &size_))
            fail(path_, "cannot get the size");
    } else {
        size_ = static_cast<std::uint64_t>(st.st_size);
        if (create_bytes && size_ < *create_bytes) {
            if (ftruncate(fd_, static_cast<off_t>(*create_bytes)))
                fail(path_, "cannot extend");
            size_ = *create_bytes;
        }
    }
}

medium::~medium() {
    if (fd_ >= 0)
        close(fd_);
}

std::optional<std::string> medium::in_use() const {
    if (!device_)
        return std::nullopt;

    std::string id = fmt::format("{}:{}", major(rdev_), minor(rdev_));
    std::ifstream mounts("/proc/self/mountinfo");

    for (std::string line; std::getline(mounts, line);) {
        std::istringstream fields(line);
        std::string number, parent, dev, root, where;

        fields >> number >> parent >> dev >> root >> where;
        if (dev == id)
            return fmt::format("mounted at {}", where);
    }
    if (busy_)
        return "in use";
    return std::nullopt;
}

void medium::read(std::uint64_t offset, std::span<std::byte> to) const {
    while (!to.empty()) {
        ssize_t n = pread(fd_, to.data(), to.size(), static_cast<off_t>(offset));

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            fail(path_, "cannot read");
        if (!n)
            throw error(fmt::format("{}: ends at {}", path_, offset));
        to = to.subspan(static_cast<std::size_t>(n));
        offset += static_cast<std::uint64_t>(n);
    }
}

void medium::write(std::uint64_t offset, std::span<const std::byte> from) {
    while (!from.empty()) {
        ssize_t n = pwrite(fd_, from.data(), from.size(), static_cast<off_t>(offset));

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            fail(path_, "cannot write");
        from = from.subspan(static_cast<std::size_t>(n));
        offset += static_cast<std::uint64_t>(n);
    }
}

void medium::zero(std::uint64_t offset, std::uint64_t length) {
    static const std::vector<std::byte> zeros(1 << 20);

    while (length) {
        std::uint64_t n = std::min<std::uint64_t>(length, zeros.size());

        write(offset, std::span(zeros).first(n));
        offset += n;
        length -= n;
    }
}

void medium::sync() {
    if (fsync(fd_))
        fail(path_, "cannot write back");
}

} // namespace rzcfs
