// Images that the tests draw, and their JPEG and PNG files.
#pragma once

#include <cstdio>
// Needs the types of cstdio.
#include <jpeglib.h>
#include <png.h>

#include <cmath>
#include <filesystem>

#include "data_support.h"

namespace data_test {

/// u8 [h, w, c] in memory.
struct Picture {
  int h = 0, w = 0, c = 3;
  Bytes pixels;
  std::uint8_t& at(int y, int x, int channel) {
    return pixels[static_cast<std::size_t>((y * w + x) * c + channel)];
  }
  int at(int y, int x, int channel) const { return const_cast<Picture&>(*this).at(y, x, channel); }
};

/// Smooth in both directions, another one for each `kind`: JPEG changes it by a few levels at most.
inline Picture gradient(int h, int w, int c = 3, int kind = 0) {
  Picture picture{h, w, c, Bytes(static_cast<std::size_t>(h * w * c))};
  for (int y = 0; y < h; ++y)
    for (int x = 0; x < w; ++x)
      for (int channel = 0; channel < c; ++channel) {
        const double u = static_cast<double>(x) / w, v = static_cast<double>(y) / h;
        const double wave = std::sin(3 * (u + 0.3 * channel) + kind) * std::cos(2 * v + 0.7 * kind);
        picture.at(y, x, channel) = static_cast<std::uint8_t>(40 + 80 * v + 50 * u + 40 * wave);
      }
  return picture;
}

/// EXIF data, from the TIFF header on, that hold an orientation.
inline Bytes exif_with(int orientation) {
  return {'M',  'M',  0, 42, 0, 0, 0, 8, 0, 1,
          0x01, 0x12, 0, 3,  0, 0, 0, 1, 0, static_cast<std::uint8_t>(orientation),
          0,    0,    0, 0,  0, 0};
}

struct JpegStyle {
  int quality = 95;
  bool progressive = false;
  int orientation = 0;  // 0: no EXIF
};

/// One channel gives a gray file, four a CMYK one that holds the values as they are.
inline Bytes jpeg_file(const Picture& picture, const JpegStyle& style = {}) {
  jpeg_compress_struct info{};
  jpeg_error_mgr errors{};
  info.err = jpeg_std_error(&errors);
  jpeg_create_compress(&info);
  unsigned char* out = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&info, &out, &size);
  info.image_height = static_cast<unsigned>(picture.h);
  info.image_width = static_cast<unsigned>(picture.w);
  info.input_components = picture.c;
  info.in_color_space = picture.c == 1 ? JCS_GRAYSCALE : picture.c == 3 ? JCS_RGB : JCS_CMYK;
  jpeg_set_defaults(&info);
  jpeg_set_quality(&info, style.quality, TRUE);
  if (style.progressive) jpeg_simple_progression(&info);
  jpeg_start_compress(&info, TRUE);
  if (style.orientation > 0) {
    Bytes marker{'E', 'x', 'i', 'f', 0, 0};
    const Bytes tiff = exif_with(style.orientation);
    marker.insert(marker.end(), tiff.begin(), tiff.end());
    jpeg_write_marker(&info, JPEG_APP0 + 1, marker.data(), static_cast<unsigned>(marker.size()));
  }
  for (int y = 0; y < picture.h; ++y) {
    auto* row =
        const_cast<std::uint8_t*>(&picture.pixels[static_cast<std::size_t>(y * picture.w * picture.c)]);
    jpeg_write_scanlines(&info, &row, 1);
  }
  jpeg_finish_compress(&info);
  jpeg_destroy_compress(&info);
  Bytes bytes(out, out + size);
  std::free(out);
  return bytes;
}

struct PngStyle {
  int depth = 8;  // 16: each value v becomes v * 257
  bool interlaced = false;
  int orientation = 0;
};

