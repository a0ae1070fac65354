// How one field of the settings is read from and written to YAML, by its C++ type.
#pragma once

#include <string>
#include <vector>

#include "config/schema.h"

namespace octavo {

// Each `read_field` throws Errc::config with the place of the offending value.
void read_field(const YamlNode& node, const KeySpec& spec, bool& out);
void read_field(const YamlNode& node, const KeySpec& spec, std::int64_t& out);
void read_field(const YamlNode& node, const KeySpec& spec, double& out);
void read_field(const YamlNode& node, const KeySpec& spec, std::string& out);
void read_field(const YamlNode& node, const KeySpec& spec, Duration& out);
void read_field(const YamlNode& node, const KeySpec& spec, std::vector<double>& out);
void read_field(const YamlNode& node, const KeySpec& spec, std::vector<std::string>& out);
void read_field(const YamlNode& node, const KeySpec& spec, std::vector<Duration>& out);
void read_field(const YamlNode& node, const KeySpec& spec, std::vector<NamedValue>& out);

[[noreturn]] void fail_expected(const YamlNode& node, const KeySpec& spec, const std::string& more = "");

// Empty text: unset.
std::string write_field(bool value);
std::string write_field(std::int64_t value);
std::string write_field(double value);
std::string write_field(const std::string& value);
std::string write_field(const Duration& value);
std::string write_field(const std::vector<double>& value);
std::string write_field(const std::vector<std::string>& value);
std::string write_field(const std::vector<Duration>& value);
std::string write_field(const std::vector<NamedValue>& value);

inline std::string type_name(const bool&) { return "true or false"; }
inline std::string type_name(const std::int64_t&) { return "whole number"; }
inline std::string type_name(const double&) { return "number"; }
inline std::string type_name(const std::string&) { return "text"; }
inline std::string type_name(const Duration&) { return "duration"; }
inline std::string type_name(const std::vector<double>&) { return "list of numbers"; }
inline std::string type_name(const std::vector<std::string>&) { return "list of texts"; }
inline std::string type_name(const std::vector<Duration>&) { return "list of durations"; }
inline std::string type_name(const std::vector<NamedValue>&) { return "map"; }

}  // namespace octavo
