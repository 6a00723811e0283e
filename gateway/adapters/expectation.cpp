// What an answer has to be: the three kinds of acceptance.hpp.
#include <utility>

#include <re2/re2.h>

#include <nlohmann/json.hpp>

#include "engine/guided/document_recognizer.hpp"
#include "engine/guided/fuel.hpp"
#include "engine/guided/regex_pool.hpp"
#include "engine/guided/schema_compiler.hpp"
#include "gateway/adapters/acceptance.hpp"

namespace tessera {
namespace {

class Substring final : public Expectation {
 public:
  explicit Substring(std::string text) : text_(std::move(text)) {}

  std::optional<std::string> refute(std::string_view answer) override {
    if (answer.find(text_) != answer.npos) return std::nullopt;
    return "The answer does not contain the expected text.";
  }

 private:
  const std::string text_;
};

RE2::Options regex_options() {
  constexpr std::int64_t kMaxBytes = std::int64_t{8} << 20;
  RE2::Options options;
  options.set_log_errors(false);
  options.set_max_mem(kMaxBytes);
  return options;
}

class Pattern final : public Expectation {
 public:
  explicit Pattern(const std::string& pattern) : regex_(pattern, regex_options()) {}

  const RE2& regex() const { return regex_; }

  std::optional<std::string> refute(std::string_view answer) override {
    if (RE2::PartialMatch({answer.data(), answer.size()}, regex_)) return std::nullopt;
    return "The answer has no match of the expected pattern.";
  }

 private:
  const RE2 regex_;
};

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n";
  const auto first = text.find_first_not_of(kSpace);
  if (first == text.npos) return {};
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

// Any writing of a value that the schema allows.
guided::DocumentOptions any_writing() {
  guided::DocumentOptions options;
  options.property_order = guided::PropertyOrder::kAny;
  options.whitespace = guided::Whitespace::kFlexible;
  options.max_whitespace = 256;
  options.integer_form = guided::IntegerForm::kValue;
  return options;
}

class JsonDocument final : public Expectation {
 public:
  JsonDocument() : fuel_(limits_.compile_fuel), pool_(fuel_, limits_) {}

  // Nothing, or what is wrong with the schema.
  std::optional<std::string> compile(const std::string& schema) {
    try {
      return try_compile(schema);
    } catch (const guided::FuelExhausted&) {
      return "The schema takes too long to compile.";
    }
  }

  std::optional<std::string> refute(std::string_view answer) override {
    fuel_.refill(limits_.compile_fuel);
    try {
      if (accepts(trimmed(answer))) return std::nullopt;
    } catch (const guided::FuelExhausted&) {
      return "It takes too long to hold the answer against the schema.";
    }
    return "The answer is no JSON text that the schema allows.";
  }

 private:
  std::optional<std::string> try_compile(const std::string& schema) {
    const guided::DocumentOptions writing = any_writing();
    guided::SchemaOptions options;
    options.integer_form = writing.integer_form;
    auto graph = guided::compile_schema(schema, pool_, options, limits_);
    if (const auto* found = std::get_if<guided::GuidedFindings>(&graph)) return first(*found);
    auto made = guided::make_document_recognizer(std::move(std::get<guided::SchemaGraph>(graph)),
                                                 pool_, fuel_, writing);
    if (const auto* found = std::get_if<guided::GuidedFindings>(&made)) return first(*found);
    recognizer_ = std::move(std::get<std::unique_ptr<guided::Recognizer>>(made));
    return std::nullopt;
  }

  static std::string first(const guided::GuidedFindings& findings) {
    if (findings.empty()) return "The schema cannot be used.";
    const std::string& where = findings.front().pointer;
    return findings.front().reason + (where.empty() ? "" : " (at " + where + ")");
  }

  bool accepts(std::string_view text) {
    guided::Position position = recognizer_->start();
    for (const char byte : text) {
      position = recognizer_->step(position, static_cast<std::uint8_t>(byte));
      if (position.dead()) return false;
    }
    return recognizer_->accepting(position);
  }

  const guided::GuidedLimits limits_;
  guided::Fuel fuel_;
  guided::RegexPool pool_;
  std::unique_ptr<guided::Recognizer> recognizer_;
};

}  // namespace

Result<std::unique_ptr<Expectation>> expect_substring(std::string text) {
  return std::unique_ptr<Expectation>(std::make_unique<Substring>(std::move(text)));
}

Result<std::unique_ptr<Expectation>> expect_regex(const std::string& pattern,
                                                  const std::string& path) {
  auto regex = std::make_unique<Pattern>(pattern);
  if (!regex->regex().ok()) {
    return Error{Code::kInvalidRegex,
                 "'" + path + "' is no pattern that can be used: " + regex->regex().error() + ".",
                 path};
  }
  return std::unique_ptr<Expectation>(std::move(regex));
}

Result<std::unique_ptr<Expectation>> expect_json(const std::string& schema,
                                                 const std::string& path) {
  auto document = std::make_unique<JsonDocument>();
  if (const auto fault = document->compile(schema)) {
    return Error{Code::kInvalidJsonSchema, "'" + path + "' cannot be used: " + *fault, path};
  }
  return std::unique_ptr<Expectation>(std::move(document));
}

}  // namespace tessera
