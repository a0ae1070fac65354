// CRC32C (Castagnoli polynomial 0x1EDC6F41), as in iSCSI (RFC 3720, appendix B.4) and TensorBoard records.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace octavo {

/// CRC32C of `data`, going on from `crc`, the value for the bytes before (0 at the start).
std::uint32_t crc32c(std::span<const std::byte> data, std::uint32_t crc = 0);

/// The same without the CPU's instruction; tests compare the two.
std::uint32_t crc32c_portable(std::span<const std::byte> data, std::uint32_t crc = 0);

/// Eight lower-case hexadecimal digits.
std::string crc_text(std::uint32_t crc);

}  // namespace octavo
