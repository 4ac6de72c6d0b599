// SPDX-License-Identifier: GPL-2.0
//
// The cost of operations on files of one directory, in nanoseconds of the board's
// clock; under QEMU's -icount that clock counts instructions (bench/instructions).
// Each figure is the mean over many operations and the syncfs(2) at their end, so
// that what a file system puts off is counted too. One line of JSON.
#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <functional>
#include <random>
#include <string>
#include <system_error>
#include <vector>

#include <cerrno>
#include <cstdint>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

using nlohmann::json;

namespace {

constexpr size_t block = 4096;

void must(bool good, const std::string &what) {
    if (!good)
        throw std::system_error(errno, std::generic_category(), what);
}

class Bench {
  public:
    explicit Bench(std::string directory) : place(std::move(directory)) {
        root = open(place.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        must(root >= 0, "open " + place);
    }
    ~Bench() { close(root); }
    Bench(const Bench &) = delete;
    Bench &operator=(const Bench &) = delete;

    // Nanoseconds per call of `operation`, with what it leaves to be done.
    double cost(size_t count, const std::function<void(size_t)> &operation) const {
        must(!syncfs(root), "syncfs");
        const auto start = std::chrono::steady_clock::now();
        for (size_t i = 0; i < count; i++)
            operation(i);
        must(!syncfs(root), "syncfs");
        const std::chrono::duration<double, std::nano> taken =
            std::chrono::steady_clock::now() - start;
        return taken.count() / static_cast<double>(count);
    }

    // Names and inodes leave memory; those that are needed come from the medium.
    void forget() const {
        must(!syncfs(root), "syncfs");
        std::ofstream("/proc/sys/vm/drop_caches") << "3" << std::flush;
    }

    std::string path(const std::string &name) const { return place + "/" + name; }

    // Files without contents: made, found again, removed.
    json names(size_t size, size_t count) {
        const std::string directory = path("names");
        must(!mkdir(directory.c_str(), 0755), "mkdir");
        const auto name = [&](size_t i) { return fmt::format("{}/file-{}", directory, i); };
        const auto create = [&](size_t i) {
            const int fd = open(name(i).c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
            must(fd >= 0, "create");
            close(fd);
        };
        for (size_t i = 0; i < size; i++)
            create(i);
        json result;
        result["create"] = cost(count, [&](size_t i) { create(size + i); });
        forget();
        std::vector<size_t> order(size + count);
        for (size_t i = 0; i < order.size(); i++)
            order[i] = i;
        std::shuffle(order.begin(), order.end(), random);
        struct stat st {};
        must(!stat(directory.c_str(), &st), "stat");
        result["lookup"] =
            cost(count, [&](size_t i) { must(!stat(name(order[i]).c_str(), &st), "stat"); });
        result["unlink"] =
            cost(count, [&](size_t i) { must(!unlink(name(order[i]).c_str()), "unlink"); });
        for (size_t i = count; i < order.size(); i++)
            must(!unlink(name(order[i]).c_str()), "unlink");
        must(!rmdir(directory.c_str()), "rmdir");
        return result;
    }

    // One file of `size` bytes: grows block by block, is written and read at random.
    json contents(size_t size, size_t count) {
        const std::string name = path("contents");
        const int fd = open(name.c_str(), O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0644);
        must(fd >= 0, "create");
        const std::vector<char> large(1 << 20, 'x');
        for (size_t at = 0; at < size; at += large.size())
            must(pwrite(fd, large.data(), std::min(large.size(), size - at),
                        static_cast<off_t>(at)) > 0,
                 "write");
        std::vector<char> small(block, 'y');
        const auto anywhere = [&] { return static_cast<off_t>(random() % (size / block) * block); };
        json result;
        result["overwrite"] = cost(count, [&](size_t) {
            must(pwrite(fd, small.data(), block, anywhere()) == block, "write");
        });
        result["overwrite_100"] = cost(count, [&](size_t) {
            must(pwrite(fd, small.data(), 100, anywhere() + 500) == 100, "write");
        });
        result["read"] = cost(count, [&](size_t) {
            must(pread(fd, small.data(), block, anywhere()) == block, "read");
        });
        result["append"] = append(fd, size, block, count);
        result["append_100"] = append(fd, size + count * block, 100, count);
        close(fd);
        must(!unlink(name.c_str()), "unlink");
        return result;
    }

    // Fills the file system to a part of its blocks, then grows a file.
    json fill(double part, size_t count) {
        const std::string name = path("fill");
        const int fd = open(name.c_str(), O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0644);
        must(fd >= 0, "create");
        const std::vector<char> large(1 << 20, 'z');
        for (;;) {
            struct statvfs st {};
            must(!fstatvfs(root, &st), "statvfs");
            if (static_cast<double>(st.f_bfree) <
                (1 - part) * static_cast<double>(st.f_blocks) + 512)
                break;
            must(write(fd, large.data(), large.size()) > 0, "write");
        }
        close(fd);
        const std::string other = path("grows");
        const int out = open(other.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
        must(out >= 0, "create");
        json result;
        result["append"] = append(out, 0, block, count);
        close(out);
        must(!unlink(other.c_str()), "unlink");
        return result;
    }

  private:
    double append(int fd, size_t from, size_t n, size_t count) const {
        const std::vector<char> bytes(n, 'a');
        return cost(count, [&](size_t i) {
            must(pwrite(fd, bytes.data(), n, static_cast<off_t>(from + i * n)) ==
                     static_cast<ssize_t>(n),
                 "append");
        });
    }

    std::string place;
    int root = -1;
    std::mt19937_64 random{1};
};

} // namespace

int main(int argc, char **argv) {
    CLI::App app{"Cost of operations on files"};
    std::string directory;
    size_t size = 0, count = 1000;
    double part = 0;
    app.require_subcommand(1);
    app.add_option("--count", count, "Operations of each kind")->capture_default_str();
    auto *names = app.add_subcommand("names", "In a directory of SIZE names");
    auto *contents = app.add_subcommand("contents", "In a file of SIZE bytes");
    auto *fill = app.add_subcommand("fill", "On a file system filled to a PART");
    for (auto *command : {names, contents, fill})
        command->add_option("dir", directory)->required();
    names->add_option("--size", size)->required();
    contents->add_option("--size", size)->required()->check(CLI::Range(block, size_t{1} << 40));
    fill->add_option("--part", part)->required()->check(CLI::Range(0.0, 1.0));
    CLI11_PARSE(app, argc, argv);
    try {
        Bench bench(directory);
        const json result = *names      ? bench.names(size, count)
                            : *contents ? bench.contents(size, count)
                                        : bench.fill(part, count);
        fmt::print("{}\n", result.dump());
    } catch (const std::exception &error) {
        fmt::print(stderr, "fsbench: {}\n", error.what());
        return 1;
    }
    return 0;
}
