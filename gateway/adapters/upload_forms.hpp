// upload_forms.hpp — which parts the forms of uploads may have, and the digest of a raw body.
#pragma once

#include <array>
#include <string>
#include <string_view>

#include "gateway/config.hpp"
#include "gateway/http/staged_body.hpp"
#include "storage/digest.hpp"
#include "storage/result.hpp"

namespace tessera {

// POST /v1/adapters and .../versions: the two files that PEFT writes, perhaps with those of the
// tokenizer (with or without ".json"), or one archive of them.
inline constexpr auto kAdapterForm = std::to_array<PartRule>({
    {"name", PartRule::Kind::kField, kMaxFieldBytes},
    {"alias", PartRule::Kind::kField, kMaxFieldBytes},
    {"metadata", PartRule::Kind::kField, kMaxMetadataBytes},
    {"acceptance", PartRule::Kind::kField, kMaxAcceptanceBytes},
    {"adapter_config", PartRule::Kind::kFile, kMaxConfigFileBytes},
    {"adapter_model", PartRule::Kind::kFile, kMaxUploadBytes},
    {"archive", PartRule::Kind::kFile, kMaxUploadBytes},
    {"tokenizer", PartRule::Kind::kFile, kMaxTokenizerFileBytes},
    {"tokenizer.json", PartRule::Kind::kFile, kMaxTokenizerFileBytes},
    {"tokenizer_config", PartRule::Kind::kFile, kMaxTokenizerFileBytes},
    {"tokenizer_config.json", PartRule::Kind::kFile, kMaxTokenizerFileBytes},
    {"special_tokens_map", PartRule::Kind::kFile, kMaxTokenizerFileBytes},
    {"special_tokens_map.json", PartRule::Kind::kFile, kMaxTokenizerFileBytes},
    {"added_tokens", PartRule::Kind::kFile, kMaxTokenizerFileBytes},
    {"added_tokens.json", PartRule::Kind::kFile, kMaxTokenizerFileBytes},
});

// POST /v1/files
inline constexpr auto kFileForm = std::to_array<PartRule>({
    {"purpose", PartRule::Kind::kField, kMaxFieldBytes},
    {"expires_after[anchor]", PartRule::Kind::kField, kMaxFieldBytes},
    {"expires_after[seconds]", PartRule::Kind::kField, kMaxFieldBytes},
    {"file", PartRule::Kind::kFile, kMaxUploadBytes},
});

// POST /v1/uploads/{upload}/parts
inline constexpr auto kUploadPartForm = std::to_array<PartRule>({
    {"data", PartRule::Kind::kFile, kMaxUploadPartBytes},
});

// "tokenizer.json" for a part called "tokenizer" or "tokenizer.json"; empty if it is no file of a
// tokenizer that PEFT saves beside an adapter.
std::string_view tokenizer_file(std::string_view part);

// A digest as Content-Digest tells it (RFC 9530): "sha-256=:...:".
std::string content_digest(const ContentDigest& digest);

// Whether a body with this digest is the one that the request's Content-Digest announced; an empty
// header announces nothing. Errors: kInvalidValue if it is another body, or no SHA-256 is told.
Result<void> check_content_digest(std::string_view header, const ContentDigest& digest);

}  // namespace tessera
