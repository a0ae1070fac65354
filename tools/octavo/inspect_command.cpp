// octavo inspect: what a checkpoint holds; --verify checks every checksum.
#include <filesystem>
#include <iomanip>
#include <iostream>

#include "commands.h"
#include "train/checkpoint.h"

namespace octavo::cli {
namespace {

struct InspectArguments {
  std::string path, which = "last";
  bool verify = false;
};

std::filesystem::path checkpoint_folder(const InspectArguments& arguments) {
  const std::filesystem::path path = resolve_run(arguments.path);
  return std::filesystem::exists(path / "manifest.json") ? path : find_checkpoint(path, arguments.which);
}

void print_tensors(const char* title, const NamedTensors& tensors) {
  std::cout << title << '\n';
  for (const NamedTensor& entry : tensors)
    std::cout << "  " << std::left << std::setw(48) << entry.name << dtype_name(entry.tensor.dtype()) << ' '
              << entry.tensor.shape().str() << '\n';
}

// Loading verifies every size and checksum, so a damaged checkpoint ends here with a message.
int inspect_command(const InspectArguments& arguments) {
  const std::filesystem::path folder = checkpoint_folder(arguments);
  const CheckpointContent content = [&] {
    try {
      return load_checkpoint(folder);
    } catch (const Error& error) {
      throw Error(arguments.verify ? Errc::self_check : error.code(), error.what());
    }
  }();
  if (arguments.verify) {
    std::cout << "ok: " << folder.string() << ", " << content.model.size() << " model and "
              << content.optimizer.size() << " optimizer tensors\n";
    return 0;
  }
  std::cout << folder.string() << '\n';
  print_tensors("model", content.model);
  print_tensors("optimizer", content.optimizer);
  std::cout << "state\n" << content.state.dump(1) << '\n';
  return 0;
}

}  // namespace

void add_inspect(CLI::App& app, Action& action) {
  auto arguments = std::make_shared<InspectArguments>();
  CLI::App* sub = app.add_subcommand("inspect", "content of a checkpoint");
  sub->add_option("path", arguments->path, "run folder, `last`, or checkpoint folder")->required();
  sub->add_option("--checkpoint", arguments->which, "last, best or a step");
  sub->add_flag("--verify", arguments->verify, "check sizes and checksums; exit code 8 when damaged");
  sub->callback([arguments, &action] { action = [arguments] { return inspect_command(*arguments); }; });
}

}  // namespace octavo::cli
