// The tree itself: file budgets, unfinished work, and documents that name files which exist.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <set>
#include <string>
#include <vector>

#include "support/catch.h"

namespace fs = std::filesystem;

namespace {

const fs::path root = OCTAVO_SOURCE_DIR;

struct SourceFile {
  std::string path;
  std::size_t lines;
  bool isa_kernel;
};

std::string text_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<fs::path> files_below(const fs::path& folder, const std::set<std::string>& extensions) {
  std::vector<fs::path> found;
  if (!fs::exists(folder)) return found;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (entry.is_regular_file() && extensions.count(entry.path().extension().string()))
      found.push_back(entry.path());
  std::sort(found.begin(), found.end());
  return found;
}

std::vector<SourceFile> sources() {
  std::vector<SourceFile> result;
  for (const char* folder : {"src", "include", "kernels", "tools"})
    for (const auto& path :
         files_below(root / folder, {".h", ".cpp", ".cu", ".cuh", ".inc", ".py", ".sh", ".cmake"})) {
      const std::string text = text_of(path), name = fs::relative(path, root).generic_string();
      const bool isa_kernel = std::regex_search(name, std::regex("^kernels/(avx2|avx512vnni|cuda)/"));
      result.push_back(
          {name, static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n')), isa_kernel});
    }
  return result;
}

/// Paths like `src/graph/build.cpp` or `docs/` that a document mentions.
std::set<std::string> mentioned_paths(const std::string& text) {
  static const std::regex pattern(
      R"((^|[^\w/.:-])((src|include|kernels|models|configs|tools|tests|docs|third_party)/[\w./+-]*[\w/+-])(?!\.?[\w*<{$/+-]))");
  std::set<std::string> result;
  for (std::sregex_iterator match(text.begin(), text.end(), pattern), end; match != end; ++match)
    result.insert((*match)[2]);
  return result;
}

}  // namespace

TEST_CASE("files are short: median 150 lines, 90% within 350, none above 600 (ISA kernels 800)") {
  const std::vector<SourceFile> files = sources();
  std::vector<std::size_t> lines;
  for (const SourceFile& file : files) {
    CAPTURE(file.path);
    CHECK(file.lines <= (file.isa_kernel ? 800u : 600u));
    lines.push_back(file.lines);
  }
  REQUIRE(lines.size() > 10);
  std::sort(lines.begin(), lines.end());
  CHECK(lines[lines.size() / 2] <= 150);
  CHECK(lines[lines.size() * 9 / 10] <= 350);
}

TEST_CASE("sources carry no marks of unfinished work") {
  const std::regex marks(std::string("\\b(TO") + "DO|FIX" + "ME|X" + "XX|HA" + "CK)\\b");
  for (const SourceFile& file : sources()) {
    CAPTURE(file.path);
    CHECK_FALSE(std::regex_search(text_of(root / file.path), marks));
  }
}

TEST_CASE("names of test cases survive CTest, which takes a semicolon for the end of one") {
  const std::regex name("TEST_CASE\\(([^{]*)\\) \\{");
  std::size_t cases = 0;
  for (const auto& path : files_below(root / "tests", {".cpp"})) {
    const std::string text = text_of(path);
    for (std::sregex_iterator match(text.begin(), text.end(), name), end; match != end; ++match, ++cases) {
      CAPTURE(path.string(), (*match)[1].str());
      CHECK((*match)[1].str().find(';') == std::string::npos);
    }
  }
  CHECK(cases > 200);
}

TEST_CASE("documents name files that exist") {
  std::vector<fs::path> documents = files_below(root / "docs", {".md"});
  for (const char* name : {"README.md", "CONTRIBUTING.md", "third_party/README.md"})
    if (fs::exists(root / name)) documents.push_back(root / name);
  REQUIRE(documents.size() >= 2);
  for (const auto& document : documents)
    for (const std::string& path : mentioned_paths(text_of(document))) {
      CAPTURE(document.string(), path);
      CHECK(fs::exists(root / path));
    }
}

TEST_CASE("the search for mentioned files finds paths and leaves addresses and build folders alone") {
  CHECK(mentioned_paths("See `src/core/tensor.cpp`, docs/numerics.md.") ==
        std::set<std::string>{"src/core/tensor.cpp", "docs/numerics.md"});
  CHECK(mentioned_paths("models/<name>.yaml, configs/x_*.yaml, src/a.*").empty());
  CHECK(mentioned_paths("build/tools/octavo, https://example.org/docs/a.html, runs/last").empty());
}
