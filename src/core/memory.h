// How much memory there is, so that sizes that cannot fit are refused by name before anything is allocated.
#pragma once

#include <cstdint>
#include <string>

namespace octavo {

/// Bytes that this process can hold at most: memory and swap of the machine, or the smaller limit of its
/// control group (v2) or RLIMIT_AS.
std::int64_t memory_limit();

/// The most memory that this program held at once so far. Not ru_maxrss, which begins with what the process
/// held before exec().
std::int64_t peak_resident_bytes();

/// a + b, or the largest number where the sum does not fit 63 bits. Neither is negative.
std::int64_t saturating_add(std::int64_t a, std::int64_t b);

/// "12345678 bytes (11.8 MiB)".
std::string bytes_text(std::int64_t bytes);

}  // namespace octavo
