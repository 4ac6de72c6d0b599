// SPDX-License-Identifier: GPL-2.0
//
// The same calls in two directories, one of a file system that is trusted and one of that
// under test: `twin run` makes random system calls, senseless ones too, as root and as
// somebody else, and compares after each what it returned, what it read, and what it did
// to the inodes involved, their times among that. Every now and then, and with `twin
// compare`, it compares all that there is.
#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <ctime>

#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <unistd.h>

namespace {

constexpr size_t slots = 4, longest = 20'000;
constexpr id_t somebody = 1000;

[[noreturn]] void fail(const std::string &what) {
    throw std::system_error(errno, std::generic_category(), what);
}

struct Step;

// One of the two, and the files that are open in it.
struct Tree {
    int root = -1;
    std::array<int, slots> files;
    std::array<bool, slots> opened_by_root{};

    explicit Tree(const std::string &path) : root(open(path.c_str(), O_PATH | O_DIRECTORY)) {
        files.fill(-1);
        if (root < 0)
            fail(path);
    }
    Tree(const Tree &) = delete;
    Tree &operator=(const Tree &) = delete;
    ~Tree() {
        close_all();
        close(root);
    }
    void enter() const {
        if (fchdir(root))
            fail("fchdir");
    }
    // A new file takes the place of the one before; if there is none, that one stays.
    int64_t keep(unsigned slot, int file) {
        if (file < 0)
            return -1;
        if (files[slot] >= 0)
            close(files[slot]);
        files[slot] = file;
        opened_by_root[slot] = !geteuid();
        return 0;
    }
    void close_all() {
        for (int &file : files)
            if (file >= 0)
                close(std::exchange(file, -1));
    }
};

struct Call {
    const char *name;
    unsigned weight;
    bool remote; // a peer's tree has it
    // The result as the system call gives it, and what it has read.
    std::function<int64_t(Tree &, const Step &, std::string &)> make;
};

// Whatever a call may want to know.
struct Step {
    uint64_t number = 0;
    const Call *call = nullptr;
    bool root = true;
    std::string a, b;
    unsigned slot = 0, other = 0, pick = 0;
    off_t pos = 0, pos2 = 0;
    size_t len = 0;
    mode_t mode = 0;
    int flags = 0;

