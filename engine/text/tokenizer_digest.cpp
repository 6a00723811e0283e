#include "engine/text/tokenizer_digest.hpp"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "storage/json.hpp"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;

// What stands in a file and changes no id and no text.
bool is_ignored(std::string_view path) {
  if (path.starts_with("/model/")) return false;
  return path == "/version" || path == "/truncation" || path == "/padding" ||
         path.ends_with("/trim_offsets") || path.ends_with("/pair");
}

// Writes a value into a hash: objects by the order of their keys, without members that are null.
class CanonicalWriter {
 public:
  void write(const Json& value, const std::string& path) {
    if (path == "/model/merges/*" && value.is_string()) return write_merge(value);
    if (value.is_object()) return write_object(value, path);
    if (!value.is_array()) return put(to_text(value));
    put("[");
    for (const Json& item : value) write(item, path + "/*");
    put("]");
  }

  TokenizerDigest finish() { return {sha256_.finish()}; }

 private:
  void write_object(const Json& object, const std::string& path) {
    std::vector<std::pair<std::string_view, const Json*>> members;
    for (const auto& [name, value] : object.items()) {
      if (!value.is_null()) members.emplace_back(name, &value);
    }
    std::sort(members.begin(), members.end());
    put("{");
    for (const auto& [name, value] : members) {
      const std::string member_path = path + '/' + std::string(name);
      if (is_ignored(member_path)) continue;
      put(std::to_string(name.size()));
      put(name);
      write(*value, member_path);
    }
    put("}");
  }

  // "a b" as ["a", "b"].
  void write_merge(const Json& merge) {
    const auto& text = merge.get_ref<const std::string&>();
    const std::size_t space = text.find(' ');
    Json pair = Json::array({text.substr(0, space)});
    if (space != text.npos) pair.push_back(text.substr(space + 1));
    write(pair, "/model/merges/*");
  }

  void put(std::string_view text) {
    sha256_.update(text);
    sha256_.update("\n");
  }

  Sha256 sha256_;
};

}  // namespace

TokenizerDigest digest_of_tokenizer(const Json& file) {
  CanonicalWriter writer;
  writer.write(file, "");
  return writer.finish();
}

}  // namespace tessera
