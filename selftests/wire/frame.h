/* SPDX-License-Identifier: GPL-2.0 */
// Ethernet frames as QEMU's `-netdev stream` carries them: four bytes of
// length, most significant first, then the frame without its FCS.
#pragma once

#include <array>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace wire {

using Frame = std::vector<uint8_t>;
using Mac = std::array<uint8_t, 6>;

constexpr size_t max_frame = 16384;

uint16_t ethertype(const Frame &frame);
std::optional<Mac> destination(const Frame &frame);
std::optional<Mac> parse_mac(const std::string &text);

// Takes bytes as they come and gives whole frames. A length that cannot be is
// the end of the stream: what follows it cannot be told apart.
class Deframer {
  public:
    void feed(const uint8_t *bytes, size_t n) { buffer.insert(buffer.end(), bytes, bytes + n); }
    std::optional<Frame> next();
    bool broken() const { return bad; }

  private:
    std::vector<uint8_t> buffer;
    size_t start = 0;
    bool bad = false;
};

std::vector<uint8_t> enframe(const Frame &frame);

struct Count {
    uint64_t frames = 0;
    uint64_t bytes = 0;
    uint64_t shortest = 0; // frames of 60 bytes, which a NOP is
};

class Counters {
  public:
    void add(const Frame &frame);
    const std::map<uint16_t, Count> &by_type() const { return counts; }

  private:
    std::map<uint16_t, Count> counts;
};

class Pcap {
  public:
    explicit Pcap(const std::string &path);
    ~Pcap();
    Pcap(const Pcap &) = delete;
    Pcap &operator=(const Pcap &) = delete;
    bool ok() const { return file; }
    void write(const Frame &frame, uint64_t microseconds);

  private:
    FILE *file;
};

} // namespace wire
