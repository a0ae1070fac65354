// One spdlog logger per area in front of a list of sinks.
#include "core/log.h"

#include <spdlog/sinks/base_sink.h>

#include <array>
#include <chrono>
#include <exception>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace octavo {
namespace {

LogLevel level_of(spdlog::level::level_enum level) {
  if (level <= spdlog::level::debug) return LogLevel::debug;
  if (level == spdlog::level::info) return LogLevel::info;
  return level == spdlog::level::warn ? LogLevel::warning : LogLevel::error;
}

/// Hands every message to all sinks; base_sink serializes the calls.
class FanOut final : public spdlog::sinks::base_sink<std::mutex> {
 public:
  int add(LogSink receiver, LogLevel level) {
    const std::lock_guard lock(mutex_);
    sinks_.push_back({++last_number_, level, std::move(receiver)});
    return last_number_;
  }
  void remove(int number) {
    const std::lock_guard lock(mutex_);
    std::erase_if(sinks_, [&](const Entry& entry) { return entry.number == number; });
  }

 private:
  struct Entry {
    int number;
    LogLevel level;
    LogSink receiver;
  };

  void sink_it_(const spdlog::details::log_msg& message) override {
    const double time = std::chrono::duration<double>(message.time.time_since_epoch()).count();
    deliver({level_of(message.level),
             {message.logger_name.data(), message.logger_name.size()},
             {message.payload.data(), message.payload.size()},
             time});
  }
  void flush_() override {}

  void deliver(const LogRecord& record) {
    std::vector<std::string> failures;
    std::erase_if(sinks_, [&](const Entry& entry) {
      if (record.level < entry.level) return false;
      try {
        entry.receiver(record);
        return false;
      } catch (const std::exception& error) {
        failures.push_back(error.what());
        return true;
      }
    });
    // Each failure removed a sink, so this recursion ends.
    for (const std::string& failure : failures) {
      const std::string text = "a log sink failed and is no longer used: " + failure;
      deliver({LogLevel::warning, "train", text, record.time});
    }
  }

  std::vector<Entry> sinks_;
  int last_number_ = 0;
};

struct Loggers {
  std::shared_ptr<FanOut> sinks = std::make_shared<FanOut>();
  std::vector<std::unique_ptr<spdlog::logger>> loggers;

  Loggers() {
    for (const LogArea area :
         {LogArea::graph, LogArea::dispatch, LogArea::precision, LogArea::data, LogArea::train}) {
      loggers.push_back(std::make_unique<spdlog::logger>(log_area_name(area), sinks));
      loggers.back()->set_level(spdlog::level::debug);
    }
  }
};

Loggers& all_loggers() {
  static Loggers instance;
  return instance;
}

}  // namespace

const char* log_area_name(LogArea area) {
  static constexpr std::array names = {"graph", "dispatch", "precision", "data", "train"};
  return names[static_cast<std::size_t>(area)];
}

const char* log_level_name(LogLevel level) {
  static constexpr std::array names = {"debug", "info", "warning", "error"};
  return names[static_cast<std::size_t>(level)];
}

spdlog::logger& logger(LogArea area) { return *all_loggers().loggers[static_cast<std::size_t>(area)]; }

int add_log_sink(LogSink sink, LogLevel level) { return all_loggers().sinks->add(std::move(sink), level); }

void remove_log_sink(int number) { all_loggers().sinks->remove(number); }

}  // namespace octavo
