// schema.hpp — words in which the JSON Schemas of requests and answers are written.
//
//     schemas["Project"] = object({{"id", text()},
//                                  {"archived_at", nullable(unix_time())},
//                                  optional("etag", text())});
//
// Objects are closed: a member that is not told is a mistake of whoever added it, in a request as
// in an answer, and the tests find it. Draft 2020-12, as OpenAPI 3.1 has it.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

namespace tessera::openapi {

using Json = nlohmann::ordered_json;

struct Member {
  std::string_view name;
  Json schema;
  bool required = true;
};
using Members = std::vector<Member>;

Json any();
Json text();
Json text(std::size_t min_chars, std::size_t max_chars);
Json pattern(std::string_view regex);
Json words(std::initializer_list<std::string_view> words);  // one of these strings
Json constant(std::string_view word);
Json boolean();
Json integer();  // not negative
Json integer(std::int64_t min, std::int64_t max);
Json number();
Json number(double min, double max);
Json unix_time();
Json nullable(Json schema);
Json array(Json items);
Json array(Json items, std::size_t min_items, std::size_t max_items);
Json map(Json values);  // an object with any names
Json either(std::initializer_list<Json> schemas);
Json ref(std::string_view name);  // of a schema among the document's components

Member optional(std::string_view name, Json schema);
Json object(const Members& members);
// `members` and then `more`.
Members joined(Members members, const Members& more);
// An object of a request: what is not required may be null too, which is as good as absent.
Json request(const Members& members);

// OpenAI's list object over these items.
Json list_of(std::string_view name);
// {"id", "object", "deleted": true}
Json deleted(std::string_view object_word);

}  // namespace tessera::openapi
