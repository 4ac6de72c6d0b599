// SPDX-License-Identifier: GPL-2.0
//
// What the tests and the demo do with files on a board, timed inside the board
// and reported as one line of JSON: copying trees by read/write or mmap,
// latency of small accesses, and random accesses checked against a shadow.
#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <memory>
#include <thread>
#include <vector>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <system_error>

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

double seconds() {
    using namespace std::chrono;
    return duration<double>(steady_clock::now().time_since_epoch()).count();
}

[[noreturn]] void fail(const std::string &what) {
    throw std::system_error(errno, std::generic_category(), what);
}

class File {
  public:
    File(const std::string &path, int flags, mode_t mode = 0644)
        : name(path), fd(open(path.c_str(), flags | O_CLOEXEC, mode)) {
        if (fd < 0)
            fail("open " + path);
    }
    ~File() {
        if (fd >= 0)
            close(fd);
    }
    File(const File &) = delete;
    File &operator=(const File &) = delete;

    size_t size() const {
        struct stat st;
        if (fstat(fd, &st))
            fail("stat " + name);
        return st.st_size;
    }
    size_t block() const { // of I/O, as the file system likes it
        struct stat st;
        if (fstat(fd, &st))
            fail("stat " + name);
        return st.st_blksize;
    }
    void read(void *to, size_t n, off_t at) const {
        for (size_t done = 0; done < n;) {
            const ssize_t got = pread(fd, static_cast<char *>(to) + done, n - done, at + done);
            if (got < 0 && errno == EINTR)
                continue;
            if (got <= 0)
                fail("read " + name);
            done += got;
        }
    }
    void write(const void *from, size_t n, off_t at) const {
        for (size_t done = 0; done < n;) {
            const ssize_t put =
                pwrite(fd, static_cast<const char *>(from) + done, n - done, at + done);
            if (put < 0 && errno == EINTR)
                continue;
            if (put <= 0)
                fail("write " + name);
            done += put;
        }
    }
    void truncate(off_t n) const {
        if (ftruncate(fd, n))
            fail("truncate " + name);
    }
    void sync() const {
        if (fsync(fd))
            fail("fsync " + name);
    }
    void finish() // errors that only close() reports
    {
        const int one = fd;
        fd = -1;
        if (close(one))
            fail("close " + name);
    }
    int number() const { return fd; }
    const std::string name;

  private:
    int fd;
};

class Mapping {
  public:
    Mapping(const File &file, size_t n, int protection) : length(n) {
        if (!length)
            return;
        void *p = mmap(nullptr, length, protection, MAP_SHARED, file.number(), 0);
        if (p == MAP_FAILED)
            fail("mmap " + file.name);
        base = static_cast<char *>(p);
    }
    ~Mapping() {
        if (base)
            munmap(base, length);
    }
    Mapping(const Mapping &) = delete;
    Mapping &operator=(const Mapping &) = delete;
    void sync() {
        if (base && msync(base, length, MS_SYNC))
            fail("msync");
    }
    char *data() { return base; }

  private:
    char *base = nullptr;
    size_t length;
};

struct CopyOptions {
    std::string from, to;
    bool map_source = false;
    bool map_target = false;
    size_t block = 0; // as cp does: 128 KiB, or what the file says if that is more
};

struct Copied {
    uint64_t files = 0, directories = 0, links = 0, bytes = 0;
};

void copy_file(const CopyOptions &o, const fs::path &from, const fs::path &to, Copied &sum) {
    const File source(from, O_RDONLY);
    const size_t size = source.size();
    File target(to, (o.map_target ? O_RDWR : O_WRONLY) | O_CREAT | O_TRUNC);
    const size_t block =
        o.block ? o.block : std::max({size_t{131072}, source.block(), target.block()});
    std::vector<char> buffer(o.map_source && !o.map_target ? 0 : std::min(block, size));
    Mapping in(source, o.map_source ? size : 0, PROT_READ);
    if (o.map_target)
        target.truncate(size);
    {
        Mapping out(target, o.map_target ? size : 0, PROT_READ | PROT_WRITE);
        for (size_t at = 0; at < size;) {
            const size_t n = std::min(block, size - at);
            const char *data = in.data() ? in.data() + at : buffer.data();
            if (!in.data())
                source.read(buffer.data(), n, at);
            if (o.map_target)
                memcpy(out.data() + at, data, n);
            else
                target.write(data, n, at);
            at += n;
        }
        out.sync();
    }
    target.finish();
    sum.files++;
    sum.bytes += size;
}

