#include "core/memory.h"

#include <sys/resource.h>
#include <sys/sysinfo.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <limits>

namespace octavo {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t unlimited = std::numeric_limits<std::int64_t>::max();

std::int64_t machine_memory() {
  struct sysinfo info {};
  if (::sysinfo(&info) != 0) return unlimited;
  const std::uint64_t blocks = std::uint64_t{info.totalram} + info.totalswap;
  return static_cast<std::int64_t>(blocks * info.mem_unit);
}

std::int64_t address_space_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur > static_cast<rlim_t>(unlimited))
    return unlimited;
  return static_cast<std::int64_t>(limit.rlim_cur);
}

// The tightest `memory.max` from this process's group ("0::/a/b") up to the root that it sees.
std::int64_t group_limit() {
  std::ifstream groups("/proc/self/cgroup");
  std::string line;
  while (std::getline(groups, line) && !line.starts_with("0::/")) {
  }
  if (!line.starts_with("0::/")) return unlimited;
  std::int64_t least = unlimited;
  for (fs::path group = line.substr(3);; group = group.parent_path()) {
    std::ifstream file(fs::path("/sys/fs/cgroup") / group.relative_path() / "memory.max");
    if (std::int64_t bytes = 0; file >> bytes) least = std::min(least, bytes);  // "max" is no number
    if (group == group.parent_path()) return least;
  }
}

}  // namespace

std::int64_t memory_limit() { return std::min({machine_memory(), address_space_limit(), group_limit()}); }

std::int64_t peak_resident_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string key; status >> key; status.ignore(unlimited, '\n')) {
    std::int64_t kilobytes = 0;
    if (key == "VmHWM:" && status >> kilobytes) return kilobytes * 1024;
  }
  return 0;
}

std::int64_t saturating_add(std::int64_t a, std::int64_t b) {
  std::int64_t sum = 0;
  return __builtin_add_overflow(a, b, &sum) ? unlimited : sum;
}

std::string bytes_text(std::int64_t bytes) {
  constexpr std::array<const char*, 7> units{"bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  std::string text = std::to_string(bytes) + " bytes";
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  for (; value >= 1024 && unit + 1 < units.size(); ++unit) value /= 1024;
  if (unit == 0) return text;
  std::array<char, 32> short_text{};
  std::snprintf(short_text.data(), short_text.size(), "%.1f %s", value, units[unit]);
  return text + " (" + short_text.data() + ")";
}

}  // namespace octavo
