#include "storage/result.hpp"

#include <stdexcept>

namespace tessera {

std::string_view to_string(Code code) {
  switch (code) {
    case Code::kInvalidJson:
      return "invalid_json";
    case Code::kDuplicateKey:
      return "duplicate_key";
    case Code::kMissingRequiredParameter:
      return "missing_required_parameter";
    case Code::kInvalidValue:
      return "invalid_value";
    case Code::kUnknownParameter:
      return "unknown_parameter";
    case Code::kUnsupportedParameter:
      return "unsupported_parameter";
    case Code::kUnsupportedContent:
      return "unsupported_content";
    case Code::kContextLengthExceeded:
      return "context_length_exceeded";
    case Code::kRequestExceedsLimit:
      return "request_exceeds_limit";
    case Code::kStringAboveMaxLength:
      return "string_above_max_length";
    case Code::kInvalidJsonSchema:
      return "invalid_json_schema";
    case Code::kUnsupportedSchema:
      return "unsupported_schema";
    case Code::kSchemaTooLarge:
      return "schema_too_large";
    case Code::kSchemaTooComplex:
      return "schema_too_complex";
    case Code::kInvalidRegex:
      return "invalid_regex";
    case Code::kRegexTooComplex:
      return "regex_too_complex";
    case Code::kInvalidGrammar:
      return "invalid_grammar";
    case Code::kGrammarTooComplex:
      return "grammar_too_complex";
    case Code::kInvalidApiKey:
      return "invalid_api_key";
    case Code::kExpiredApiKey:
      return "expired_api_key";
    case Code::kInsufficientScope:
      return "insufficient_scope";
    case Code::kTenantSuspended:
      return "tenant_suspended";
    case Code::kIpNotAuthorized:
      return "ip_not_authorized";
    case Code::kModelNotPermitted:
      return "model_not_permitted";
    case Code::kNotFound:
      return "not_found";
    case Code::kModelNotFound:
      return "model_not_found";
    case Code::kMethodNotAllowed:
      return "method_not_allowed";
    case Code::kNotAcceptable:
      return "not_acceptable";
    case Code::kUnsupportedMediaType:
      return "unsupported_media_type";
    case Code::kPayloadTooLarge:
      return "payload_too_large";
    case Code::kHeaderTooLarge:
      return "header_too_large";
    case Code::kRequestTimeout:
      return "request_timeout";
    case Code::kNameExists:
      return "name_exists";
    case Code::kVersionNotReady:
      return "version_not_ready";
    case Code::kConflict:
      return "conflict";
    case Code::kPreconditionFailed:
      return "precondition_failed";
    case Code::kAdapterInvalid:
      return "adapter_invalid";
    case Code::kStorageQuotaExceeded:
      return "storage_quota_exceeded";
    case Code::kRateLimitExceeded:
      return "rate_limit_exceeded";
    case Code::kInsufficientQuota:
      return "insufficient_quota";
    case Code::kBillingHardLimitReached:
      return "billing_hard_limit_reached";
    case Code::kQueueFull:
      return "queue_full";
    case Code::kServerIsOverloaded:
      return "server_is_overloaded";
    case Code::kAdapterLoading:
      return "adapter_loading";
    case Code::kDraining:
      return "draining";
    case Code::kNoCapacity:
      return "no_capacity";
    case Code::kStorageFull:
      return "storage_full";
    case Code::kUpstreamTimeout:
      return "upstream_timeout";
    case Code::kIo:
      return "io_error";
    case Code::kCorrupt:
      return "corrupt";
    case Code::kUnsupportedModel:
      return "unsupported_model";
    case Code::kInternalError:
      return "internal_error";
  }
  return "internal_error";
}

void throw_exception_from_error(const Error& error, const boost::source_location& where) {
  throw std::logic_error("value() on an error at " + where.to_string() + ": " + error.message);
}

}  // namespace tessera
