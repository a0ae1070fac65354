// Checkpoints: round trip, damage, failures and kills at every call, pruning, pointers, full disks.
#include "train/checkpoint.h"

#include <signal.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <random>
#include <thread>

#include "support/catch.h"
#include "support/failing_files.h"
#include "support/temporary_folder.h"

using namespace octavo;
using namespace octavo::testing;
namespace fs = std::filesystem;

namespace {

Tensor counted(Shape shape, DType dtype, int first) {
  Tensor tensor = Tensor::empty(std::move(shape), dtype);
  auto* bytes = static_cast<unsigned char*>(tensor.data());
  for (std::int64_t i = 0; i < tensor.bytes(); ++i) bytes[i] = static_cast<unsigned char>(first + 7 * i);
  return tensor;
}

CheckpointContent content_of(int step) {
  CheckpointContent content;
  content.model = {{"stem.weight", counted({4, 3, 3, 2}, DType::f32, step)},
                   {"stem.weight.q", counted({5}, DType::s8, step)},
                   {"head.bias", counted({10}, DType::f32, step + 1)},
                   {"empty", counted({0, 3}, DType::f32, 0)},
                   {"scalar", counted({}, DType::i64, step)}};
  content.optimizer = {{"stem.weight.momentum", counted({4, 3, 3, 2}, DType::f32, step + 2)}};
  content.state = {{"step", step}, {"best", 0.1 * step}, {"name", "größe"}, {"cursor", {1, 2, -3}}};
  return content;
}

std::map<std::string, std::string> flat(const NamedTensors& tensors) {
  std::map<std::string, std::string> result;
  for (const NamedTensor& t : tensors) {
    result[t.name] =
        std::string(dtype_name(t.tensor.dtype())) + " " + t.tensor.shape().str() + " " +
        std::string(static_cast<const char*>(t.tensor.data()), static_cast<std::size_t>(t.tensor.bytes()));
  }
  return result;
}

bool same(const CheckpointContent& a, const CheckpointContent& b) {
  return flat(a.model) == flat(b.model) && flat(a.optimizer) == flat(b.optimizer) && a.state == b.state;
}

/// Error text of a call that has to fail with `code`.
template <class Call>
std::string failure(Errc code, Call&& call) {
  try {
    call();
  } catch (const Error& error) {
    CHECK(error.code() == code);
    return error.what();
  }
  FAIL("no error");
  return {};
}

int temporaries(const fs::path& folder) {
  int count = 0;
  for (const auto& entry : fs::directory_iterator(folder))
    count += entry.path().filename().string().starts_with(".tmp");
  return count;
}

const std::vector<std::string> files_of_checkpoint = {"manifest.json", "model.safetensors",
                                                      "optim.safetensors", "state.json"};

}  // namespace

TEST_CASE("a checkpoint comes back equal and its bytes depend on the content alone") {
  TemporaryFolder run;
  const CheckpointContent content = content_of(7);
  const fs::path folder = save_checkpoint(run.path(), 7, content);
  CHECK(folder == run / "checkpoints/step-7");
  CHECK(same(load_checkpoint(folder), content));
  CHECK(find_checkpoint(run.path(), "last") == folder);
  CHECK(find_checkpoint(run.path(), "7") == folder);
  CHECK(find_checkpoint(run.path(), "step-7") == folder);
  CHECK_THAT(failure(Errc::checkpoint, [&] { find_checkpoint(run.path(), "best"); }),
             ContainsSubstring("step-7"));
  CHECK_THAT(failure(Errc::checkpoint, [&] { find_checkpoint(run.path(), "../x"); }),
             ContainsSubstring("../x"));

  TemporaryFolder other;
  CheckpointContent reordered = content;
  std::reverse(reordered.model.begin(), reordered.model.end());
  const fs::path copy = save_checkpoint(other.path(), 7, reordered);
  for (const std::string& name : files_of_checkpoint)
    CHECK(read_text(folder / name) == read_text(copy / name));
}

TEST_CASE("state that JSON cannot hold is refused before anything is written") {
  TemporaryFolder run;
  CheckpointContent content = content_of(1);
  content.state["loss"] = std::nan("");
  CHECK_THAT(failure(Errc::internal, [&] { save_checkpoint(run.path(), 1, content); }),
             ContainsSubstring("NaN"));
  content.state["loss"] = "\xff";
  failure(Errc::internal, [&] { save_checkpoint(run.path(), 1, content); });
  CHECK(!fs::exists(run / "checkpoints"));
}

