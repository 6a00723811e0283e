#include "gateway/admin/etags.hpp"

#include <utility>

#include <nlohmann/json.hpp>

#include "gateway/api/api_json.hpp"
#include "gateway/api/preconditions.hpp"
#include "storage/digest.hpp"
#include "storage/json.hpp"

namespace tessera {
namespace {

constexpr std::size_t kTagBytes = 16;  // of the digest

}  // namespace

std::string etag_of(const nlohmann::ordered_json& object) {
  Sha256 hash;
  hash.update(to_text(object));
  const auto digest = hash.finish();
  return '"' + to_hex(std::span(digest).first(kTagBytes)) + '"';
}

Reply tagged_reply(const nlohmann::ordered_json& object) {
  return tagged_reply(object, object);
}

Reply tagged_reply(const nlohmann::ordered_json& object, const nlohmann::ordered_json& shown) {
  Reply reply = json_reply(shown);
  std::get<HttpResponse>(reply).headers.emplace_back("ETag", etag_of(object));
  return reply;
}

Result<Guard> guard_of(const Call& call, ShownIn shown) {
  auto asked = precondition_of(call.request.headers);
  if (!asked) return asked.error();
  if (!asked->must_exist && !asked->must_be_absent && asked->etags.empty()) return Guard();
  return Guard([asked = *std::move(asked),
                shown = std::move(shown)](const DirectorySnapshot& snapshot) -> Result<void> {
    const auto object = shown(snapshot);
    if (!object) return object.error();
    return asked.check(object->is_null() ? std::string() : etag_of(*object));
  });
}

}  // namespace tessera
