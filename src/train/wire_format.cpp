#include "train/wire_format.h"

#include <bit>

namespace octavo {
namespace {

constexpr int varint_type = 0, fixed64_type = 1, length_type = 2, fixed32_type = 5;

}  // namespace

void WireMessage::varint(std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) data_ += static_cast<char>((value & 0x7F) | 0x80);
  data_ += static_cast<char>(value);
}

void WireMessage::fixed(std::uint64_t bits, int size) {
  for (int i = 0; i < size; ++i) data_ += static_cast<char>(bits >> (8 * i) & 0xFF);
}

void WireMessage::key(int field, int wire_type) {
  varint(static_cast<std::uint64_t>(field) << 3 | static_cast<std::uint64_t>(wire_type));
}

WireMessage& WireMessage::integer(int field, std::int64_t value) {
  key(field, varint_type);
  varint(static_cast<std::uint64_t>(value));
  return *this;
}

WireMessage& WireMessage::real64(int field, double value) {
  key(field, fixed64_type);
  fixed(std::bit_cast<std::uint64_t>(value), 8);
  return *this;
}

WireMessage& WireMessage::real32(int field, float value) {
  key(field, fixed32_type);
  fixed(std::bit_cast<std::uint32_t>(value), 4);
  return *this;
}

WireMessage& WireMessage::bytes(int field, std::string_view value) {
  key(field, length_type);
  varint(value.size());
  data_ += value;
  return *this;
}

WireMessage& WireMessage::packed(int field, std::span<const double> values) {
  key(field, length_type);
  varint(8 * values.size());
  for (const double value : values) fixed(std::bit_cast<std::uint64_t>(value), 8);
  return *this;
}

}  // namespace octavo
