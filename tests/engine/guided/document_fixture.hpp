// document_fixture.hpp — a schema's documents, asked byte by byte.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "engine/guided/document_recognizer.hpp"
#include "engine/guided/schema_compiler.hpp"

namespace tessera::guided {

// The documents that a schema and options allow. Fuel is refilled for each question.
class Documents {
 public:
  explicit Documents(std::string_view schema, const DocumentOptions& options = any_order())
      : fuel_(limits_.compile_fuel), pool_(fuel_, limits_) {
    SchemaOptions schema_options;
    schema_options.integer_form = options.integer_form;
    auto graph = compile_schema(schema, pool_, schema_options, limits_);
    if (auto* found = std::get_if<GuidedFindings>(&graph)) {
      findings = std::move(*found);
      return;
    }
    auto made =
        make_document_recognizer(std::move(std::get<SchemaGraph>(graph)), pool_, fuel_, options);
    if (auto* found = std::get_if<GuidedFindings>(&made)) {
      findings = std::move(*found);
    } else {
      recognizer_ = std::move(std::get<std::unique_ptr<Recognizer>>(made));
    }
  }

  static DocumentOptions any_order() {
    DocumentOptions options;
    options.property_order = PropertyOrder::kAny;
    return options;
  }

  bool ok() const { return recognizer_ != nullptr; }
  // Behind `text`; dead if it is not the beginning of a document.
  Position after(std::string_view text) {
    fuel_.refill(limits_.mask_fuel);
    Position position = recognizer_->start();
    for (const char c : text) position = recognizer_->step(position, static_cast<std::uint8_t>(c));
    return position;
  }
  bool accepts(std::string_view text) { return ok() && recognizer_->accepting(after(text)); }
  bool begins(std::string_view text) { return ok() && !after(text).dead(); }
  // `text` and a shortest way to end it.
  std::string completed(std::string_view text) {
    return std::string(text) + recognizer_->shortest_rest(after(text));
  }
  // What must follow `text`, whatever is chosen.
  std::string forced(std::string_view text) {
    std::string out;
    Position position = after(text);
    while (const std::optional<std::uint8_t> byte = recognizer_->forced(position)) {
      out += static_cast<char>(*byte);
      position = recognizer_->step(position, *byte);
    }
    return out;
  }
  Recognizer& recognizer() { return *recognizer_; }
  void refill() { fuel_.refill(limits_.mask_fuel); }

  GuidedFindings findings;

 private:
  GuidedLimits limits_;
  Fuel fuel_;
  RegexPool pool_;
  std::unique_ptr<Recognizer> recognizer_;
};

}  // namespace tessera::guided
