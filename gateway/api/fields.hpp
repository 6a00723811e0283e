// fields.hpp — reads the members of a JSON object strictly, one typed line each.
//
//     Fields fields(body);
//     fields.required("model", request.model);
//     fields.number("temperature", {0.0, 2.0}, request.temperature);
//     fields.unsupported("n", 1);
//     if (auto read = fields.finish(); !read) return read.error();
//
// A member that is null counts as absent, as OpenAI's clients expect of every field. A target is
// left alone when its member is absent. The first fault is kept and told by finish(), with its
// path; so is any member that no line has asked for.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "storage/result.hpp"

namespace tessera {

template <class T>
struct Range {
  T min;
  T max;
};

class Fields {
 public:
  using Json = nlohmann::ordered_json;

  // `path` stands before each name in errors: "messages[2].". `object` outlives this; that it is an
  // object is checked here.
  explicit Fields(const Json& object, std::string path = {});

  void required(std::string_view name, std::string& out);
  void text(std::string_view name, std::size_t max_chars, std::string& out);
  void boolean(std::string_view name, bool& out);
  void integer(std::string_view name, Range<std::int64_t> range, std::optional<std::int64_t>& out);
  void number(std::string_view name, Range<double> range, double& out);
  // A string or an array of at most `max_count` strings of 1 to `max_chars` bytes.
  void one_or_more(std::string_view name, std::size_t max_count, std::size_t max_chars,
                   std::vector<std::string>& out);
  void integers(std::string_view name, std::size_t max_count, Range<std::int64_t> range,
                std::vector<std::int32_t>& out);

  // The member as it is, or null if it is absent; for those with a form of their own.
  const Json* any(std::string_view name);
  const Json* required_any(std::string_view name);

  // Known, without effect here whatever its value.
  void ignored(std::string_view name) { any(name); }
  // Known and not supported: only values that ask for nothing are accepted.
  void unsupported(std::string_view name, std::initializer_list<Json> neutral = {});

  void fail(Code code, std::string_view name, std::string message);
  // Takes over the fault of a nested object's fields, if there is one.
  void absorb(const Result<void>& nested);
  std::string path_of(std::string_view name) const { return path_ + std::string(name); }

  // The first fault; or kUnknownParameter for a member that nothing has asked for.
  Result<void> finish();

 private:
  void invalid(std::string_view name, const std::string& expected);

  const Json& object_;
  std::string path_;
  std::vector<bool> asked_;  // of each member
  std::optional<Error> fault_;
};

}  // namespace tessera
