// file_json.hpp — files and uploads as OpenAI's objects, and what clients may say of a file.
#pragma once

#include <optional>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "gateway/adapters/tenant_files.hpp"
#include "storage/result.hpp"

namespace tessera {

nlohmann::ordered_json file_json(const FileRecord& file);
nlohmann::ordered_json part_json(const UploadPart& part);
nlohmann::ordered_json upload_json(const TenantFiles::UploadView& view);

// Errors: kInvalidValue.
Result<void> check_file_name(std::string_view filename);
Result<void> check_purpose(std::string_view purpose);
// expires_after: {"anchor": "created_at", "seconds": 3600 to 2592000}
Result<TenantFiles::Lifetime> parse_lifetime(std::string_view anchor, std::int64_t seconds);

}  // namespace tessera
