// SPDX-License-Identifier: GPL-2.0
//
// The cable between two emulated boards: each QEMU connects to one of two Unix
// sockets with `-netdev stream`. Without being told otherwise it is lossless,
// in order and holds back a sender whose receiver is slow. One command a line
// on standard input, one line of JSON on standard output for each:
//
//   set 1to2|2to1|both [drop=P] [dup=P] [reorder=P] [corrupt=P] [delay_us=N]
//                      [type=0x88b5] [seed=N]      what is not named is off
//   cut 1to2|2to1|both          nothing passes until the next `set`
//   flood 1|2 rate=PER_SECOND frames=N [to=MAC,MAC] [streams=0|1] [seed=N]
//         [data=0x88b5] [command=0x88b6]           frames=0 ends it
//   pcap FILE | pcap off
//   stats
//
// It ends with its standard input.
#include "flood.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <memory>
#include <sstream>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

using nlohmann::json;

namespace {

constexpr size_t queue_limit = 256 * 1024; // bytes towards a slow board

uint64_t now_us() {
    using namespace std::chrono;
    return duration_cast<microseconds>(steady_clock::now().time_since_epoch()).count();
}

int listen_on(const std::string &path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof(address.sun_path))
        throw std::runtime_error("socket path too long: " + path);
    strcpy(address.sun_path, path.c_str());
    unlink(path.c_str());
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || bind(fd, reinterpret_cast<sockaddr *>(&address), sizeof(address)) ||
        listen(fd, 1))
        throw std::runtime_error(path + ": " + strerror(errno));
    return fd;
}

// One board's end of the cable.
class Port {
  public:
    explicit Port(const std::string &path) : listener(listen_on(path)) {}

    bool connected() const { return fd >= 0; }
    bool full() const { return queued > queue_limit; }

    void accept_one() {
        const int peer = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (peer < 0)
            return;
        disconnect();
        fd = peer;
    }

    void disconnect() {
        if (fd >= 0)
            close(fd);
        fd = -1;
        queue.clear();
        queued = 0;
        deframer = {};
    }

    void send(const wire::Frame &frame) {
        if (!connected())
            return;
        queue.push_back(wire::enframe(frame));
        queued += queue.back().size();
        flush();
    }

    void flush() {
        while (!queue.empty()) {
            auto &bytes = queue.front();
            const ssize_t n = write(fd, bytes.data(), bytes.size());
            if (n < 0) {
                if (errno != EAGAIN)
                    disconnect();
                return;
            }
            queued -= n;
            if (size_t(n) < bytes.size()) {
                bytes.erase(bytes.begin(), bytes.begin() + n);
                return;
            }
            queue.pop_front();
        }
    }

    template <typename Each> void receive(Each each) {
        uint8_t buffer[65536];
        const ssize_t n = read(fd, buffer, sizeof(buffer));
        if (n == 0 || (n < 0 && errno != EAGAIN)) {
            disconnect();
            return;
        }
        if (n < 0)
            return;
        deframer.feed(buffer, n);
        while (auto frame = deframer.next())
            each(std::move(*frame));
        if (deframer.broken())
            disconnect();
    }

    const int listener;
    int fd = -1;
    bool pending() const { return !queue.empty(); }

  private:
    wire::Deframer deframer;
    std::deque<std::vector<uint8_t>> queue;
    size_t queued = 0;
};

// Words of the form name=value.
std::map<std::string, std::string> options(std::istringstream &words) {
    std::map<std::string, std::string> found;
    for (std::string word; words >> word;) {
        const size_t eq = word.find('=');
        if (eq == std::string::npos)
            throw std::runtime_error("not name=value: " + word);
        found[word.substr(0, eq)] = word.substr(eq + 1);
    }
    return found;
}

class Cable {
  public:
    Cable(const std::string &one, const std::string &two) : ports{Port(one), Port(two)} {}

    void run() {
        for (bool open = true; open;) {
            const auto wake = timers();
            pollfd fds[5] = {{0, POLLIN, 0}};
            for (int i = 0; i < 2; i++) {
                const bool hold = ports[!i].connected() && ports[!i].full();
                fds[1 + i] = {ports[i].listener, POLLIN, 0};
                fds[3 + i] = {ports[i].fd,
                              short((hold ? 0 : POLLIN) | (ports[i].pending() ? POLLOUT : 0)), 0};
            }
            const timespec time{long(wake / 1000000), long(wake % 1000000) * 1000};
            if (ppoll(fds, std::size(fds), &time, nullptr) < 0)
                continue;
            for (int i = 0; i < 2; i++) {
                if (fds[3 + i].revents & POLLOUT)
                    ports[i].flush();
                if (ports[i].connected() && fds[3 + i].revents & (POLLIN | POLLHUP))
                    ports[i].receive([&](wire::Frame f) { carry(i, std::move(f)); });
                if (fds[1 + i].revents)
                    ports[i].accept_one();
            }
            if (fds[0].revents)
                open = control();
        }
    }

    json stats() const {
        json all;
        for (int i = 0; i < 2; i++) {
            const auto &done = impairments[i].done();
            json direction = {{"dropped", done.dropped},
                              {"duplicated", done.duplicated},
                              {"reordered", done.reordered},
                              {"corrupted", done.corrupted},
                              {"flooded", floods[!i].sent()},
                              {"flooded_to_streams", floods[!i].sent_to_streams()},
                              {"types", json::object()}};
            for (const auto &[type, count] : counters[i].by_type())
                direction["types"][fmt::format("{:04x}", type)] = {
                    {"frames", count.frames}, {"bytes", count.bytes}, {"shortest", count.shortest}};
            all[i ? "2to1" : "1to2"] = direction;
        }
        return all;
    }

