/* SPDX-License-Identifier: GPL-2.0 */
// Frames that nobody asked for: of every length, of many kinds, to the board's
// own address, to everybody, and to the stream addresses seen to pass.
#pragma once

#include "impair.h"

#include <set>

namespace wire {

struct FloodSettings {
    double per_second = 0;
    uint64_t frames = 0; // left to send
    uint16_t data_type = 0x88b5;
    uint16_t command_type = 0x88b6;
    std::vector<Mac> to; // beside broadcast and the stream addresses
    bool streams = true; // also to addresses data frames were seen to go to
};

class Flood {
  public:
    explicit Flood(uint64_t seed) : random(seed) {}
    void start(const FloodSettings &s, uint64_t seed, uint64_t now_us);
    bool active() const { return settings.frames && settings.per_second > 0; }
    // Learns stream addresses from what passes towards the same board.
    void see(const Frame &frame);
    std::optional<Frame> next(uint64_t now_us);
    uint64_t next_us() const { return at_us; }
    uint64_t sent() const { return count; }
    uint64_t sent_to_streams() const { return stream_count; }

  private:
    Frame make();
    FloodSettings settings;
    Random random;
    std::deque<Mac> streams; // the newest few: the current stream's are among them
    uint64_t at_us = 0;
    uint64_t count = 0;
    uint64_t stream_count = 0;
};

} // namespace wire
