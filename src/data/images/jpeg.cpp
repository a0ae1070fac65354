// JPEG through libjpeg-turbo.
#include <cstdio>
// Needs the types of cstdio.
#include <jpeglib.h>
// Needs the types of jpeglib.h.
#include <jerror.h>

#include <algorithm>

#include "core/check.h"
#include "data/images/codec.h"

namespace octavo {
namespace {

constexpr int most_scans = 500;  // each scan of a progressive file costs a pass over all pixels
constexpr char exif_mark[] = {'E', 'x', 'i', 'f', 0, 0};

CodecError& error_of(j_common_ptr info) { return *static_cast<CodecError*>(info->client_data); }

[[noreturn]] void on_error(j_common_ptr info) {
  char text[JMSG_LENGTH_MAX];
  info->err->format_message(info, text);
  leave_codec(error_of(info), text);
}

/// Warnings stand for pixels that the library made up; a few common ones concern no pixel.
void on_message(j_common_ptr info, int level) {
  if (level >= 0) return;
  switch (info->err->msg_code) {
    case JWRN_ADOBE_XFORM:
    case JWRN_EXTRANEOUS_DATA:
    case JWRN_JFIF_MAJOR:
    case JWRN_TOO_MUCH_DATA:
      return;
    default:
      on_error(info);
  }
}

void on_progress(j_common_ptr info) {
  if (reinterpret_cast<j_decompress_ptr>(info)->input_scan_number > most_scans)
    leave_codec(error_of(info), "more scans than any encoder writes");
}

/// Pillow and Photoshop store CMYK inverted, so that 255 is no ink.
void cmyk_to_rgb(const std::uint8_t* cmyk, std::int64_t pixels, std::uint8_t* rgb) {
  for (std::int64_t i = 0; i < pixels; ++i, cmyk += 4, rgb += 3)
    for (int c = 0; c < 3; ++c) rgb[c] = static_cast<std::uint8_t>((cmyk[c] * cmyk[3] + 127) / 255);
}

class JpegReader {
 public:
  explicit JpegReader(const ImageFile& file) : file_(file) {
    info_.err = jpeg_std_error(&manager_);
    info_.client_data = &error_;
    manager_.error_exit = on_error;
    manager_.emit_message = on_message;
    progress_.progress_monitor = on_progress;
  }
  ~JpegReader() { jpeg_destroy_decompress(&info_); }  // also good before anything was created
  JpegReader(const JpegReader&) = delete;
  JpegReader& operator=(const JpegReader&) = delete;

  ImageHeader header() {
    guarded([this] {
      jpeg_create_decompress(&info_);
      info_.progress = &progress_;
      jpeg_mem_src(&info_, file_.bytes.data(), static_cast<unsigned long>(file_.bytes.size()));
      jpeg_save_markers(&info_, JPEG_APP0 + 1, 0xFFFF);
      jpeg_read_header(&info_, TRUE);
    });
    const ImageHeader header{info_.image_height, info_.image_width, orientation()};
    // Files of several scans keep all coefficients, of 2 bytes.
    const std::int64_t coefficients = jpeg_has_multiple_scans(&info_) ? 2 * info_.num_components : 0;
    check_image_size(file_, header, 3 + coefficients);
    return header;
  }

  DecodedImage decode(int shrink) {
    const bool cmyk = info_.jpeg_color_space == JCS_CMYK || info_.jpeg_color_space == JCS_YCCK;
    guarded([this, cmyk, shrink] {
      info_.out_color_space = cmyk ? JCS_CMYK : JCS_RGB;
      info_.dct_method = JDCT_ISLOW;  // the same integers on every instruction set
      info_.scale_num = 1;
      info_.scale_denom = static_cast<unsigned>(shrink);
      jpeg_start_decompress(&info_);
    });
    DecodedImage image{info_.output_height, info_.output_width, nullptr, shrink};
    const std::int64_t row = image.w * 3;
    image.rgb = std::make_unique_for_overwrite<std::uint8_t[]>(static_cast<std::size_t>(image.h * row));
    std::unique_ptr<std::uint8_t[]> ink(new std::uint8_t[static_cast<std::size_t>(cmyk ? image.w * 4 : 1)]);
    guarded([this, cmyk, row, pixels = image.rgb.get(), line = ink.get()] {
      while (info_.output_scanline < info_.output_height) {
        std::uint8_t* out = pixels + info_.output_scanline * row;
        JSAMPROW target = cmyk ? line : out;
        jpeg_read_scanlines(&info_, &target, 1);
        if (cmyk) cmyk_to_rgb(line, info_.output_width, out);
      }
      jpeg_finish_decompress(&info_);
    });
    return image;
  }

 private:
  template <class Calls>
  void guarded(const Calls& calls) {
    if (!completes(error_, calls)) fail_damaged(file_, "JPEG", error_.text);
  }

  int orientation() const {
    for (jpeg_saved_marker_ptr marker = info_.marker_list; marker != nullptr; marker = marker->next) {
      const std::span<const std::uint8_t> data(marker->data, marker->data_length);
      if (data.size() > sizeof exif_mark && std::equal(exif_mark, std::end(exif_mark), data.begin()))
        return exif_orientation(data.subspan(sizeof exif_mark));
    }
    return 1;
  }

  const ImageFile& file_;
  CodecError error_;
  jpeg_error_mgr manager_{};
  jpeg_progress_mgr progress_{};
  jpeg_decompress_struct info_{};
};

}  // namespace

DecodedImage decode_jpeg(const ImageFile& file, const ChooseShrink& choose) {
  JpegReader reader(file);
  return reader.decode(choose(reader.header()));
}

}  // namespace octavo
