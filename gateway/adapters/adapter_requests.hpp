// adapter_requests.hpp — what handlers of /v1/adapters/{name}/… have in common.
#pragma once

#include <memory>
#include <string>

#include "adapters/registry.hpp"
#include "gateway/adapters/file_records.hpp"
#include "gateway/routes.hpp"
#include "storage/result.hpp"

namespace tessera {

// The number in the URL. Errors: kNotFound, as if there were no such version.
Result<int> version_argument(const std::string& text);

// The version that arguments 0 (name) and 1 (number) name. Errors: kModelNotFound, kNotFound.
Result<std::shared_ptr<const AdapterVersion>> find_version(const Platform& platform,
                                                           const Call& call);

// Who changes a file, an upload or a draft.
FileActor actor_of(const Call& call);

// A change that the caller asks for, of the adapter that argument 0 names, if the request's
// preconditions hold. Errors: kInvalidValue.
Result<ChangeRequest> change_of(const Platform& platform, const Call& call);

}  // namespace tessera
