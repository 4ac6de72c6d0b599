/* SPDX-License-Identifier: GPL-2.0 */
// What a bad cable or switch does to the frames of one direction, drawn from a
// seeded generator so that a run can be repeated.
#pragma once

#include "frame.h"

#include <functional>

namespace wire {

class Random {
  public: // splitmix64
    explicit Random(uint64_t seed) : state(seed) {}
    uint64_t next();
    uint64_t below(uint64_t bound) { return next() % bound; }
    bool chance(double probability) { return (next() >> 11) * 0x1p-53 < probability; }

  private:
    uint64_t state;
};

struct Settings {
    double drop = 0;
    double duplicate = 0;
    double reorder = 0; // held back until up to four later frames have passed
    double corrupt = 0; // one bit behind the addresses, as no FCS would let through
    uint64_t delay_us = 0;
    int type = -1; // only frames of this EtherType
    bool cut = false;
};

struct Done {
    uint64_t dropped = 0;
    uint64_t duplicated = 0;
    uint64_t reordered = 0;
    uint64_t corrupted = 0;
};

class Impairment {
  public:
    using Send = std::function<void(Frame)>;
    explicit Impairment(uint64_t seed) : random(seed) {}
    void configure(const Settings &s) { settings = s; }
    void seed(uint64_t value) { random = Random(value); }
    void pass(Frame frame, uint64_t now_us, const Send &send);
    // Lets go what is due; gives the time of the next frame held back.
    std::optional<uint64_t> due(uint64_t now_us, const Send &send);
    const Done &done() const { return counts; }

  private:
    struct Held {
        Frame frame;
        uint64_t until_us;
        unsigned int passes; // frames that may still overtake it
    };
    void queue(Frame frame, uint64_t now_us, const Send &send);

    Settings settings;
    Random random;
    Done counts;
    std::deque<Held> held;    // reordered
    std::deque<Held> delayed; // in order
};

} // namespace wire
