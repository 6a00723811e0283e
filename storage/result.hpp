// result.hpp — how every layer says that something went wrong.
//
// Four kinds of trouble have four answers. What the world does (client, disk, network) is a
// Result<T>; our own mistake is an assert; a device failure is an exception caught once at the top
// of the engine thread; a planned shortage (blocks, slots) is an ordinary return value. An Error
// carries the stable code that clients see, so the mapping to HTTP is one table in the gateway.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include <boost/system/result.hpp>

namespace tessera {

// The stable, public name of each way to fail. to_string() gives the wire form (snake_case without
// the k). A new code is added to the table in result.cpp; the gateway maps it to an HTTP status.
enum class Code : std::uint8_t {
  // the request is wrong
  kInvalidJson,
  kDuplicateKey,
  kMissingRequiredParameter,
  kInvalidValue,
  kUnknownParameter,
  kUnsupportedParameter,
  kUnsupportedContent,
  kContextLengthExceeded,
  kRequestExceedsLimit,
  kStringAboveMaxLength,
  // what the answer has to be cannot be made: a schema, a pattern or a grammar
  kInvalidJsonSchema,
  kUnsupportedSchema,
  kSchemaTooLarge,
  kSchemaTooComplex,
  kInvalidRegex,
  kRegexTooComplex,
  kInvalidGrammar,
  kGrammarTooComplex,
  // who is asking
  kInvalidApiKey,
  kExpiredApiKey,
  kInsufficientScope,
  kTenantSuspended,
  kIpNotAuthorized,
  kModelNotPermitted,
  // what is asked for
  kNotFound,
  kModelNotFound,
  kMethodNotAllowed,
  kNotAcceptable,
  kUnsupportedMediaType,
  kPayloadTooLarge,
  kHeaderTooLarge,
  kRequestTimeout,
  kNameExists,
  kVersionNotReady,
  kConflict,
  kPreconditionFailed,
  // an adapter package is wrong; the findings say how
  kAdapterInvalid,
  kStorageQuotaExceeded,
  // not now
  kRateLimitExceeded,
  kInsufficientQuota,
  kBillingHardLimitReached,
  kQueueFull,
  kServerIsOverloaded,
  kAdapterLoading,
  kDraining,
  kNoCapacity,
  kStorageFull,
  kUpstreamTimeout,
  // files of ours or of the user
  kIo,
  kCorrupt,
  kUnsupportedModel,
  // anything else; the text stays in the log
  kInternalError,
};

std::string_view to_string(Code code);

struct [[nodiscard]] Error {
  Code code = Code::kInternalError;
  std::string message;     // one sentence that says what to do; may be shown to the client
  std::string param = {};  // JSON path or field the error is about; empty if none
};

template <class T>
using Result = boost::system::result<T, Error>;

// What Result<T>::value() does on an error; reaching it is a mistake of ours.
[[noreturn]] void throw_exception_from_error(const Error& error,
                                             const boost::source_location& where);

}  // namespace tessera