void copy_tree(const CopyOptions &o, const fs::path &from, const fs::path &to, Copied &sum) {
    if (fs::is_symlink(from)) {
        fs::create_symlink(fs::read_symlink(from), to);
        sum.links++;
    } else if (fs::is_directory(from)) {
        fs::create_directories(to);
        sum.directories++;
        for (const auto &entry : fs::directory_iterator(from))
            copy_tree(o, entry.path(), to / entry.path().filename(), sum);
    } else {
        copy_file(o, from, to, sum);
    }
}

json copy(const CopyOptions &o) {
    Copied sum;
    const double start = seconds();
    copy_tree(o, o.from, o.to, sum);
    return {{"files", sum.files},
            {"directories", sum.directories},
            {"links", sum.links},
            {"bytes", sum.bytes},
            {"seconds", seconds() - start}};
}

class Random {
  public: // splitmix64: the same on every machine
    explicit Random(uint64_t seed) : state(seed) {}
    uint64_t next() {
        uint64_t z = state += 0x9e3779b97f4a7c15;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
        z = (z ^ z >> 27) * 0x94d049bb133111eb;
        return z ^ z >> 31;
    }
    uint64_t below(uint64_t bound) { return next() % bound; }

  private:
    uint64_t state;
};

struct LatencyOptions {
    std::string file;
    bool write = false, direct = false;
    unsigned int count = 200;
    size_t size = 4096;
};

// Single cold accesses at random places: reads of what is not cached, writes
// that are durable at the owner before the next one starts.
json latency(const LatencyOptions &o) {
    const File file(o.file, (o.write ? O_RDWR : O_RDONLY) | (o.direct ? O_DIRECT : 0));
    const size_t places = file.size() / o.size;
    if (!places)
        throw std::runtime_error("file smaller than one access");
    char *buffer = static_cast<char *>(aligned_alloc(4096, std::max<size_t>(o.size, 4096)));
    memset(buffer, 0x5a, o.size);
    posix_fadvise(file.number(), 0, 0, POSIX_FADV_RANDOM);
    Random random(42);
    std::vector<double> times;
    for (unsigned int i = 0; i < o.count; i++) {
        const off_t at = random.below(places) * o.size;
        posix_fadvise(file.number(), 0, 0, POSIX_FADV_DONTNEED);
        const double start = seconds();
        if (o.write) {
            file.write(buffer, o.size, at);
            file.sync();
        } else {
            file.read(buffer, o.size, at);
        }
        times.push_back((seconds() - start) * 1e6);
    }
    free(buffer);
    std::sort(times.begin(), times.end());
    double sum = 0;
    for (double t : times)
        sum += t;
    return {{"count", o.count},
            {"mean_us", sum / o.count},
            {"median_us", times[o.count / 2]},
            {"p99_us", times[o.count * 99 / 100]}};
}

struct StormOptions {
    std::string file, expect;
    uint64_t seed = 1;
    unsigned int operations = 2000;
    size_t size = 4 << 20;
};

// Random writes and reads at random places and lengths, by pwrite, pread and
// mmap, each read compared with a shadow. With `expect` nothing is done but
// the shadow's end state written there: the host makes it with the same seed.
json storm(const StormOptions &o) {
    constexpr size_t longest = 65536;
    constexpr unsigned int map_percent = 20;
    std::vector<char> shadow(o.size), buffer(longest);
    Random random(o.seed);
    const bool dry = !o.expect.empty();
    std::unique_ptr<File> file;
    uint64_t writes = 0, reads = 0, written = 0, read = 0;

    if (!dry) {
        file = std::make_unique<File>(o.file, O_RDWR | O_CREAT);
        file->truncate(o.size);
    }
    const double start = seconds();
    for (unsigned int i = 0; i < o.operations; i++) {
        const bool write = random.below(3) > 0;
        const bool whole = random.below(2); // whole blocks, or any bytes
        const bool map = random.below(100) < map_percent;
        const bool forget = random.below(50) == 0;
        size_t n = 1 + random.below(random.below(2) ? longest : std::min<size_t>(longest, 5000));
        size_t at = random.below(o.size - n + 1);
        if (whole) {
            at &= ~size_t(4095);
            n = std::min((n + 4095) & ~size_t(4095), o.size - at);
            n = std::min(n, longest);
        }
        if (write) {
            Random bytes(random.next());
            for (size_t b = 0; b < n; b++)
                shadow[at + b] = bytes.next();
            writes++;
            written += n;
        } else {
            reads++;
            read += n;
        }
        if (dry)
            continue;
        if (map) {
            const size_t page = at & ~size_t(4095);
            void *p = mmap(nullptr, at + n - page, PROT_READ | (write ? PROT_WRITE : 0), MAP_SHARED,
                           file->number(), page);
            if (p == MAP_FAILED)
                fail("mmap " + o.file);
            char *bytes = static_cast<char *>(p) + (at - page);
            if (write)
                memcpy(bytes, &shadow[at], n);
            else
                memcpy(buffer.data(), bytes, n);
            if (write && msync(p, at + n - page, MS_SYNC))
                fail("msync " + o.file);
            munmap(p, at + n - page);
        } else if (write) {
            file->write(&shadow[at], n, at);
        } else {
            file->read(buffer.data(), n, at);
        }
        if (!write && memcmp(buffer.data(), &shadow[at], n)) {
            size_t b = 0;
            while (buffer[b] == shadow[at + b])
                b++;
            throw std::runtime_error(
                fmt::format("operation {}: byte {} of {} read at {} is {:#04x}, not {:#04x}", i, b,
                            n, at, uint8_t(buffer[b]), uint8_t(shadow[at + b])));
        }
        if (forget)
            posix_fadvise(file->number(), 0, 0, POSIX_FADV_DONTNEED);
    }
    if (dry) {
        std::ofstream(o.expect, std::ios::binary).write(shadow.data(), shadow.size());
    } else {
        file->sync();
        file->finish();
    }
    return {{"writes", writes},
            {"reads", reads},
            {"written", written},
            {"read", read},
            {"seconds", seconds() - start}};
}

