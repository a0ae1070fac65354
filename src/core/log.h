// Loggers, one per area. Silent until the host application adds a sink; a sink that throws is dropped with
// one warning to the others, so that a full disk or a closed pipe never stops training.
#pragma once

#include <spdlog/logger.h>

#include <functional>
#include <string_view>

namespace octavo {

enum class LogArea { graph, dispatch, precision, data, train };
enum class LogLevel { debug, info, warning, error };

const char* log_area_name(LogArea area);
const char* log_level_name(LogLevel level);

/// One message as a sink receives it, without newline; the views live until the sink returns.
struct LogRecord {
  LogLevel level;
  std::string_view area;  ///< "train"
  std::string_view text;
  double time;  ///< seconds since 1970
};
using LogSink = std::function<void(const LogRecord&)>;

/// `logger(LogArea::train).info("epoch {} of {}", 1, 30)`; safe from any thread.
spdlog::logger& logger(LogArea area);

/// Adds a sink for messages of at least `level` and returns its number. Calls are serialized; a sink must not
/// log.
int add_log_sink(LogSink sink, LogLevel level = LogLevel::info);
void remove_log_sink(int number);  ///< unknown numbers (a dropped sink) are ignored

}  // namespace octavo
