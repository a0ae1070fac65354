// Limits of state.json that saving and loading share.
#pragma once

#include <cstdint>

namespace octavo {

inline constexpr std::int64_t max_state_bytes = 256 << 20;
inline constexpr std::int64_t max_state_values = 16 << 20;

}  // namespace octavo
