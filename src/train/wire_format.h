// Protocol buffers' wire format, writing only: the few kinds of field that event files need
// (protobuf.dev/programming-guides/encoding).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace octavo {

/// Collects the fields of one message, in the order of the calls.
class WireMessage {
 public:
  WireMessage& integer(int field, std::int64_t value);  ///< int32, int64, enum
  WireMessage& real64(int field, double value);         ///< double
  WireMessage& real32(int field, float value);          ///< float
  WireMessage& bytes(int field, std::string_view value);
  WireMessage& message(int field, const WireMessage& value) { return bytes(field, value.data()); }
  WireMessage& packed(int field, std::span<const double> values);  ///< repeated double

  const std::string& data() const { return data_; }

 private:
  void varint(std::uint64_t value);
  void fixed(std::uint64_t bits, int size);  // little endian
  void key(int field, int wire_type);

  std::string data_;
};

}  // namespace octavo
