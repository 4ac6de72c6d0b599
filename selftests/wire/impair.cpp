// SPDX-License-Identifier: GPL-2.0
#include "impair.h"

#include <algorithm>

namespace wire {

constexpr uint64_t longest_hold_us = 5000;

uint64_t Random::next() {
    uint64_t z = state += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

void Impairment::queue(Frame frame, uint64_t now_us, const Send &send) {
    if (settings.delay_us || !delayed.empty())
        delayed.push_back({std::move(frame), now_us + settings.delay_us, 0});
    else
        send(std::move(frame));
}

void Impairment::pass(Frame frame, uint64_t now_us, const Send &send) {
    if (settings.cut) {
        counts.dropped++;
        return;
    }
    if (settings.type >= 0 && ethertype(frame) != settings.type) {
        queue(std::move(frame), now_us, send);
        return;
    }
    if (random.chance(settings.drop)) {
        counts.dropped++;
        return;
    }
    if (random.chance(settings.corrupt) && frame.size() > 12) {
        counts.corrupted++;
        frame[12 + random.below(frame.size() - 12)] ^= 1 << random.below(8);
    }
    const bool twice = random.chance(settings.duplicate);
    if (random.chance(settings.reorder)) {
        counts.reordered++;
        held.push_back({std::move(frame), now_us + longest_hold_us, unsigned(1 + random.below(4))});
        return;
    }
    if (twice) {
        counts.duplicated++;
        queue(frame, now_us, send);
    }
    queue(std::move(frame), now_us, send);
    for (auto &h : held)
        h.passes--;
    due(now_us, send);
}

std::optional<uint64_t> Impairment::due(uint64_t now_us, const Send &send) {
    std::optional<uint64_t> next;
    for (auto it = held.begin(); it != held.end();) {
        if (!it->passes || it->until_us <= now_us) {
            queue(std::move(it->frame), now_us, send);
            it = held.erase(it);
        } else {
            next = std::min(next.value_or(it->until_us), it->until_us);
            ++it;
        }
    }
    while (!delayed.empty() && delayed.front().until_us <= now_us) {
        send(std::move(delayed.front().frame));
        delayed.pop_front();
    }
    if (!delayed.empty())
        next = std::min(next.value_or(delayed.front().until_us), delayed.front().until_us);
    return next;
}

} // namespace wire