TEST_CASE("a call that fails at any point leaves `last` loadable and the next save works") {
  const bool dead = GENERATE(false, true);
  const bool replace = GENERATE(false, true);  // save over a checkpoint of the same step
  const CheckpointContent before = content_of(1), after = content_of(2);
  const std::int64_t step = replace ? 1 : 2;
  int failures = 0;
  for (int n = 1;; ++n) {
    TemporaryFolder run;
    save_checkpoint(run.path(), 1, before, {.keep_last = 1, .best = !replace});
    FailingFiles files(n, dead);
    bool saved = true;
    try {
      save_checkpoint(run.path(), step, after, {.keep_last = 1}, files);
    } catch (const Error& error) {
      saved = false;
      CHECK(error.code() == Errc::resource);
    }
    INFO("call " << n << (dead ? " and all later" : "") << " failed");
    const CheckpointContent last = load_checkpoint(find_checkpoint(run.path(), "last"));
    REQUIRE((same(last, after) || (!saved && same(last, before))));
    if (!replace) REQUIRE(same(load_checkpoint(find_checkpoint(run.path(), "best")), before));
    prepare_checkpoints(run.path(), 1000);
    REQUIRE(temporaries(run / "checkpoints") == 0);
    save_checkpoint(run.path(), step, after, {.keep_last = 1});
    REQUIRE(same(load_checkpoint(find_checkpoint(run.path(), "last")), after));
    if (!files.failed()) break;
    ++failures;
  }
  CHECK(failures > 25);
}

TEST_CASE("a first save that is killed leaves no checkpoint or a complete one") {
  for (int n = 1;; ++n) {
    TemporaryFolder run;
    FailingFiles files(n, true);
    try {
      save_checkpoint(run.path(), 5, content_of(5), {}, files);
    } catch (const Error& error) {
      CHECK(error.code() == Errc::resource);
    }
    if (!checkpoint_steps(run.path()).empty()) {
      REQUIRE(same(load_checkpoint(find_checkpoint(run.path(), "last")), content_of(5)));
    }
    if (!files.failed()) break;
  }
}

TEST_CASE("everything is synced before the rename that publishes it, and the folder after") {
  TemporaryFolder run;
  SyncWatcher files;
  save_checkpoint(run.path(), 1, content_of(1), {.best = true}, files);
  CHECK(files.renames == 3);  // the folder, last, best
  CHECK(files.renamed_unsynced == 0);
  CHECK(files.unsynced_renames() == 0);
}

TEST_CASE("a process killed at random moments of saving leaves a loadable checkpoint") {
  TemporaryFolder run;
  save_checkpoint(run.path(), 0, content_of(0));
  std::minstd_rand random(11);
  for (int round = 0; round < 30; ++round) {
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      for (int step = round * 1000 + 1;; ++step)
        save_checkpoint(run.path(), step, content_of(step), {.keep_last = 2});
    }
    std::this_thread::sleep_for(std::chrono::microseconds(500 + random() % 8000));
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    const CheckpointContent last = load_checkpoint(find_checkpoint(run.path(), "last"));
    REQUIRE(same(last, content_of(last.state["step"])));
    prepare_checkpoints(run.path(), 1000);
    REQUIRE(temporaries(run / "checkpoints") == 0);
  }
}

TEST_CASE("a checkpoint truncated at any length is refused, naming the file") {
  TemporaryFolder run;
  const fs::path folder = save_checkpoint(run.path(), 1, content_of(1));
  int cuts = 0;
  for (const std::string& name : files_of_checkpoint) {
    const std::string whole = read_text(folder / name);
    const std::size_t stride = whole.size() / 60 + 1;
    for (std::size_t length = 0; length < whole.size(); length += stride, ++cuts) {
      write_text(folder / name, whole.substr(0, length));
      CHECK_THAT(failure(Errc::checkpoint, [&] { load_checkpoint(folder); }), ContainsSubstring(name));
    }
    write_text(folder / name, whole.substr(0, whole.size() - 1));
    failure(Errc::checkpoint, [&] { load_checkpoint(folder); });
    write_text(folder / name, whole + "\n");
    failure(Errc::checkpoint, [&] { load_checkpoint(folder); });
    fs::remove(folder / name);
    CHECK_THAT(failure(Errc::checkpoint, [&] { load_checkpoint(folder); }), ContainsSubstring(name));
    write_text(folder / name, whole);
  }
  CHECK(cuts >= 200);
  CHECK(same(load_checkpoint(folder), content_of(1)));
}

TEST_CASE("one flipped bit anywhere is found, and named by tensor where it hits one") {
  TemporaryFolder run;
  const fs::path folder = save_checkpoint(run.path(), 1, content_of(1));
  std::mt19937 random(5);
  int named = 0;
  for (int i = 0; i < 2000; ++i) {
    const std::string& name = files_of_checkpoint[random() % files_of_checkpoint.size()];
    const std::string whole = read_text(folder / name);
    std::string damaged = whole;
    const std::size_t bit = random() % (whole.size() * 8);
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << bit % 8));
    write_text(folder / name, damaged);
    INFO(name << " bit " << bit);
    const std::string text = failure(Errc::checkpoint, [&] { load_checkpoint(folder); });
    CHECK_THAT(text, ContainsSubstring(name));
    named += text.find("tensor 'stem.weight.momentum' has checksum") != std::string::npos;
    write_text(folder / name, whole);
  }
  CHECK(named > 50);
  CHECK(same(load_checkpoint(folder), content_of(1)));
}

