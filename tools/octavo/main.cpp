// The octavo program: parse, run, and turn errors into exit codes. Results go to stdout, progress to stderr.
#include <fcntl.h>

#include <iostream>
#include <new>

#include "commands.h"
#include "kernels.h"
#include "octavo/error.h"

namespace {

// With a standard stream closed, the next file opened would take its number and receive what is printed.
void fill_standard_streams() {
  for (int stream = 0; stream <= 2; ++stream)
    if (::fcntl(stream, F_GETFD) < 0) ::open("/dev/null", O_RDWR);
}

// OCTAVO_ISA is read on first use; a wrong value should end the program before anything is built.
void check_instruction_set() {
  try {
    octavo::kernels::active_isa();
  } catch (const std::runtime_error& error) {
    throw octavo::Error(octavo::Errc::config, error.what());
  }
}

}  // namespace

int main(int argc, char** argv) {
  using namespace octavo;
  CLI::App app{"octavo: deep learning training in 8-bit integers", "octavo"};
  app.require_subcommand(1);
  app.set_version_flag("--version", OCTAVO_VERSION);
  app.footer(
      "A configuration may be followed by overrides: octavo train a.yaml optimizer.lr=0.05 precision=fp32");
  cli::Action action;
  cli::add_train(app, action);
  cli::add_check(app, action);
  cli::add_eval(app, action);
  cli::add_bench(app, action);
  cli::add_fidelity(app, action);
  cli::add_record(app, action);
  cli::add_inspect(app, action);
  cli::add_report(app, action);
  cli::add_compare(app, action);
  cli::add_reproduce(app, action);
  cli::add_tune(app, action);
  cli::add_information(app, action);
  fill_standard_streams();
  try {
    app.parse(argc, argv);
    check_instruction_set();
    return action();
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : static_cast<int>(Errc::config);
  } catch (const Error& error) {
    std::cerr << "octavo: " << error.what() << '\n';
    return static_cast<int>(error.code());
  } catch (const std::bad_alloc&) {
    std::cerr << "octavo: out of memory; lower data.batch\n";
    return static_cast<int>(Errc::resource);
  } catch (const std::exception& error) {
    std::cerr << "octavo: internal error: " << error.what()
              << "\nPlease report it with the output of `octavo doctor`.\n";
    return static_cast<int>(Errc::internal);
  }
}
