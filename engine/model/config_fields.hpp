// config_fields.hpp — the members of a config's object, read one by one.
//
// The first member that is not as it must be is remembered and what is read then is a harmless
// value, so that the code which reads a config stays a plain list.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "storage/result.hpp"

namespace tessera {

// kUnsupportedModel, "config.json: FIELD WHAT", with param FIELD.
Error unsupported_field(const std::string& field, const std::string& what);

// A view of `node`, which must outlive it. Members that are null count as absent, except where it
// says otherwise.
class ConfigFields {
 public:
  using Json = nlohmann::ordered_json;

  static constexpr std::size_t kListMax = 1 << 16;  // items of a list

  // `prefix` is put before the names in errors: "rope_parameters.".
  explicit ConfigFields(const Json& node, std::string prefix = {})
      : node_(node), prefix_(std::move(prefix)) {}

  const std::optional<Error>& error() const { return error_; }
  void take_error(const ConfigFields& nested);
  void fail(std::string_view name, const std::string& what);

  bool has(std::string_view name) const { return find(name) != nullptr; }
  // Absent, that is not null either.
  bool is_missing(std::string_view name) const { return !node_.contains(std::string(name)); }

  int integer(std::string_view name, std::optional<int> if_absent = std::nullopt);
  // Finite; `if_absent` need not be.
  double number(std::string_view name, std::optional<double> if_absent = std::nullopt);
  float real(std::string_view name, std::optional<float> if_absent = std::nullopt);
  bool flag(std::string_view name, bool if_absent);
  std::string text(std::string_view name, std::string_view if_absent);
  std::vector<int> integers(std::string_view name);
  std::vector<float> numbers(std::string_view name);
  std::vector<std::string> texts(std::string_view name);

  // An integer that null turns off.
  int integer_or_off(std::string_view name, int if_missing);

  // The field may be absent or null; otherwise it must equal `only`.
  void must_be(std::string_view name, const Json& only);

  // The nested object `name`, or null.
  const Json* object(std::string_view name);

 private:
  const Json* find(std::string_view name) const;
  const Json* list(std::string_view name);

  const Json& node_;
  std::string prefix_;
  std::optional<Error> error_;
};

}  // namespace tessera
