// octavo bench data: training batches alone, as fast as the loader gives them.
#include <chrono>
#include <ctime>
#include <iomanip>
#include <iostream>
#include <nlohmann/json.hpp>

#include "commands.h"
#include "train/engine_parts.h"

namespace octavo::cli {

int bench_data_command(const BenchDataArguments& arguments) {
  using Clock = std::chrono::steady_clock;
  const Config config = arguments.config.load();
  const std::unique_ptr<Loader> loader =
      make_loader(config, open_dataset(data_request(config, Split::train)), Split::train);
  loader->next();  // what is prepared ahead before the clock runs
  const Clock::time_point start = Clock::now();
  const std::clock_t cpu_start = std::clock();
  std::int64_t samples = 0;
  double seconds = 0;
  while (seconds < arguments.seconds) {
    samples += loader->next().size();
    seconds = std::chrono::duration<double>(Clock::now() - start).count();
  }
  const double cpu = static_cast<double>(std::clock() - cpu_start) / CLOCKS_PER_SEC;
  const double count = static_cast<double>(samples);
  if (arguments.json)
    std::cout << nlohmann::ordered_json{{"data", config.data().set},
                                        {"threads", loader->workers()},
                                        {"samples_per_second", count / seconds},
                                        {"samples_per_cpu_second", count / cpu}}
                     .dump(1)
              << '\n';
  else
    std::cout << std::fixed << std::setprecision(0) << config.data().set << ", " << loader->workers()
              << " loader threads: " << count / seconds << " samples/s, " << count / cpu
              << " per second of CPU time\n";
  return 0;
}

}  // namespace octavo::cli
