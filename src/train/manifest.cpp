// The manifest as canonical JSON: one content has one text, so a flipped bit cannot hide in spelling or
// blanks.
#include "train/manifest.h"

#include <charconv>
#include <nlohmann/json.hpp>

#include "core/check.h"
#include "train/crc32c.h"
#include "train/strict_json.h"

namespace octavo {
namespace {

constexpr int format_version = 1;

std::uint32_t checksum(const nlohmann::json& body) {
  const std::string text = body.dump();
  return crc32c(std::as_bytes(std::span(text)));
}

std::uint32_t parse_crc(const std::string& text) {
  std::uint32_t crc = 0;
  std::from_chars(text.data(), text.data() + text.size(), crc, 16);
  return crc;
}

ManifestFile parse_file(const nlohmann::json& value) {
  ManifestFile file{value.at("bytes"), parse_crc(value.at("crc32c")), {}};
  if (!value.contains("tensors")) return file;
  for (const auto& [name, crc] : value["tensors"].items()) file.tensor_crc32c[name] = parse_crc(crc);
  return file;
}

}  // namespace

std::string manifest_text(const Manifest& manifest) {
  nlohmann::json body = {
      {"format", "octavo checkpoint"}, {"format_version", format_version}, {"step", manifest.step}};
  for (const auto& [name, file] : manifest.files) {
    nlohmann::json& entry = body["files"][name];
    entry = {{"bytes", file.bytes}, {"crc32c", crc_text(file.crc32c)}};
    for (const auto& [tensor, crc] : file.tensor_crc32c) entry["tensors"][tensor] = crc_text(crc);
  }
  body["crc32c"] = crc_text(checksum(body));
  return body.dump(1) + "\n";
}

Manifest parse_manifest(const std::string& text, const std::string& where) {
  nlohmann::json body = parse_strict_json(text, where, 1 << 20);
  try {
    require(body.dump(1) + "\n" == text, Errc::checkpoint, where,
            ": is not in the form octavo writes; damaged");
    const std::string crc = body.at("crc32c");
    body.erase("crc32c");
    require(crc == crc_text(checksum(body)), Errc::checkpoint, where, ": checksum ", crc,
            " does not fit; damaged");
    require(body.at("format") == "octavo checkpoint", Errc::checkpoint, where,
            ": belongs to no octavo checkpoint");
    require(body.at("format_version") == format_version, Errc::checkpoint, where, ": format version ",
            body.at("format_version").dump(), " is unknown to this build (it reads ", format_version,
            "); use the version of octavo that wrote it");
    Manifest manifest{body.at("step"), {}};
    for (const auto& [name, value] : body.at("files").items()) manifest.files[name] = parse_file(value);
    return manifest;
  } catch (const nlohmann::json::exception& error) {
    fail(Errc::checkpoint, where, ": a field is missing or of the wrong type: ", error.what());
  }
}

}  // namespace octavo
