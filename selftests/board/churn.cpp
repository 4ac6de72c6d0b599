// SPDX-License-Identifier: GPL-2.0
//
// Operations on files for the power cuts: `churn run` does a sequence that its
// seed determines, and says on standard output how many have returned; after the
// cut `churn verify` repeats the sequence on a model and looks for the state that
// the medium has. What was acknowledged must be there. The operation in flight may
// have happened or not; what a write leaves behind is old or new byte by byte
// (Documentation/filesystems/rzcfs.rst, "Guarantees").
#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

#include <cerrno>
#include <cstdint>
#include <cstring>

#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

constexpr size_t max_size = 200'000, max_write = 40'000, max_names = 40;
constexpr uint64_t max_ahead = 20'000; // operations done, of which no word reached the host
constexpr uint64_t told = 4;           // states that a failure is compared with

[[noreturn]] void fail(const std::string &what) {
    throw std::system_error(errno, std::generic_category(), what);
}

void must(bool good, const std::string &what) {
    if (!good)
        fail(what);
}

enum class Op : uint8_t {
    create,
    mkdir,
    symlink,
    link,
    unlink,
    rmdir,
    rename,
    write,
    append,
    truncate,
    chmod,
    utimes,
    store, // through a mapping, with msync
    // only on the owner
    exchange,
    tmpfile,
    punch,
    preallocate, // also beyond the end
    set_xattr,
    remove_xattr,
};

struct Plan {
    uint64_t number = 0;
    Op op{};
    std::string a, b; // paths; b also the name of an attribute
    size_t pos = 0, len = 0;
    mode_t mode = 0;
};

// Contents written by an operation: never 0, which is what holes show.
uint8_t contents(uint64_t number, size_t pos) {
    return (number * 0x9e3779b1U + pos * 0x85ebca6bU) % 65521 % 255 + 1;
}

std::vector<uint8_t> contents(const Plan &p, size_t begin) {
    std::vector<uint8_t> bytes(p.len);
    for (size_t i = 0; i < p.len; i++)
        bytes[i] = contents(p.number, begin + i);
    return bytes;
}

struct Inode {
    mode_t mode = 0;
    std::vector<uint8_t> data;
    std::string target;
    std::map<std::string, std::string> attributes;
    std::optional<int64_t> mtime; // seconds, if that was set
};

using Names = std::map<std::string, std::shared_ptr<Inode>>;

std::shared_ptr<Inode> make(mode_t mode, const std::string &target = "") {
    auto inode = std::make_shared<Inode>();
    inode->mode = mode;
    inode->target = target;
    return inode;
}

mode_t type(const Inode &inode) { return inode.mode & S_IFMT; }

// The sequence of operations, and what they make of a directory.
class Model {
  public:
    Model(uint64_t seed, bool remote) : random(seed), last(remote ? Op::store : Op::remove_xattr) {}

    // The next operation; it can be done in the state that the model has.
    Plan plan() {
        Plan p;
        p.number = ++count;
        do
            p.op = static_cast<Op>(below(static_cast<unsigned>(last) + 1));
        while (!possible(p));
        return p;
    }

    void apply(const Plan &p) {
        const auto at = names.find(p.a);
        const auto inode = at == names.end() ? nullptr : at->second;
        switch (p.op) {
        case Op::create:
        case Op::tmpfile:
            names[p.a] = make(S_IFREG | p.mode);
            if (p.op == Op::tmpfile)
                put(*names[p.a], 0, contents(p, 0));
            break;
        case Op::mkdir:
            names[p.a] = make(S_IFDIR | p.mode);
            break;
        case Op::symlink:
            names[p.a] = make(S_IFLNK | 0777, p.b);
            break;
        case Op::link:
            names[p.b] = inode;
            break;
        case Op::unlink:
        case Op::rmdir:
            names.erase(at);
            break;
        case Op::rename:
            if (const auto over = names.find(p.b); over != names.end() && over->second == inode)
                break; // two names of one file: nothing happens
            names[p.b] = inode;
            names.erase(p.a);
            break;
        case Op::exchange:
            std::swap(names[p.a], names[p.b]);
            break;
        case Op::write:
        case Op::store:
            put(*inode, p.pos, contents(p, p.pos));
            break;
        case Op::append:
            put(*inode, inode->data.size(), contents(p, 0));
            break;
        case Op::truncate:
            inode->data.resize(p.len);
            inode->mtime.reset();
            break;
        case Op::punch:
            std::fill_n(inode->data.begin() + p.pos, p.len, 0);
            inode->mtime.reset();
            break;
        case Op::preallocate:
            inode->mtime.reset();
            break;
        case Op::chmod:
            inode->mode = type(*inode) | p.mode;
            break;
        case Op::utimes:
            inode->mtime = static_cast<int64_t>(p.len);
            break;
        case Op::set_xattr:
            inode->attributes[p.b] = std::string(p.len, static_cast<char>('a' + p.number % 26));
            break;
        case Op::remove_xattr:
            inode->attributes.erase(p.b);
            break;
        }
    }