    std::string contents() const {
        std::string bytes(len, 0);
        for (size_t i = 0; i < len; i++)
            bytes[i] =
                static_cast<char>((number * 0x9e3779b1U + i * 0x85ebca6bU) % 65521 % 255 + 1);
        return bytes;
    }
    template <typename T> T one_of(std::initializer_list<T> list) const {
        return list.begin()[pick % list.size()];
    }
};

bool regular(int fd) {
    struct stat st {};
    return !fstat(fd, &st) && S_ISREG(st.st_mode);
}

bool directory(int fd) {
    struct stat st {};
    return !fstat(fd, &st) && S_ISDIR(st.st_mode);
}

const std::array<const char *, 4> attributes = {"user.a", "user.b", "trusted.a",
                                                "system.posix_acl_access"};

// user::rw-, user:1000:rwx, group::r--, mask::rwx, other::r--, or with another mask
std::string acl(const Step &s) {
    const auto mask = static_cast<char>(s.one_of({7, 5, 0}));
    const std::array<std::array<char, 8>, 5> entries = {
        {{0x01, 0, 6, 0, -1, -1, -1, -1}, // ACL_USER_OBJ
         {0x02, 0, 7, 0, static_cast<char>(somebody & 0xff), somebody >> 8, 0, 0},
         {0x04, 0, 4, 0, -1, -1, -1, -1},
         {0x10, 0, mask, 0, -1, -1, -1, -1},
         {0x20, 0, 4, 0, -1, -1, -1, -1}}};
    std::string value("\2\0\0\0", 4);
    for (const auto &entry : entries)
        value.append(entry.data(), entry.size());
    return value;
}

std::string value(const Step &s) {
    return s.slot % 4 == 3 ? acl(s) : s.contents().substr(0, s.len % 300);
}

std::vector<std::string> names_in(const char *path) {
    std::vector<std::string> names;
    DIR *dir = opendir(path);
    if (!dir)
        return {};
    while (const dirent *entry = readdir(dir))
        names.push_back(fmt::format("{}:{}", entry->d_name, static_cast<int>(entry->d_type)));
    closedir(dir);
    std::sort(names.begin(), names.end());
    return names;
}

int64_t load(Tree &tree, const Step &s, std::string &bytes, bool store) {
    const int fd = tree.files[s.slot];
    struct stat st {};
    if (fstat(fd, &st))
        return -1;
    if (!S_ISREG(st.st_mode) || s.pos < 0 || s.pos >= st.st_size || !s.len)
        return 0;
    const off_t begin = s.pos & ~off_t{4095};
    const size_t len = std::min<off_t>(s.len, st.st_size - s.pos), skip = s.pos - begin;
    const int how = store && s.pick % 4 ? MAP_SHARED : MAP_PRIVATE;
    auto *at = static_cast<char *>(
        mmap(nullptr, skip + len, PROT_READ | (store ? PROT_WRITE : 0), how, fd, begin));
    if (at == MAP_FAILED)
        return -1;
    if (store)
        memcpy(at + skip, s.contents().data(), len);
    bytes.assign(at + skip, len);
    const int result = store && how == MAP_SHARED ? msync(at, skip + len, MS_SYNC) : 0;
    munmap(at, skip + len);
    return result;
}

std::array<timespec, 2> times(const Step &s) {
    const auto one = [&](unsigned pick, off_t pos) -> timespec {
        switch (pick % 6) {
        case 0:
            return {0, UTIME_NOW};
        case 1:
            return {0, UTIME_OMIT};
        case 2:
            return {-1 - pos % 1000, 999'999'999};
        case 3:
            return {(time_t{1} << 32) + pos % 1000, 1};
        case 4:
            return {0, 1'000'000'000};
        default:
            return {1'000'000 + pos % 1000, pos % 1000};
        }
    };
    return {one(s.pick, s.pos), one(s.pick / 6, s.pos2)};
}

int64_t read_into(std::string &bytes, size_t len, const std::function<ssize_t(char *)> &how) {
    bytes.resize(len);
    const ssize_t got = how(bytes.data());
    bytes.resize(std::max<ssize_t>(got, 0));
    return got;
}

const std::vector<Call> calls = {
    {"open", 14, true,
     [](Tree &t, const Step &s, std::string &) {
         // a FIFO must not wait
         return t.keep(s.slot, open(s.a.c_str(), s.flags | O_NONBLOCK | O_CLOEXEC, s.mode));
     }},
    {"tmpfile", 1, false,
     [](Tree &t, const Step &s, std::string &) {
         const int how = s.one_of({O_RDWR, O_RDWR | O_EXCL, O_RDONLY});
         return t.keep(s.slot, open(s.a.c_str(), O_TMPFILE | O_CLOEXEC | how, s.mode));
     }},
    {"close", 1, true,
     [](Tree &t, const Step &s, std::string &) -> int64_t {
         return close(std::exchange(t.files[s.slot], -1));
     }},
    {"read", 3, true,
     [](Tree &t, const Step &s, std::string &bytes) {
         return read_into(bytes, s.len,
                          [&](char *to) { return read(t.files[s.slot], to, s.len); });
     }},
    {"pread", 4, true,
     [](Tree &t, const Step &s, std::string &bytes) {
         return read_into(bytes, s.len,
                          [&](char *to) { return pread(t.files[s.slot], to, s.len, s.pos); });
     }},
    {"write", 5, true,
     [](Tree &t, const Step &s, std::string &) -> int64_t {
         return write(t.files[s.slot], s.contents().data(), s.len);
     }},
    {"pwrite", 8, true,
     [](Tree &t, const Step &s, std::string &) -> int64_t {
         return pwrite(t.files[s.slot], s.contents().data(), s.len, s.pos);
     }},
    {"pwritev2", 2, true,
     [](Tree &t, const Step &s, std::string &) -> int64_t {
         std::string bytes = s.contents();
         const size_t half = s.len / 3;
         const std::array<iovec, 2> v = {{{bytes.data(), half}, {&bytes[half], s.len - half}}};
         return pwritev2(t.files[s.slot], v.data(), v.size(), s.pos,
                         s.one_of({0, RWF_DSYNC, RWF_APPEND}));
     }},
    {"lseek", 2, true,
     [](Tree &t, const Step &s, std::string &) -> int64_t {
         if (directory(t.files[s.slot]))
             return 0;
         return lseek(t.files[s.slot], s.pos - 1000, s.one_of({SEEK_SET, SEEK_CUR, SEEK_END, 99}));
     }},
    {"ftruncate", 4, true,
     [](Tree &t, const Step &s, std::string &) -> int64_t {
         return ftruncate(t.files[s.slot], s.pos);
     }},
    {"truncate", 2, true,
     [](Tree &, const Step &s, std::string &) -> int64_t { return truncate(s.a.c_str(), s.pos); }},
    {"fallocate", 5, false,
     [](Tree &t, const Step &s, std::string &) -> int64_t {
         const int mode = s.one_of(
             {0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
              FALLOC_FL_ZERO_RANGE, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
              FALLOC_FL_PUNCH_HOLE, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE, 0x400000});
         return fallocate(t.files[s.slot], mode, std::min<off_t>(s.pos, 60'000), s.len);
     }},
    {"fsync", 1, true,
     [](Tree &t, const Step &s, std::string &) -> int64_t {
         return s.pick % 2 ? fsync(t.files[s.slot]) : fdatasync(t.files[s.slot]);
     }},
    {"store", 4, true,
     [](Tree &t, const Step &s, std::string &bytes) { return load(t, s, bytes, true); }},
    {"load", 2, true,
     [](Tree &t, const Step &s, std::string &bytes) { return load(t, s, bytes, false); }},
    {"copy_file_range", 3, true,
     [](Tree &t, const Step &s, std::string &) -> int64_t {
         off_t from = s.pos, to = s.pos2;
         return copy_file_range(t.files[s.other], &from, t.files[s.slot], &to, s.len, 0);
     }},
    {"sendfile", 1, true,
     [](Tree &t, const Step &s, std::string &) -> int64_t {
         off_t from = s.pos;
         // between pipes and files something may be left for later
         if (!regular(t.files[s.slot]) || !regular(t.files[s.other]))
             return 0;
         return sendfile(t.files[s.slot], t.files[s.other], &from, s.len);
     }},
    {"mkdir", 8, true,
     [](Tree &, const Step &s, std::string &) -> int64_t { return mkdir(s.a.c_str(), s.mode); }},
    {"rmdir", 3, true,
     [](Tree &, const Step &s, std::string &) -> int64_t { return rmdir(s.a.c_str()); }},
    {"unlink", 4, true,
     [](Tree &, const Step &s, std::string &) -> int64_t { return unlink(s.a.c_str()); }},
    {"rename", 6, true,
     [](Tree &, const Step &s, std::string &) -> int64_t {
         return rename(s.a.c_str(), s.b.c_str());
     }},
    {"renameat2", 4, false,
     [](Tree &, const Step &s, std::string &) -> int64_t {
         const unsigned flags = s.one_of({RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_WHITEOUT,
                                          RENAME_NOREPLACE | RENAME_EXCHANGE,
                                          RENAME_NOREPLACE | RENAME_WHITEOUT, 0x100});
         // ext4 touches the directory even if that fails
         if (flags == RENAME_WHITEOUT && !faccessat(AT_FDCWD, s.b.c_str(), F_OK, AT_SYMLINK_NOFOLLOW))
             return 0;
         return renameat2(AT_FDCWD, s.a.c_str(), AT_FDCWD, s.b.c_str(), flags);
     }},
    {"link", 4, true,
     [](Tree &, const Step &s, std::string &) -> int64_t {
         return linkat(AT_FDCWD, s.a.c_str(), AT_FDCWD, s.b.c_str(),
                       s.one_of({0, AT_SYMLINK_FOLLOW, 0x8000}));
     }},
    {"link of a file", 1, false,
     [](Tree &t, const Step &s, std::string &) -> int64_t {
         return linkat(t.files[s.slot], "", AT_FDCWD, s.b.c_str(), AT_EMPTY_PATH);
     }},
    {"symlink", 2, true,
     [](Tree &, const Step &s, std::string &) -> int64_t {
         return symlink(s.b.c_str(), s.a.c_str());
     }},
    {"readlink", 2, true,
     [](Tree &, const Step &s, std::string &bytes) {
         return read_into(bytes, s.len % 100,
                          [&](char *to) { return readlink(s.a.c_str(), to, s.len % 100); });
     }},
    {"mknod", 2, true,
     [](Tree &, const Step &s, std::string &) -> int64_t {
         // the null device, and block devices that are not there
         return mknod(s.a.c_str(),
                      s.one_of({S_IFREG, S_IFIFO, S_IFSOCK, S_IFCHR, S_IFBLK, S_IFDIR}) |
                          (s.mode & 07777),
                      s.pick % 6 == 3 ? makedev(1, 3) : makedev(510, s.pick % 99));
     }},
    {"chmod", 3, true,
     [](Tree &, const Step &s, std::string &) -> int64_t { return chmod(s.a.c_str(), s.mode); }},
    {"fchmod", 2, true,
     [](Tree &t, const Step &s, std::string &) -> int64_t {
         return fchmod(t.files[s.slot], s.mode);
     }},
    {"chown", 3, true,
     [](Tree &, const Step &s, std::string &) -> int64_t {
         return fchownat(AT_FDCWD, s.a.c_str(), s.one_of<uid_t>({0, somebody, uid_t(-1), 12345}),
                         s.one_of<gid_t>({somebody, gid_t(-1), 0, 54321, 7}),
                         s.pick % 2 ? AT_SYMLINK_NOFOLLOW : 0);
     }},
    {"fchown", 1, true,
     [](Tree &t, const Step &s, std::string &) -> int64_t {
         return fchown(t.files[s.slot], s.one_of<uid_t>({0, somebody, uid_t(-1)}),
                       s.one_of<gid_t>({somebody, gid_t(-1), 0, 54321}));
     }},
    {"utimensat", 3, true,
     [](Tree &, const Step &s, std::string &) -> int64_t {
         return utimensat(AT_FDCWD, s.a.c_str(), times(s).data(),
                          s.len % 2 ? AT_SYMLINK_NOFOLLOW : 0);
     }},
    {"futimens", 1, true,
     [](Tree &t, const Step &s, std::string &) -> int64_t {
         return futimens(t.files[s.slot], times(s).data());
     }},
    {"access", 2, true,
     [](Tree &, const Step &s, std::string &) -> int64_t {
         return faccessat(AT_FDCWD, s.a.c_str(), static_cast<int>(s.pick % 8), AT_EACCESS);
     }},
    {"setxattr", 4, false,
     [](Tree &, const Step &s, std::string &) -> int64_t {
         const std::string bytes = value(s);
         std::string old(1000, 0);
         const ssize_t got =
             lgetxattr(s.a.c_str(), attributes[s.slot % 4], old.data(), old.size());
         // what that does to the ctime is everybody's own affair
         if (got >= 0 && old.substr(0, got) == bytes)
             return 0;
         return lsetxattr(s.a.c_str(), attributes[s.slot % 4], bytes.data(), bytes.size(),
                          s.one_of<int>({0, 0, XATTR_CREATE, XATTR_REPLACE}));
     }},
    {"getxattr", 2, false,
     [](Tree &, const Step &s, std::string &bytes) {
         const size_t room = s.pick % 3 ? 1000 : s.len % 300;
         return read_into(bytes, room, [&](char *to) {
             return getxattr(s.a.c_str(), attributes[s.slot % 4], to, room);
         });
     }},
    {"removexattr", 2, false,
     [](Tree &, const Step &s, std::string &) -> int64_t {
         return lremovexattr(s.a.c_str(), attributes[s.slot % 4]);
     }},
    {"readdir", 2, true,
     [](Tree &, const Step &s, std::string &bytes) -> int64_t {
         for (const auto &name : names_in(s.a.c_str()))
             bytes += name + " ";
         return 0;
     }},
};

// What lstat(2) or fstat(2) shows of an inode.
struct Seen {
    struct stat st {};
    int error = 0;

    // Times as they are if somebody has set them; else they lie in the last hour.
    std::string text(bool with_atime) const {
        if (error)
            return strerror(error);
        const auto time = [](const timespec &t) {
            const time_t age = ::time(nullptr) - t.tv_sec;
            return age >= -5 && age < 3600 ? std::string("now")
                                           : fmt::format("{}.{:09}", t.tv_sec, t.tv_nsec);
        };
        return fmt::format("mode {:o} links {} owner {}:{} size {} device {:x} atime {} mtime {}",
                           st.st_mode, st.st_nlink, st.st_uid, st.st_gid,
                           S_ISDIR(st.st_mode) ? 0 : st.st_size, st.st_rdev,
                           with_atime ? time(st.st_atim) : "-", time(st.st_mtim));
    }
};

Seen look(int fd, const std::string &path) {
    Seen seen;
    const bool bad = path.empty() ? fstat(fd, &seen.st)
                                  : fstatat(AT_FDCWD, path.c_str(), &seen.st, AT_SYMLINK_NOFOLLOW);
    seen.error = bad ? errno : 0;
    return seen;
}

// which of the three times are others now; nothing if it is another inode
std::string changed(const Seen &before, const Seen &after, bool with_atime) {
    if (before.error || after.error || before.st.st_ino != after.st.st_ino)
        return "";
    const auto other = [](const timespec &a, const timespec &b) {
        return a.tv_sec != b.tv_sec || a.tv_nsec != b.tv_nsec;
    };
    std::string what;
    if (with_atime && other(before.st.st_atim, after.st.st_atim))
        what += " atime";
    if (other(before.st.st_mtim, after.st.st_mtim))
        what += " mtime";
    if (other(before.st.st_ctim, after.st.st_ctim))
        what += " ctime";
    return what.empty() ? what : what + " changed";
}

std::string parent(const std::string &path) {
    const auto slash = path.find_last_of('/');
    return slash == std::string::npos ? "." : path.substr(0, slash + 1) + ".";
}

// Times have the resolution of the clock that the kernel takes them from.
void next_tick() {
    timespec now{}, then{};
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    do {
        const timespec little{0, 300'000};
        nanosleep(&little, nullptr);
        clock_gettime(CLOCK_REALTIME_COARSE, &then);
    } while (now.tv_nsec == then.tv_nsec && now.tv_sec == then.tv_sec);
}

void become(bool root) {
    if (setegid(root ? 0 : somebody) || seteuid(root ? 0 : somebody))
        fail("seteuid");
}

bool is_one_of(const Call &call, std::initializer_list<const char *> names) {
    return std::any_of(names.begin(), names.end(),
                       [&](const char *name) { return !strcmp(call.name, name); });
}

// Does a call write to a file? At a peer whoever has opened it does that.
bool writes(const Call &call) {
    return is_one_of(call,
                     {"write", "pwrite", "pwritev2", "ftruncate", "copy_file_range", "sendfile"});
}

// Does a call remove a name? Then a peer's tree keeps what is open under another one.
bool removes(const Call &call) { return is_one_of(call, {"unlink", "rename"}); }

struct Outcome {
    bool failed = false;
    std::string text, bytes;
    bool operator==(const Outcome &) const = default;
};

Outcome make(Tree &tree, const Step &s, bool remote) {
    const std::array<std::string, 4> paths = {s.a, s.b, parent(s.a), parent(s.b)};
    std::array<Seen, 5> before, after;
    const auto look_at = [&](std::array<Seen, 5> &seen) {
        for (size_t i = 0; i < paths.size(); i++)
            seen[i] = paths[i].empty() ? Seen{} : look(-1, paths[i]);
        seen[4] = look(tree.files[s.slot], "");
    };
    Outcome outcome;

    tree.enter();
    // to look may change the atime of a symbolic link on the way
    look_at(before);
    next_tick();
    const bool root = remote && writes(*s.call) ? tree.opened_by_root[s.slot] : s.root;
    if (!root)
        become(false);
    errno = 0;
    const int64_t result = s.call->make(tree, s, outcome.bytes);
    const int error = result < 0 ? errno : 0;
    if (!root)
        become(true);
    look_at(after);
    outcome.failed = result < 0;
    outcome.text = fmt::format("{} {}", result, error ? strerror(error) : "");
    for (size_t i = 0; i < after.size(); i++)
        outcome.text +=
            fmt::format("\n      {}: {};{}", i < 4 ? paths[i] : fmt::format("file {}", s.slot),
                        after[i].text(!remote), changed(before[i], after[i], !remote));
    return outcome;
}

class Random {
  public:
    explicit Random(uint64_t seed) : engine(seed) {}

    uint64_t below(uint64_t n) { return engine() % n; }
    bool one_in(unsigned n) { return !below(n); }

    Step step(uint64_t number, bool remote) {
        Step s;
        s.number = number;
        do
            s.call = &calls[below(calls.size())];
        while (below(14) >= s.call->weight || (remote && !s.call->remote));
        s.root = !one_in(5);
        s.a = path();
        s.b = path();
        s.slot = below(slots);
        s.other = below(slots);
        s.pick = below(1'000'000);
        s.pos = position();
        s.pos2 = position();
        s.len = one_in(20) ? 0 : one_in(3) ? 4096 * below(5) : below(longest);
        s.mode = one_in(3) ? below(010000) : one_in(2) ? 0644 : 0755;
        const std::array<int, 4> how = {O_RDWR, O_RDONLY, O_WRONLY, O_RDWR};
        s.flags = how[below(how.size())];
        const std::array<std::pair<int, unsigned>, 8> more = {{{O_CREAT, 2},
                                                               {O_EXCL, 10},
                                                               {O_TRUNC, 8},
                                                               {O_APPEND, 8},
                                                               {O_DIRECTORY, 20},
                                                               {O_NOFOLLOW, 10},
                                                               {O_PATH, 30},
                                                               {O_SYNC, 20}}};
        for (const auto &[flag, rarity] : more)
            if (one_in(rarity))
                s.flags |= flag;
        return s;
    }

  private:
    std::mt19937_64 engine;

    off_t position() {
        if (one_in(40))
            return -1;
        if (one_in(40))
            return (off_t{1} << 33) + static_cast<off_t>(below(10'000));
        return one_in(3) ? 4096 * below(15) : below(50'000);
    }

    std::string path() {
        std::string path;
        const unsigned depth = one_in(3) ? 2 : one_in(8) ? 3 : 1;
        for (unsigned i = 0; i < depth; i++)
            path += (i ? "/" : "") + std::string(1, static_cast<char>('a' + below(4)));
        switch (below(60)) {
        case 0:
            return path + "/";
        case 1:
            return path + "/.";
        case 2:
            return path + "/..";
        case 3:
            return path + "/" + std::string(255, 'n');
        case 4:
            return path + "/" + std::string(256, 'n');
        case 5:
            return one_in(3) ? "" : ".";
        default:
            return path;
        }
    }
};

// Everything below the directory that is the current one, a line for each inode or its name.
void describe(const std::string &path, bool remote, std::map<ino_t, std::string> &known,
              std::vector<std::string> &lines) {
    const Seen seen = look(-1, path);
    const bool is_directory = !seen.error && S_ISDIR(seen.st.st_mode);
    if (!is_directory && !seen.error) {
        const auto [at, is_new] = known.emplace(seen.st.st_ino, path);
        if (!is_new) {
            lines.push_back(path + " = " + at->second);
            return;
        }
    }
    std::string line = path + " " + seen.text(!remote), bytes(256 << 10, 0);
    if (S_ISLNK(seen.st.st_mode))
        line +=
            " -> " +
            bytes.substr(0, std::max<ssize_t>(readlink(path.c_str(), bytes.data(), PATH_MAX), 0));
    if (S_ISREG(seen.st.st_mode)) {
        const int fd = open(path.c_str(), O_RDONLY);
        for (const off_t at : {off_t{0}, off_t{1} << 33}) {
            const ssize_t got = pread(fd, bytes.data(), bytes.size(), at);
            line +=
                fmt::format(" {} {:x}", got,
                            std::hash<std::string>{}(bytes.substr(0, std::max<ssize_t>(got, 0))));
        }
        close(fd);
    }
    for (const char *name : attributes) {
        const ssize_t got = remote ? -1 : lgetxattr(path.c_str(), name, bytes.data(), bytes.size());
        if (got >= 0)
            line += fmt::format(" {} {:x}", name, std::hash<std::string>{}(bytes.substr(0, got)));
    }
    lines.push_back(line);
    if (!is_directory)
        return;
    for (const auto &entry : names_in(path.c_str())) {
        const std::string name = entry.substr(0, entry.find_last_of(':'));
        if (name != "." && name != ".." && name != "lost+found")
            describe(path + "/" + name, remote, known, lines);
    }
}

bool compare(const Tree &one, const Tree &other, bool remote) {
    std::array<std::vector<std::string>, 2> lines;
    for (int i = 0; i < 2; i++) {
        std::map<ino_t, std::string> known;
        (i ? other : one).enter();
        describe(".", remote, known, lines[i]);
    }
    if (lines[0] == lines[1])
        return true;
    for (int i = 0; i < 2; i++)
        for (const auto &line : lines[i])
            if (std::find(lines[!i].begin(), lines[!i].end(), line) == lines[!i].end())
                fmt::print("{} {}\n", i ? "test " : "model", line);
    return false;
}

void print(const Step &s) {
    fmt::print("{} {}{} {} {} file {} {} pos {} {} len {} mode {:o} flags {:o} pick {}\n", s.number,
               s.call->name, s.root ? "" : " as somebody", s.a, s.b, s.slot, s.other, s.pos, s.pos2,
               s.len, s.mode, s.flags, s.pick);
}

bool run(Tree &one, Tree &other, uint64_t seed, uint64_t steps, bool remote) {
    uint64_t good = 0;
    Random random(seed);
    std::deque<std::pair<Step, Outcome>> last;
    for (uint64_t number = 1; number <= steps; number++) {
        const Step step = random.step(number, remote);
        if (remote && removes(*step.call)) {
            one.close_all();
            other.close_all();
        }
        const Outcome a = make(one, step, remote), b = make(other, step, remote);
        good += !a.failed;
        last.emplace_back(step, a);
        if (last.size() > 60)
            last.pop_front();
        if (a == b && (number % 500 || compare(one, other, remote)))
            continue;
        for (const auto &[past, outcome] : last) {
            print(past);
            fmt::print("    {}\n", outcome.text);
        }
        fmt::print("differs:\n    {}\n", b.text);
        if (a.bytes != b.bytes) {
            const auto at =
                std::mismatch(a.bytes.begin(), a.bytes.end(), b.bytes.begin(), b.bytes.end());
            fmt::print("    bytes differ from {} on, of {} and {}\n", at.first - a.bytes.begin(),
                       a.bytes.size(), b.bytes.size());
        }
        return false;
    }
    fmt::print("{} of {} calls were successful\n", good, steps);
    return compare(one, other, remote);
}

} // namespace

int main(int argc, char **argv) {
    CLI::App app{"The same random calls in two directories, compared"};
    std::string model, test;
    uint64_t seed = 1, steps = 1000;
    bool remote = false;
    app.require_subcommand(1);
    app.add_option("model", model, "Directory of a file system that is trusted")->required();
    app.add_option("test", test, "Directory of the one under test")->required();
    app.add_flag("--remote", remote, "Only what a peer's tree can do");
    auto *running = app.add_subcommand("run", "Make calls in a new directory of both");
    running->add_option("--seed", seed, "Also the name of the directory");
    running->add_option("--steps", steps);
    app.add_subcommand("compare", "Only compare what is there");
    CLI11_PARSE(app, argc, argv);
    signal(SIGPIPE, SIG_IGN); // EPIPE is what is compared
    try {
        if (setgroups(0, nullptr))
            fail("setgroups");
        umask(0);
        if (*running)
            for (std::string *path : {&model, &test}) {
                *path += fmt::format("/{}", seed);
                if (mkdir(path->c_str(), 0777))
                    fail(*path);
            }
        umask(022);
        Tree one(model), other(test);
        const bool same =
            *running ? run(one, other, seed, steps, remote) : compare(one, other, remote);
        fmt::print("{}\n", same ? "same" : "different");
        return !same;
    } catch (const std::exception &error) {
        fmt::print(stderr, "twin: {}\n", error.what());
        return 2;
    }
}