  private:
    void deliver(int from, const wire::Frame &frame) {
        if (pcap)
            pcap->write(frame, now_us());
        ports[!from].send(frame);
    }

    // A board's frame: counted as sent, then whatever the cable does to it.
    void carry(int from, wire::Frame frame) {
        counters[from].add(frame);
        floods[!from].see(frame);
        impairments[from].pass(std::move(frame), now_us(),
                               [&](wire::Frame f) { deliver(from, f); });
    }

    // What is due now goes out; gives the time to sleep.
    uint64_t timers() {
        const uint64_t now = now_us();
        uint64_t until = now + 1000000;
        for (int i = 0; i < 2; i++) {
            const auto send = [&](wire::Frame f) { deliver(i, f); };
            if (const auto next = impairments[i].due(now, send))
                until = std::min(until, *next);
            wire::Flood &flood = floods[!i]; // towards the other board
            while (!ports[!i].full()) {
                const auto frame = flood.next(now);
                if (!frame)
                    break;
                deliver(i, *frame);
            }
            if (flood.active())
                until = std::min(until, ports[!i].full() ? now + 1000 : flood.next_us());
        }
        return until > now ? until - now : 0;
    }

    bool control() {
        char buffer[4096];
        const ssize_t n = read(0, buffer, sizeof(buffer));
        if (n <= 0)
            return false;
        input.append(buffer, n);
        for (size_t end; (end = input.find('\n')) != std::string::npos;) {
            json answer;
            try {
                answer = command(input.substr(0, end));
            } catch (const std::exception &e) {
                answer = {{"error", e.what()}};
            }
            input.erase(0, end + 1);
            fmt::print("{}\n", answer.dump());
            fflush(stdout);
        }
        return true;
    }

    json command(const std::string &line) {
        std::istringstream words(line);
        std::string verb, what;
        words >> verb >> what;
        if (verb == "stats")
            return stats();
        if (verb == "pcap") {
            pcap.reset(what == "off" ? nullptr : new wire::Pcap(what));
            if (pcap && !pcap->ok())
                throw std::runtime_error("cannot write " + what);
        } else if (verb == "set" || verb == "cut") {
            set(what, options(words), verb == "cut");
        } else if (verb == "flood" && (what == "1" || what == "2")) {
            flood(floods[what == "2"], options(words));
        } else {
            throw std::runtime_error("unknown command: " + line);
        }
        return {{"ok", true}};
    }

    void set(const std::string &direction, const std::map<std::string, std::string> &opts,
             bool cut) {
        wire::Settings s;
        std::optional<uint64_t> seed;
        s.cut = cut;
        for (const auto &[name, value] : opts) {
            if (name == "drop")
                s.drop = std::stod(value);
            else if (name == "dup")
                s.duplicate = std::stod(value);
            else if (name == "reorder")
                s.reorder = std::stod(value);
            else if (name == "corrupt")
                s.corrupt = std::stod(value);
            else if (name == "delay_us")
                s.delay_us = std::stoull(value);
            else if (name == "type")
                s.type = std::stoi(value, nullptr, 0);
            else if (name == "seed")
                seed = std::stoull(value);
            else
                throw std::runtime_error("unknown option: " + name);
        }
        if (direction != "1to2" && direction != "2to1" && direction != "both")
            throw std::runtime_error("no such direction: " + direction);
        for (int i = 0; i < 2; i++) {
            if (direction == (i ? "1to2" : "2to1"))
                continue;
            impairments[i].configure(s);
            if (seed)
                impairments[i].seed(*seed + i);
        }
    }

    void flood(wire::Flood &to, const std::map<std::string, std::string> &opts) {
        wire::FloodSettings s;
        uint64_t seed = 1;
        for (const auto &[name, value] : opts) {
            if (name == "rate")
                s.per_second = std::stod(value);
            else if (name == "frames")
                s.frames = std::stoull(value);
            else if (name == "streams")
                s.streams = value != "0";
            else if (name == "seed")
                seed = std::stoull(value);
            else if (name == "data")
                s.data_type = std::stoul(value, nullptr, 0);
            else if (name == "command")
                s.command_type = std::stoul(value, nullptr, 0);
            else if (name == "to")
                s.to = addresses(value);
            else
                throw std::runtime_error("unknown option: " + name);
        }
        to.start(s, seed, now_us());
    }

    static std::vector<wire::Mac> addresses(const std::string &list) {
        std::vector<wire::Mac> macs;
        std::istringstream items(list);
        for (std::string item; std::getline(items, item, ',');) {
            const auto mac = wire::parse_mac(item);
            if (!mac)
                throw std::runtime_error("not an address: " + item);
            macs.push_back(*mac);
        }
        return macs;
    }

    // Index 0 is board 1 and what it sends, index 1 board 2 and what it sends.
    Port ports[2];
    wire::Impairment impairments[2]{wire::Impairment(1), wire::Impairment(2)};
    wire::Counters counters[2];
    wire::Flood floods[2]{wire::Flood(3), wire::Flood(4)}; // towards that board
    std::unique_ptr<wire::Pcap> pcap;
    std::string input;
};

} // namespace

int main(int argc, char **argv) {
    CLI::App app{"The cable between two emulated boards"};
    std::string one, two;
    app.add_option("one", one, "Unix socket that board 1 connects to")->required();
    app.add_option("two", two, "Unix socket that board 2 connects to")->required();
    CLI11_PARSE(app, argc, argv);
    signal(SIGPIPE, SIG_IGN);
    try {
        Cable cable(one, two);
        fmt::print("{}\n", R"({"ok":true})");
        fflush(stdout);
        cable.run();
        fmt::print("{}\n", cable.stats().dump());
    } catch (const std::exception &e) {
        fmt::print(stderr, "wire: {}\n", e.what());
        return 1;
    }
}
