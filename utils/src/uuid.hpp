// SPDX-License-Identifier: GPL-2.0
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace rzcfs {

using uuid = std::array<std::uint8_t, 16>;

uuid random_uuid();
std::optional<uuid> parse_uuid(std::string_view text);
std::string to_string(const uuid &u);

// Bytes that nobody can guess.
void random_bytes(void *to, std::size_t length);

} // namespace rzcfs