TEST_CASE("a damaged pointer is an error, and the newest intact checkpoint can be asked for") {
  TemporaryFolder run;
  for (int step : {10, 20, 30}) save_checkpoint(run.path(), step, content_of(step));
  for (const char* text :
       {"", "step-30", "step-030\n", "step--1\n", "step-99999999999999999999\n", "x\n", "step-30\n\n"}) {
    write_text(run / "checkpoints/last", text);
    CHECK_THAT(failure(Errc::checkpoint, [&] { find_checkpoint(run.path(), "last"); }),
               ContainsSubstring("last"));
  }
  write_text(run / "checkpoints/last", "step-31\n");
  CHECK_THAT(failure(Errc::checkpoint, [&] { find_checkpoint(run.path(), "last"); }),
             ContainsSubstring("step-31"));
  write_text(run / "checkpoints/step-30/state.json", "{}");
  const IntactCheckpoint intact = load_newest_intact(run.path());
  CHECK(intact.folder == run / "checkpoints/step-20");
  CHECK(same(intact.content, content_of(20)));
  REQUIRE(intact.damaged.size() == 1);
  CHECK_THAT(intact.damaged[0], ContainsSubstring("step-30"));
  for (int step : {10, 20})
    write_text(run / ("checkpoints/step-" + std::to_string(step) + "/state.json"), "{}");
  CHECK_THAT(failure(Errc::checkpoint, [&] { load_newest_intact(run.path()); }),
             ContainsSubstring("step-10"));
}

TEST_CASE("pruning keeps the newest, the best and the last K") {
  TemporaryFolder run;
  for (int step = 1; step <= 8; ++step) {
    save_checkpoint(run.path(), step, content_of(step), {.keep_last = 3, .best = step == 2});
  }
  CHECK(checkpoint_steps(run.path()) == std::vector<std::int64_t>{2, 6, 7, 8});
  // Going on from an older checkpoint: its successor is kept although others have higher steps.
  save_checkpoint(run.path(), 3, content_of(3), {.keep_last = 1});
  CHECK(checkpoint_steps(run.path()) == std::vector<std::int64_t>{2, 3});
  CHECK(find_checkpoint(run.path(), "last") == run / "checkpoints/step-3");
}

TEST_CASE("a manifest of another version or with other files is refused") {
  TemporaryFolder run;
  const fs::path folder = save_checkpoint(run.path(), 1, content_of(1));
  TemporaryFolder other;
  CheckpointContent changed = content_of(1);
  changed.model.pop_back();
  const fs::path foreign = save_checkpoint(other.path(), 1, changed);
  fs::copy_file(foreign / "model.safetensors", folder / "model.safetensors",
                fs::copy_options::overwrite_existing);
  CHECK_THAT(failure(Errc::checkpoint, [&] { load_checkpoint(folder); }),
             ContainsSubstring("model.safetensors"));
}

TEST_CASE("a full disk keeps the previous checkpoint and training may go on") {
  TemporaryFolder run;
  if (::geteuid() != 0 || ::mount("tmpfs", run.path().c_str(), "tmpfs", 0, "size=64k") != 0) {
    WARN("SKIPPED: mounting a small file system needs root");
    return;
  }
  save_checkpoint(run.path(), 1, content_of(1));
  CheckpointContent large = content_of(2);
  large.model.push_back({"large", counted({1 << 16}, DType::f32, 0)});
  CHECK_THAT(failure(Errc::resource, [&] { save_checkpoint(run.path(), 2, large); }),
             ContainsSubstring("free"));
  CHECK_THAT(failure(Errc::resource, [&] { prepare_checkpoints(run.path(), checkpoint_bytes(large)); }),
             ContainsSubstring("free"));

  /// Hides the lack of space, so that writing itself hits it.
  struct Unlimited : FileCalls {
    std::int64_t free_bytes(const char*) override { return -1; }
  } unlimited;
  CHECK_THAT(failure(Errc::resource, [&] { save_checkpoint(run.path(), 2, large, {}, unlimited); }),
             ContainsSubstring("No space left"));
  CHECK(temporaries(run / "checkpoints") == 0);
  CHECK(same(load_checkpoint(find_checkpoint(run.path(), "last")), content_of(1)));
  save_checkpoint(run.path(), 3, content_of(3));
  CHECK(same(load_checkpoint(find_checkpoint(run.path(), "last")), content_of(3)));
  ::umount(run.path().c_str());
}
