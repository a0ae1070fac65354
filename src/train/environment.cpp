// What env.json says about the build and the machine.
#include <sys/utsname.h>
#include <unistd.h>

#include <fstream>
#include <string>
#include <thread>

#include "core/numerics.h"
#include "octavo_build.h"
#include "train/run_folder.h"

namespace octavo {
namespace {

std::string cpu_name() {
  std::ifstream in("/proc/cpuinfo");
  for (std::string line; std::getline(in, line);) {
    const std::size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) return line.substr(colon + 2);
  }
  return "unknown";
}

}  // namespace

nlohmann::ordered_json describe_environment(const std::string& isa, int threads) {
  utsname system{};
  const bool known = ::uname(&system) == 0;
  return {
      {"octavo", OCTAVO_BUILD_VERSION},
      {"commit", OCTAVO_BUILD_COMMIT},
      {"numerics_version", numerics_version},
      {"compiler", OCTAVO_BUILD_COMPILER},
      {"build_type", OCTAVO_BUILD_TYPE},
      {"host", known ? system.nodename : "unknown"},
      {"system", known ? std::string(system.sysname) + " " + system.release : "unknown"},
      {"cpu", cpu_name()},
      {"cores", std::thread::hardware_concurrency()},
      {"isa", isa},
      {"threads", threads},
      {"pid", ::getpid()},
  };
}

}  // namespace octavo
