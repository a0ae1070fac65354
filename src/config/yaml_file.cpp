// Guards in front of the YAML scanner: kind and size of the file, UTF-8, bracket depth.
#include "config/yaml_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>

#include "core/check.h"

namespace octavo {
namespace {

constexpr std::int64_t largest_file = 1 << 20;

struct Descriptor {
  int fd;
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
};

std::string kind_of(mode_t mode) {
  if (S_ISDIR(mode)) return "a folder";
  if (S_ISFIFO(mode)) return "a pipe";
  if (S_ISCHR(mode) || S_ISBLK(mode)) return "a device";
  return "not a regular file";
}

// Length of the UTF-8 sequence at `i`, or 0: overlong forms, surrogates and values above 10FFFF are refused.
std::size_t sequence_length(std::string_view text, std::size_t i) {
  const auto byte = [&](std::size_t at) {
    return static_cast<unsigned char>(at < text.size() ? text[at] : 0);
  };
  const unsigned char first = byte(i);
  if (first < 0x80) return 1;
  const std::size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4) return 0;
  for (std::size_t k = 1; k < length; ++k)
    if ((byte(i + k) & 0xC0) != 0x80) return 0;
  const unsigned char second = byte(i + 1);
  if ((first == 0xE0 && second < 0xA0) || (first == 0xED && second > 0x9F)) return 0;
  if ((first == 0xF0 && second < 0x90) || (first == 0xF4 && second > 0x8F)) return 0;
  return length;
}

// Counts open brackets outside quotes and comments. Block scalars are scanned too: a guard, not a parser.
class BracketGuard {
 public:
  // Depth after this character.
  int next(char c) {
    if (comment_) {
      comment_ = c != '\n';
    } else if (quote_ != 0) {
      if (escaped_) {
        escaped_ = false;
      } else if (c == '\\' && quote_ == '"') {
        escaped_ = true;
      } else if (c == quote_) {
        quote_ = 0;
      }
    } else {
      plain(c);
    }
    before_ = c;
    return depth_;
  }

 private:
  void plain(char c) {
    const bool starts_token = std::strchr(" \t\r\n[{,:", before_) != nullptr;
    if (c == '#' && starts_token) comment_ = true;
    if ((c == '\'' || c == '"') && starts_token) quote_ = c;
    if (c == '[' || c == '{') ++depth_;
    if ((c == ']' || c == '}') && depth_ > 0) --depth_;
  }

  int depth_ = 0;
  char quote_ = 0, before_ = '\n';
  bool escaped_ = false, comment_ = false;
};

}  // namespace

std::string read_text_file(const std::string& path) {
  // O_NONBLOCK: opening a pipe without a writer must not wait.
  const Descriptor file{::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC)};
  require(file.fd >= 0, Errc::config, path, ": cannot open: ", std::strerror(errno));
  struct stat status {};
  require(::fstat(file.fd, &status) == 0, Errc::config, path, ": cannot read: ", std::strerror(errno));
  require(S_ISREG(status.st_mode), Errc::config, path, ": is ", kind_of(status.st_mode),
          "; expected a YAML file");
  require(status.st_size <= largest_file, Errc::config, path, ": has ", status.st_size,
          " bytes; a configuration may have at most ", largest_file);
  std::string text(static_cast<std::size_t>(largest_file) + 1, '\0');
  std::size_t filled = 0;
  while (filled < text.size()) {
    const ssize_t got = ::read(file.fd, text.data() + filled, text.size() - filled);
    if (got < 0 && errno == EINTR) continue;
    require(got >= 0, Errc::config, path, ": cannot read: ", std::strerror(errno));
    if (got == 0) break;
    filled += static_cast<std::size_t>(got);
  }
  require(filled < text.size(), Errc::config, path, ": grew above ", largest_file,
          " bytes while it was read");
  text.resize(filled);
  return text;
}

void check_text(std::string_view text, const std::string& source, int limit) {
  int line = 1, column = 1;
  BracketGuard guard;
  for (std::size_t i = 0; i < text.size();) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const std::size_t length = sequence_length(text, i);
    require(length > 0, Errc::config, source, ":", line, ":", column, ": byte ", static_cast<int>(byte),
            " is not UTF-8; save the file as UTF-8");
    const bool control = (byte < 0x20 && byte != '\n' && byte != '\t' && byte != '\r') || byte == 0x7F;
    require(!control, Errc::config, source, ":", line, ":", column, ": control character ",
            static_cast<int>(byte), "; a configuration is plain text");
    require(guard.next(text[i]) <= limit, Errc::config, source, ":", line, ":", column,
            ": brackets nest deeper than ", limit, " levels");
    column = byte == '\n' ? 1 : column + 1;
    line += byte == '\n' ? 1 : 0;
    i += length;
  }
}

std::string caret(std::string_view text, int line, int column) {
  for (int skipped = 1; skipped < line; ++skipped) {
    const std::size_t end = text.find('\n');
    if (end == std::string_view::npos) return "";
    text.remove_prefix(end + 1);
  }
  std::string shown(text.substr(0, std::min<std::size_t>(text.find('\n'), 120)));
  std::replace(shown.begin(), shown.end(), '\t', ' ');  // keeps the caret in its column
  if (shown.empty() || column < 1 || column > 120) return "";
  return "\n  " + shown + "\n  " + std::string(static_cast<std::size_t>(column - 1), ' ') + "^";
}

}  // namespace octavo
