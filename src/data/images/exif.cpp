// The orientation in EXIF data: TIFF 6.0, entries of the first directory.
#include "data/images/codec.h"

namespace octavo {
namespace {

constexpr std::uint32_t orientation_tag = 0x0112, type_short = 3;
constexpr std::size_t entry_bytes = 12;

/// Numbers of a TIFF structure; what lies outside reads as 0.
struct Tiff {
  std::span<const std::uint8_t> bytes;
  bool big_endian;

  std::uint32_t number(std::size_t at, std::size_t count) const {
    if (at > bytes.size() || count > bytes.size() - at) return 0;
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < count; ++i) value = value << 8 | bytes[at + (big_endian ? i : count - 1 - i)];
    return value;
  }
};

}  // namespace

int exif_orientation(std::span<const std::uint8_t> tiff) {
  if (tiff.size() < 8 || tiff[0] != tiff[1] || (tiff[0] != 'I' && tiff[0] != 'M')) return 1;
  const Tiff in{tiff, tiff[0] == 'M'};
  if (in.number(2, 2) != 42) return 1;
  const std::size_t directory = in.number(4, 4);
  const std::size_t entries = in.number(directory, 2);
  for (std::size_t i = 0; i < entries; ++i) {
    const std::size_t entry = directory + 2 + i * entry_bytes;
    if (in.number(entry, 2) != orientation_tag || in.number(entry + 2, 2) != type_short) continue;
    const std::uint32_t value = in.number(entry + 8, 2);
    return value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
  }
  return 1;
}

}  // namespace octavo
