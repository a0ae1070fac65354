// What the decoders of the formats share. Both C libraries report an error by not returning: it becomes a
// longjmp to `completes`, below which no object with a destructor may live.
#pragma once

#include <csetjmp>
#include <cstring>

#include "data/images/decode.h"

namespace octavo {

/// One file on its way through a decoder.
struct ImageFile {
  std::span<const std::uint8_t> bytes;
  const std::string& name;
  std::int64_t memory;  // that decoding may take
};

struct CodecError {
  std::jmp_buf jump;
  char text[256] = "";
};

/// Stores the text and leaves the library.
[[noreturn]] inline void leave_codec(CodecError& error, const char* text) {
  std::strncpy(error.text, text, sizeof error.text - 1);
  std::longjmp(error.jump, 1);
}

/// False when a call of the library left through leave_codec.
template <class Calls>
bool completes(CodecError& error, const Calls& calls) {
  if (setjmp(error.jump) != 0) return false;
  calls();
  return true;
}

/// Errc::data for more pixels than allowed, Errc::resource for more bytes than the memory has.
void check_image_size(const ImageFile& file, const ImageHeader& header, std::int64_t bytes_per_pixel);
[[noreturn]] void fail_damaged(const ImageFile& file, const char* format, const char* text);

DecodedImage decode_jpeg(const ImageFile& file, const ChooseShrink& choose);
DecodedImage decode_png(const ImageFile& file, const ChooseShrink& choose);
DecodedImage decode_bmp(const ImageFile& file, const ChooseShrink& choose);

/// The orientation that EXIF data (from their TIFF header on) hold; 1 where they hold none or are damaged.
int exif_orientation(std::span<const std::uint8_t> tiff);

}  // namespace octavo