    const Names &state() const { return names; }

  private:
    unsigned below(unsigned n) { return random() % n; }

    static void put(Inode &inode, size_t pos, const std::vector<uint8_t> &bytes) {
        inode.data.resize(std::max(inode.data.size(), pos + bytes.size()));
        std::copy(bytes.begin(), bytes.end(), inode.data.begin() + pos);
        inode.mtime.reset();
    }

    // A name of a kind (0: any but a directory), or an empty string.
    std::string some(mode_t kind) {
        std::vector<const std::string *> found;
        for (const auto &[name, inode] : names)
            if (kind ? type(*inode) == kind : type(*inode) != S_IFDIR)
                found.push_back(&name);
        return found.empty() ? "" : *found[below(found.size())];
    }

    // A new name, in one of the directories; some are long.
    std::string fresh() {
        std::string name = fmt::format("{:x}", random() & 0xffffff);
        if (!below(8))
            name.append(200, 'n');
        const std::string directory = below(3) ? some(S_IFDIR) : "";
        return directory.empty() ? name : directory + "/" + name;
    }

    bool empty(const std::string &directory) const {
        const auto next = names.upper_bound(directory + "/");
        return next == names.end() || next->first.rfind(directory + "/", 0);
    }

    bool possible(Plan &p) {
        const bool room = names.size() < max_names;
        p.mode = 0600 | below(0100);
        switch (p.op) {
        case Op::create:
        case Op::mkdir:
        case Op::tmpfile:
            p.len = p.op == Op::tmpfile ? 1 + below(max_write) : 0;
            p.a = fresh();
            return room && !names.contains(p.a) && (p.op != Op::mkdir || p.a.size() < 600);
        case Op::symlink:
            p.a = fresh();
            p.b = std::string(1 + below(below(2) ? 30 : 1000), 't');
            return room && !names.contains(p.a);
        case Op::link:
            p.a = some(S_IFREG);
            p.b = fresh();
            return room && !p.a.empty() && !names.contains(p.b);
        case Op::unlink:
            p.a = some(0);
            return names.size() > 8 && !p.a.empty();
        case Op::rmdir:
            p.a = some(S_IFDIR);
            return !p.a.empty() && empty(p.a);
        case Op::rename: // not of directories that have something, for the model's sake
            p.a = below(3) ? some(0) : some(S_IFDIR);
            p.b = below(2) ? fresh() : some(0);
            if (p.a.empty() || p.b.empty() || p.a == p.b)
                return false;
            if (type(*names[p.a]) == S_IFDIR)
                return empty(p.a) && !names.contains(p.b) && p.b.rfind(p.a + "/", 0) != 0;
            return true;
        case Op::exchange:
            p.a = some(0);
            p.b = some(0);
            return !p.a.empty() && p.a != p.b;
        case Op::write:
            p.a = some(S_IFREG);
            p.pos = below(2) ? below(max_size - max_write) : below(40) * 4096;
            p.len = below(2) ? 1 + below(max_write) : (1 + below(8)) * 4096;
            return !p.a.empty();
        case Op::append:
            p.a = some(S_IFREG);
            p.len = 1 + below(max_write);
            return !p.a.empty() && names[p.a]->data.size() + p.len <= max_size;
        case Op::truncate:
            p.a = some(S_IFREG);
            p.len = below(max_size);
            return !p.a.empty();
        case Op::preallocate:
            p.a = some(S_IFREG);
            p.pos = below(max_size - max_write);
            p.len = 1 + below(max_write);
            return !p.a.empty();
        case Op::store:
        case Op::punch: {
            p.a = some(S_IFREG);
            if (p.a.empty() || names[p.a]->data.empty())
                return false;
            const size_t size = names[p.a]->data.size();
            p.pos = below(size);
            p.len = 1 + below(std::min(size - p.pos, max_write));
            return true;
        }
        case Op::chmod:
            p.a = below(3) ? some(S_IFREG) : some(S_IFDIR);
            p.mode |= 0700;
            return !p.a.empty();
        case Op::utimes:
            p.a = some(S_IFREG);
            p.len = 1'000'000'000 + below(1'000'000'000);
            return !p.a.empty();
        case Op::set_xattr:
            p.a = below(3) ? some(S_IFREG) : some(S_IFDIR);
            p.b = fmt::format("user.{}", below(5));
            p.len = below(600);
            return !p.a.empty();
        case Op::remove_xattr:
            p.a = below(3) ? some(S_IFREG) : some(S_IFDIR);
            if (p.a.empty() || names[p.a]->attributes.empty())
                return false;
            p.b = names[p.a]->attributes.begin()->first;
            return true;
        }
        return false;
    }

    std::mt19937_64 random;
    Op last;
    uint64_t count = 0;
    Names names;
};

