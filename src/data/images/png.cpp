// PNG through libpng.
#include <png.h>

#include <algorithm>

#include "core/check.h"
#include "data/images/codec.h"

namespace octavo {
namespace {

constexpr png_alloc_size_t largest_chunk = 8 << 20;  // of text, profiles and the like, unpacked
constexpr png_uint_32 most_chunks = 1000;

[[noreturn]] void on_error(png_structp png, png_const_charp text) {
  leave_codec(*static_cast<CodecError*>(png_get_error_ptr(png)), text);
}

void on_warning(png_structp, png_const_charp) {}  // libpng warns of what concerns no pixel

class PngReader {
 public:
  explicit PngReader(const ImageFile& file) : file_(file), left_(file.bytes) {}
  ~PngReader() { png_destroy_read_struct(&png_, &info_, nullptr); }
  PngReader(const PngReader&) = delete;
  PngReader& operator=(const PngReader&) = delete;

  ImageHeader header() {
    guarded([this] {
      png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, &error_, on_error, on_warning);
      info_ = png_ != nullptr ? png_create_info_struct(png_) : nullptr;
    });
    require(info_ != nullptr, Errc::resource, file_.name, ": libpng cannot start: out of memory");
    guarded([this] {
      png_set_chunk_malloc_max(png_, largest_chunk);
      png_set_chunk_cache_max(png_, most_chunks);
      png_set_user_limits(png_, largest_image_pixels, largest_image_pixels);
      png_set_read_fn(png_, this, [](png_structp png, png_bytep out, std::size_t count) {
        static_cast<PngReader*>(png_get_io_ptr(png))->take(out, count);
      });
      png_read_info(png_, info_);
    });
    const ImageHeader header{png_get_image_height(png_, info_), png_get_image_width(png_, info_),
                             orientation()};
    check_image_size(file_, header, 3);
    return header;
  }

  DecodedImage decode(const ImageHeader& header) {
    int passes = 1;
    guarded([this, &passes] {
      png_set_expand(png_);
      png_set_scale_16(png_);
      png_set_strip_alpha(png_);
      png_set_gray_to_rgb(png_);
      passes = png_set_interlace_handling(png_);
      png_read_update_info(png_, info_);
    });
    const std::int64_t row = header.w * 3;
    require(png_get_rowbytes(png_, info_) == static_cast<std::size_t>(row), Errc::internal, file_.name,
            ": libpng gives ", png_get_rowbytes(png_, info_), " bytes a row, not ", row);
    DecodedImage image{header.h, header.w, nullptr, 1};
    // Cleared, as each pass of an interlaced file fills a part.
    image.rgb = std::make_unique<std::uint8_t[]>(static_cast<std::size_t>(header.h * row));
    guarded([this, passes, row, h = header.h, pixels = image.rgb.get()] {
      for (int pass = 0; pass < passes; ++pass)
        for (std::int64_t y = 0; y < h; ++y) png_read_row(png_, pixels + y * row, nullptr);
      png_read_end(png_, nullptr);
    });
    return image;
  }

 private:
  template <class Calls>
  void guarded(const Calls& calls) {
    if (!completes(error_, calls)) fail_damaged(file_, "PNG", error_.text);
  }

  void take(png_bytep out, std::size_t count) {
    if (count > left_.size()) png_error(png_, "it ends early");
    std::copy_n(left_.begin(), count, out);
    left_ = left_.subspan(count);
  }

  int orientation() {
    png_uint_32 size = 0;
    png_bytep exif = nullptr;
    if (png_get_eXIf_1(png_, info_, &size, &exif) == 0) return 1;
    return exif_orientation({exif, size});
  }

  const ImageFile& file_;
  std::span<const std::uint8_t> left_;
  CodecError error_;
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
};

}  // namespace

DecodedImage decode_png(const ImageFile& file, const ChooseShrink& choose) {
  PngReader reader(file);
  const ImageHeader header = reader.header();
  choose(header);
  return reader.decode(header);
}

}  // namespace octavo
