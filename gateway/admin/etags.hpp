// etags.hpp — entity tags of what admins change, and changes that are made only to what was seen.
//
// A tag is a digest of the object as it is shown, so that it changes exactly with what a client can
// see. It is compared under the directory's lock: of two admins who change what both have read, the
// second is refused.
#pragma once

#include <functional>
#include <string>

#include <nlohmann/json_fwd.hpp>

#include "gateway/routes.hpp"
#include "tenancy/directory.hpp"

namespace tessera {

// The object with its tag quoted, as the header ETag has it.
std::string etag_of(const nlohmann::ordered_json& object);

// An answer with the object, and its tag in the header.
Reply tagged_reply(const nlohmann::ordered_json& object);
// The same of an object that shows more than its tag is of.
Reply tagged_reply(const nlohmann::ordered_json& object, const nlohmann::ordered_json& shown);

// How the object that a request is about looks in a state of the directory; null if there is none
// that could have a tag. Errors: kNotFound.
using ShownIn = std::function<Result<nlohmann::ordered_json>(const DirectorySnapshot&)>;

// What the request's If-Match asks of the object before it is changed; empty if it asks nothing.
// Errors: kInvalidValue for a header that cannot be read; the guard's: kPreconditionFailed, and
// those of `shown`.
Result<Guard> guard_of(const Call& call, ShownIn shown);

}  // namespace tessera