class Fd {
  public:
    Fd(const std::string &path, int flags, mode_t mode = 0)
        : fd(open(path.c_str(), flags | O_CLOEXEC, mode)) {
        must(fd >= 0, "open " + path);
    }
    ~Fd() {
        if (fd >= 0)
            close(fd);
    }
    Fd(const Fd &) = delete;
    Fd &operator=(const Fd &) = delete;
    void write(const std::vector<uint8_t> &bytes, off_t at) const {
        for (size_t done = 0; done < bytes.size();) {
            const ssize_t n = pwrite(fd, bytes.data() + done, bytes.size() - done, at + done);
            must(n > 0, "write");
            done += n;
        }
    }
    void finish() { // tells of what was gathered
        const int one = fd;
        fd = -1;
        must(!close(one), "close");
    }
    operator int() const { return fd; }

  private:
    int fd;
};

// Modes are as given, whatever the umask.
void execute(const Plan &p, const Inode *before) {
    switch (p.op) {
    case Op::create:
        Fd(p.a, O_CREAT | O_EXCL | O_WRONLY, p.mode).finish();
        break;
    case Op::tmpfile: {
        const fs::path parent = fs::path(p.a).parent_path();
        Fd file(parent.empty() ? "." : parent.string(), O_TMPFILE | O_RDWR, p.mode);
        file.write(contents(p, 0), 0);
        must(!linkat(AT_FDCWD, fmt::format("/proc/self/fd/{}", static_cast<int>(file)).c_str(),
                     AT_FDCWD, p.a.c_str(), AT_SYMLINK_FOLLOW),
             "linkat " + p.a);
        break;
    }
    case Op::mkdir:
        must(!mkdir(p.a.c_str(), p.mode), "mkdir " + p.a);
        break;
    case Op::symlink:
        must(!symlink(p.b.c_str(), p.a.c_str()), "symlink " + p.a);
        break;
    case Op::link:
        must(!link(p.a.c_str(), p.b.c_str()), "link " + p.b);
        break;
    case Op::unlink:
        must(!unlink(p.a.c_str()), "unlink " + p.a);
        break;
    case Op::rmdir:
        must(!rmdir(p.a.c_str()), "rmdir " + p.a);
        break;
    case Op::rename:
        must(!rename(p.a.c_str(), p.b.c_str()), "rename " + p.a);
        break;
    case Op::exchange:
        must(!renameat2(AT_FDCWD, p.a.c_str(), AT_FDCWD, p.b.c_str(), RENAME_EXCHANGE),
             "exchange " + p.a);
        break;
    case Op::write: {
        Fd file(p.a, O_WRONLY);
        file.write(contents(p, p.pos), static_cast<off_t>(p.pos));
        file.finish();
        break;
    }
    case Op::append: {
        Fd file(p.a, O_WRONLY);
        file.write(contents(p, 0), static_cast<off_t>(before->data.size()));
        file.finish();
        break;
    }
    case Op::truncate:
        must(!truncate(p.a.c_str(), static_cast<off_t>(p.len)), "truncate " + p.a);
        break;
    case Op::punch: {
        Fd file(p.a, O_WRONLY);
        must(!fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(p.pos),
                        static_cast<off_t>(p.len)),
             "punch " + p.a);
        break;
    }
    case Op::preallocate: {
        Fd file(p.a, O_WRONLY);
        must(!fallocate(file, FALLOC_FL_KEEP_SIZE, static_cast<off_t>(p.pos),
                        static_cast<off_t>(p.len)),
             "preallocate " + p.a);
        break;
    }
    case Op::store: {
        Fd file(p.a, O_RDWR);
        const size_t length = before->data.size();
        void *map = mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        must(map != MAP_FAILED, "mmap " + p.a);
        const auto bytes = contents(p, p.pos);
        memcpy(static_cast<uint8_t *>(map) + p.pos, bytes.data(), bytes.size());
        must(!msync(map, length, MS_SYNC), "msync " + p.a);
        munmap(map, length);
        file.finish();
        break;
    }
    case Op::chmod:
        must(!chmod(p.a.c_str(), p.mode), "chmod " + p.a);
        break;
    case Op::utimes: {
        const std::array<timespec, 2> times{{{0, UTIME_OMIT}, {static_cast<time_t>(p.len), 0}}};
        must(!utimensat(AT_FDCWD, p.a.c_str(), times.data(), 0), "utimensat " + p.a);
        break;
    }
    case Op::set_xattr: {
        const std::string value(p.len, static_cast<char>('a' + p.number % 26));
        must(!setxattr(p.a.c_str(), p.b.c_str(), value.data(), value.size(), 0), "setxattr " + p.a);
        break;
    }
    case Op::remove_xattr:
        must(!removexattr(p.a.c_str(), p.b.c_str()), "removexattr " + p.a);
        break;
    }
}