// Maps a file, reads one byte of every page and gives the physical addresses at
// which the process sees them.
json frames(const std::string &path) {
    const File file(path, O_RDONLY), pagemap("/proc/self/pagemap", O_RDONLY);
    Mapping mapping(file, file.size(), PROT_READ);
    json list = json::array();
    for (size_t at = 0; at < file.size(); at += 4096) {
        volatile char byte = mapping.data()[at];
        (void)byte;
        uint64_t entry;
        pagemap.read(&entry, sizeof(entry),
                     reinterpret_cast<uintptr_t>(mapping.data() + at) / 4096 * sizeof(entry));
        list.push_back((entry & ((1ULL << 55) - 1)) * 4096);
    }
    return list;
}

struct PumpOptions {
    std::string to;
    uint16_t port = 5001;
    double duration = 5;
    double rate = 0;
};

// Keeps an IP connection busy: sends for a while, at most `rate` bytes a second if that is not
// zero, or, without `to`, takes what one connection brings.
json pump(const PumpOptions &o) {
    std::vector<char> buffer(o.rate > 0 ? 16384 : 65536);
    uint64_t bytes = 0;
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(o.port);
    const auto *where = reinterpret_cast<const sockaddr *>(&address);
    const double start = seconds();
    if (!o.to.empty()) {
        inet_pton(AF_INET, o.to.c_str(), &address.sin_addr);
        if (fd < 0 || connect(fd, where, sizeof(address)))
            fail("connect " + o.to);
        while (seconds() - start < o.duration) {
            const ssize_t n = send(fd, buffer.data(), buffer.size(), MSG_NOSIGNAL);
            if (n < 0)
                fail("send to " + o.to);
            bytes += n;
            const double ahead = o.rate > 0 ? start + bytes / o.rate - seconds() : 0;
            if (ahead > 0)
                std::this_thread::sleep_for(std::chrono::duration<double>(ahead));
        }
    } else {
        const int yes = 1;
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
        if (fd < 0 || bind(fd, where, sizeof(address)) || listen(fd, 1))
            fail("listen");
        const int peer = accept(fd, nullptr, nullptr);
        ssize_t n;
        while ((n = recv(peer, buffer.data(), buffer.size(), 0)) > 0)
            bytes += n;
        close(peer);
    }
    close(fd);
    return {{"bytes", bytes}, {"seconds", seconds() - start}};
}

struct FillOptions {
    std::string directory;
    unsigned int count = 1000;
    size_t size = 65536;
};

// Files in which every eight bytes say where they belong.
json fill(const FillOptions &o) {
    std::vector<uint64_t> words(o.size / sizeof(uint64_t));
    fs::create_directories(o.directory);
    for (unsigned int i = 0; i < o.count; i++) {
        for (size_t w = 0; w < words.size(); w++)
            words[w] = 0xa5a5000000000000 | uint64_t(i) << 24 | w;
        File file(fmt::format("{}/{:05}", o.directory, i), O_WRONLY | O_CREAT | O_TRUNC);
        file.write(words.data(), words.size() * sizeof(uint64_t), 0);
        file.finish();
    }
    return {{"files", o.count}};
}

