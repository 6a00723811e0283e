#include "gateway/adapters/upload_forms.hpp"

#include "engine/text/tokenizer_json.hpp"
#include "gateway/http/http.hpp"

namespace tessera {

std::string_view tokenizer_file(std::string_view part) {
  constexpr std::string_view kExtension = ".json";
  for (const std::string_view file : {"tokenizer.json", "tokenizer_config.json",
                                      "special_tokens_map.json", "added_tokens.json"}) {
    if (part == file || part == file.substr(0, file.size() - kExtension.size())) return file;
  }
  return {};
}

std::string content_digest(const ContentDigest& digest) {
  const std::string_view bytes(reinterpret_cast<const char*>(digest.bytes.data()),
                               digest.bytes.size());
  return "sha-256=:" + to_base64(bytes) + ":";
}

Result<void> check_content_digest(std::string_view header, const ContentDigest& digest) {
  if (trim(header).empty()) return {};
  const std::string expected = content_digest(digest);
  const std::string_view algorithm = std::string_view(expected).substr(0, expected.find('=') + 1);
  bool told = false;
  for (std::string_view rest = header;;) {
    const std::size_t comma = rest.find(',');
    const std::string_view member = trim(rest.substr(0, comma));
    if (member == expected) return {};
    told = told || member.starts_with(algorithm);
    if (comma == std::string_view::npos) break;
    rest.remove_prefix(comma + 1);
  }
  return Error{Code::kInvalidValue,
               told ? "The bytes that arrived are not those of Content-Digest."
                    : "Content-Digest must tell a digest such as sha-256=:base64:.",
               "Content-Digest"};
}

}  // namespace tessera