void enter(const std::string &directory) { must(!chdir(directory.c_str()), "chdir " + directory); }

void run(const std::string &directory, uint64_t seed, bool remote) {
    must(!mkdir(directory.c_str(), 0755), "mkdir " + directory);
    enter(directory);
    umask(0);
    Model model(seed, remote);
    for (uint64_t done = 0;; done++) {
        const std::string line = fmt::format("{}\n", done);
        must(::write(STDOUT_FILENO, line.data(), line.size()) == static_cast<ssize_t>(line.size()),
             "write");
        const Plan p = model.plan();
        const auto at = model.state().find(p.a);
        execute(p, at == model.state().end() ? nullptr : at->second.get());
        model.apply(p);
    }
}

// What is in the directory, read once.
struct Found {
    struct stat st {};
    Inode inode;
};

std::map<std::string, Found> look() {
    std::map<std::string, Found> found;
    for (const auto &entry : fs::recursive_directory_iterator(".")) {
        const std::string path = entry.path().lexically_normal().string();
        Found f;
        must(!lstat(path.c_str(), &f.st), "stat " + path);
        f.inode.mode = f.st.st_mode;
        if (S_ISLNK(f.st.st_mode)) {
            f.inode.target = fs::read_symlink(path).string();
        } else if (S_ISREG(f.st.st_mode)) {
            Fd file(path, O_RDONLY);
            f.inode.data.resize(f.st.st_size);
            for (size_t done = 0; done < f.inode.data.size();) {
                const ssize_t n = pread(file, f.inode.data.data() + done,
                                        f.inode.data.size() - done, static_cast<off_t>(done));
                must(n > 0, "read " + path);
                done += n;
            }
        }
        if (!S_ISLNK(f.st.st_mode)) {
            std::array<char, 4096> list{};
            const ssize_t n = listxattr(path.c_str(), list.data(), list.size());
            must(n >= 0, "listxattr " + path);
            for (const char *name = list.data(); name < list.data() + n; name += strlen(name) + 1) {
                std::array<char, 4096> value{};
                const ssize_t size = getxattr(path.c_str(), name, value.data(), value.size());
                must(size >= 0, "getxattr " + path);
                f.inode.attributes[name] = std::string(value.data(), size);
            }
        }
        found.emplace(path, std::move(f));
    }
    return found;
}

// Old or new, byte by byte; the size between the two.
bool between(const std::vector<uint8_t> &is, const std::vector<uint8_t> &before,
             const std::vector<uint8_t> &after) {
    if (is.size() < std::min(before.size(), after.size()) ||
        is.size() > std::max(before.size(), after.size()))
        return false;
    const auto byte = [](const std::vector<uint8_t> &v, size_t i) {
        return i < v.size() ? v[i] : uint8_t{0};
    };
    for (size_t i = 0; i < is.size(); i++)
        if (is[i] != byte(before, i) && is[i] != byte(after, i))
            return false;
    return true;
}