// Where a file's blocks lie on its medium.
json extents(const std::string &path) {
    const File file(path, O_RDONLY);
    constexpr unsigned int batch = 256;
    std::vector<uint64_t> memory((sizeof(fiemap) + batch * sizeof(fiemap_extent)) / 8 + 1);
    fiemap *map = reinterpret_cast<fiemap *>(memory.data());
    json list = json::array();
    for (uint64_t at = 0;;) {
        std::fill(memory.begin(), memory.end(), 0);
        map->fm_start = at;
        map->fm_length = ~0ULL - at;
        map->fm_flags = FIEMAP_FLAG_SYNC;
        map->fm_extent_count = batch;
        if (ioctl(file.number(), FS_IOC_FIEMAP, map))
            fail("fiemap " + path);
        for (unsigned int i = 0; i < map->fm_mapped_extents; i++) {
            const fiemap_extent &e = map->fm_extents[i];
            list.push_back({e.fe_logical, e.fe_physical, e.fe_length});
            at = e.fe_logical + e.fe_length;
            if (e.fe_flags & FIEMAP_EXTENT_LAST)
                return list;
        }
        if (!map->fm_mapped_extents)
            return list;
    }
}

} // namespace

int main(int argc, char **argv) {
    CLI::App app{"File work of the tests"};
    app.require_subcommand(1);
    json result;

    CopyOptions copying;
    auto *copy_command = app.add_subcommand("copy", "Copy a file or a tree");
    copy_command->add_option("from", copying.from)->required();
    copy_command->add_option("to", copying.to)->required();
    copy_command->add_flag("--map-source", copying.map_source, "Read by mmap");
    copy_command->add_flag("--map-target", copying.map_target, "Write by mmap, then msync");
    copy_command->add_option("--block", copying.block, "Bytes of one read or write")
        ->check(CLI::PositiveNumber);
    copy_command->callback([&] { result = copy(copying); });

    LatencyOptions timing;
    auto *latency_command = app.add_subcommand("latency", "Time single cold accesses");
    latency_command->add_option("file", timing.file)->required();
    latency_command->add_flag("--write", timing.write, "pwrite + fsync, not pread");
    latency_command->add_flag("--direct", timing.direct, "O_DIRECT");
    latency_command->add_option("--count", timing.count)->check(CLI::PositiveNumber);
    latency_command->add_option("--size", timing.size)->check(CLI::PositiveNumber);
    latency_command->callback([&] { result = latency(timing); });

    StormOptions storming;
    auto *storm_command = app.add_subcommand("storm", "Random accesses against a shadow");
    storm_command->add_option("file", storming.file);
    storm_command->add_option("--expect", storming.expect, "Only write the end state here");
    storm_command->add_option("--seed", storming.seed);
    storm_command->add_option("--operations", storming.operations);
    storm_command->add_option("--size", storming.size)->check(CLI::PositiveNumber);
    storm_command->callback([&] { result = storm(storming); });

    std::string framed;
    auto *frames_command = app.add_subcommand("frames", "Where mmap shows a file's pages");
    frames_command->add_option("file", framed)->required();
    frames_command->callback([&] { result = frames(framed); });

    PumpOptions pumping;
    auto *pump_command = app.add_subcommand("pump", "Keep a TCP connection busy");
    pump_command->add_option("to", pumping.to, "Send there; receive if not given");
    pump_command->add_option("--port", pumping.port);
    pump_command->add_option("--seconds", pumping.duration);
    pump_command->add_option("--rate", pumping.rate, "Bytes per second");
    pump_command->callback([&] { result = pump(pumping); });

    FillOptions filling;
    auto *fill_command = app.add_subcommand("fill", "Make files of a known pattern");
    fill_command->add_option("directory", filling.directory)->required();
    fill_command->add_option("--count", filling.count);
    fill_command->add_option("--size", filling.size);
    fill_command->callback([&] { result = fill(filling); });

    std::vector<std::string> mapped;
    auto *extents_command = app.add_subcommand("extents", "Files' blocks on their medium");
    extents_command->add_option("files", mapped)->required();
    extents_command->callback([&] {
        result = json::array();
        for (const auto &path : mapped)
            for (const auto &extent : extents(path))
                result.push_back(extent);
    });

    try {
        CLI11_PARSE(app, argc, argv);
    } catch (const std::exception &e) {
        fmt::print(stderr, "rzio: {}\n", e.what());
        return 1;
    }
    fmt::print("{}\n", result.dump());
}
