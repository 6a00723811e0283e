// A body as strangers send it, cut as the network cuts it: what is said of it must not depend on
// the cuts, and what is passed on must be bytes of the body.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "gateway/http/multipart.hpp"

namespace {

constexpr std::string_view kType = "multipart/form-data; boundary=b";

// What a reader says, as one text.
class Transcript final : public tessera::PartVisitor {
 public:
  tessera::Result<void> begin_part(tessera::PartHead head) override {
    text += "[" + head.name + "|" + head.filename + "|" + head.content_type + "]";
    return {};
  }
  tessera::Result<void> part_content(std::string_view bytes) override {
    text.append(bytes);
    return {};
  }
  tessera::Result<void> end_part() override {
    text += ";";
    return {};
  }

  std::string text;
};

// `cuts`: lengths of the pieces, over and over; none: one piece.
std::string read(std::string_view body, std::string_view cuts) {
  auto reader = tessera::MultipartReader::make(kType).value();
  Transcript transcript;
  std::size_t at = 0;
  for (std::size_t i = 0; at < body.size(); ++i) {
    const std::size_t piece =
        cuts.empty() ? body.size() : 1 + static_cast<unsigned char>(cuts[i % cuts.size()]) % 16;
    const auto fed = reader.feed(body.substr(at, piece), transcript);
    if (!fed) return "refused " + std::string(to_string(fed.error().code));
    at += std::min(piece, body.size() - at);
  }
  const auto finished = reader.finish();
  if (!finished) return "refused " + std::string(to_string(finished.error().code));
  return transcript.text;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const std::size_t num_cuts = std::min<std::size_t>(data[0] % 8, size - 1);
  const std::string_view cuts = text.substr(1, num_cuts);
  const std::string_view body = text.substr(1 + num_cuts);
  if (read(body, "") != read(body, cuts)) std::abort();
  return 0;
}