// How what was found differs from a state of the model; empty if it does not. Of
// `partial`, if there is one, contents may be anything between `before` and its own.
std::string difference(const std::map<std::string, Found> &found, const Names &names,
                       const Inode *partial = nullptr, const std::vector<uint8_t> &before = {}) {
    std::map<const Inode *, std::pair<ino_t, nlink_t>> identity;
    std::map<ino_t, const Inode *> owner;
    for (const auto &[path, f] : found) {
        const auto at = names.find(path);
        if (at == names.end())
            return path + " should not be there";
        const Inode &want = *at->second, &is = f.inode;
        if (is.mode != want.mode)
            return fmt::format("{}: mode {:o}, not {:o}", path, is.mode, want.mode);
        if (is.target != want.target)
            return path + ": another target";
        if (is.attributes != want.attributes)
            return path + ": other attributes";
        if (&want == partial) {
            if (!between(is.data, before, want.data))
                return path + ": neither old nor new bytes";
        } else {
            if (is.data.size() != want.data.size())
                return fmt::format("{}: size {}, not {}", path, is.data.size(), want.data.size());
            const auto wrong =
                std::mismatch(is.data.begin(), is.data.end(), want.data.begin()).first;
            if (wrong != is.data.end())
                return fmt::format("{}: wrong byte at {}", path, wrong - is.data.begin());
            if (want.mtime && f.st.st_mtim.tv_sec != *want.mtime)
                return fmt::format("{}: time {}, not {}", path, f.st.st_mtim.tv_sec, *want.mtime);
        }
        if (type(want) == S_IFDIR)
            continue;
        auto &[number, links] = identity.try_emplace(&want, f.st.st_ino, 0).first->second;
        links++;
        if (number != f.st.st_ino || owner.try_emplace(f.st.st_ino, &want).first->second != &want)
            return path + ": links differ";
    }
    for (const auto &[path, inode] : names) {
        if (!found.contains(path))
            return path + " is lost";
        if (type(*inode) != S_IFDIR &&
            found.at(path).st.st_nlink != identity.at(inode.get()).second)
            return path + ": wrong number of links";
    }
    return "";
}

bool changes_contents(Op op) {
    return op == Op::write || op == Op::append || op == Op::store || op == Op::punch;
}

json verify(const std::string &directory, uint64_t seed, bool remote, uint64_t acknowledged) {
    enter(directory);
    const auto found = look();
    Model model(seed, remote);
    for (uint64_t n = 0; n < acknowledged; n++)
        model.apply(model.plan());
    std::string differences;
    for (uint64_t n = acknowledged; n < acknowledged + max_ahead; n++) {
        const std::string differs = difference(found, model.state());
        if (differs.empty())
            return {{"state", n}, {"partial", false}, {"names", found.size()}};
        if (n < acknowledged + told)
            differences += fmt::format("; {}: {}", n, differs);
        const Plan p = model.plan();
        if (!changes_contents(p.op)) {
            model.apply(p);
            continue;
        }
        const Inode *target = model.state().at(p.a).get();
        const std::vector<uint8_t> before = target->data;
        model.apply(p);
        if (difference(found, model.state(), target, before).empty())
            return {{"state", n}, {"partial", true}, {"names", found.size()}};
    }
    throw std::runtime_error(
        fmt::format("{}: no state from {} on fits{}", directory, acknowledged, differences));
}

} // namespace

int main(int argc, char **argv) {
    CLI::App app{"Operations on files, and what a power cut left of them"};
    std::string directory;
    uint64_t seed = 0, acknowledged = 0;
    bool remote = false;
    app.require_subcommand(1);
    app.add_flag("--remote", remote, "Only what a peer can do");
    app.add_option("--seed", seed)->required();
    auto *running = app.add_subcommand("run", "Make DIR and work in it until killed");
    running->add_option("dir", directory)->required();
    auto *verifying = app.add_subcommand("verify", "Which state has DIR?");
    verifying->add_option("dir", directory)->required();
    verifying->add_option("--acknowledged", acknowledged)->required();
    CLI11_PARSE(app, argc, argv);
    try {
        if (*running)
            run(directory, seed, remote);
        fmt::print("{}\n", verify(directory, seed, remote, acknowledged).dump());
    } catch (const std::exception &error) {
        fmt::print(stderr, "churn: {}\n", error.what());
        return 1;
    }
    return 0;
}