/// One to four channels: gray, gray with alpha, RGB, RGBA.
inline Bytes png_file(const Picture& picture, const PngStyle& style = {}) {
  const int types[] = {PNG_COLOR_TYPE_GRAY, PNG_COLOR_TYPE_GRAY_ALPHA, PNG_COLOR_TYPE_RGB,
                       PNG_COLOR_TYPE_RGBA};
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, nullptr);
  png_infop info = png_create_info_struct(png);
  Bytes bytes;
  png_set_write_fn(
      png, &bytes,
      [](png_structp of, png_bytep data, std::size_t count) {
        auto& to = *static_cast<Bytes*>(png_get_io_ptr(of));
        to.insert(to.end(), data, data + count);
      },
      [](png_structp) {});
  png_set_IHDR(png, info, static_cast<unsigned>(picture.w), static_cast<unsigned>(picture.h), style.depth,
               types[picture.c - 1], style.interlaced ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE,
               PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  Bytes exif = exif_with(style.orientation);
  if (style.orientation > 0) png_set_eXIf_1(png, info, static_cast<unsigned>(exif.size()), exif.data());
  Bytes samples;
  for (const std::uint8_t value : picture.pixels)
    samples.insert(samples.end(), style.depth == 16 ? 2 : 1, value);
  const std::size_t row = samples.size() / static_cast<std::size_t>(picture.h);
  std::vector<png_bytep> rows;
  for (int y = 0; y < picture.h; ++y) rows.push_back(&samples[static_cast<std::size_t>(y) * row]);
  png_set_rows(png, info, rows.data());
  png_write_png(png, info, PNG_TRANSFORM_IDENTITY, nullptr);
  png_destroy_write_struct(&png, &info);
  return bytes;
}

/// One row of 16 pixels with the palette entries 0, 1, 2, 3, 0, ...; entry i is (10 i, 20 i, 30 i), the first
/// one transparent.
/// Rows from the bottom up unless `top_down`, blue first, each a multiple of four bytes.
inline Bytes bmp_file(const Picture& picture, int bits, bool top_down = false) {
  const auto row = static_cast<std::size_t>((picture.w * bits + 31) / 32 * 4),
             h = static_cast<std::size_t>(picture.h);
  Bytes file{'B', 'M'};
  const auto put = [&file](std::int64_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) file.push_back(static_cast<std::uint8_t>(value >> (8 * i)));
  };
  put(static_cast<std::int64_t>(54 + row * h), 4), put(0, 4), put(54, 4);
  put(40, 4), put(picture.w, 4), put(top_down ? -picture.h : picture.h, 4);
  put(1, 2), put(bits, 2), put(0, 4), put(0, 4), put(0, 16);
  for (int y = 0; y < picture.h; ++y) {
    const std::size_t begin = file.size();
    for (int x = 0; x < picture.w; ++x) {
      for (int c = 2; c >= 0; --c) file.push_back(picture.at(top_down ? y : picture.h - 1 - y, x, c));
      if (bits == 32) file.push_back(255);
    }
    file.resize(begin + row);
  }
  return file;
}

inline Bytes palette_png_file() {
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  image.width = 16;
  image.height = 1;
  image.format = PNG_FORMAT_RGBA_COLORMAP;
  image.colormap_entries = 4;
  Bytes indices(16), colours, bytes(1000);
  for (std::size_t i = 0; i < 16; ++i) indices[i] = static_cast<std::uint8_t>(i % 4);
  for (int i = 0; i < 4; ++i)
    for (int value : {10 * i, 20 * i, 30 * i, i == 0 ? 0 : 255})
      colours.push_back(static_cast<std::uint8_t>(value));
  png_alloc_size_t size = bytes.size();
  REQUIRE(png_image_write_to_memory(&image, bytes.data(), &size, 0, indices.data(), 0, colours.data()) != 0);
  bytes.resize(size);
  return bytes;
}

/// Writes a file and the folders above it.
inline void put_file(const fs::path& path, const Bytes& bytes) {
  fs::create_directories(path.parent_path());
  write_file(path, bytes);
}

}  // namespace data_test
