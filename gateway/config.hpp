// config.hpp — every setting of the server and every limit of the gateway, named, with its unit.
//
// ServerConfig is what the command line can change. The constants below it are limits on what a
// stranger can make us hold or do; they are not options, because no value but a safe one is useful.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace tessera {

struct ServerConfig {
  std::filesystem::path model;                      // packed file, from `tessera quantize`
  std::vector<std::string> base_aliases;            // other names that adapters may call their base
  bool trust_model = false;                         // start without hashing the model's weights
  std::filesystem::path data = "data";              // the store, the admin key, the addresses
  std::string listen = "127.0.0.1:8080";            // tenants and admins
  std::string ops_listen = "127.0.0.1:9090";        // /livez /readyz /metrics
  std::string backend = "cpu";                      // "cpu" or "reference"
  std::string head = "bf16";                        // what the output head is multiplied in
  std::string kv = "f16";                           // what keys and values are cached in
  std::string tool_format = "auto";                 // how the model writes calls (ToolFormat)
  int threads = 0;                                  // of the CPU backend; 0: one per core
  bool pin_threads = false;                         // each to a core of its own
  int io_threads = 1;                               // that read and write connections
  int workers = 2;                                  // that parse, tokenise and validate
  int max_context = 0;                              // tokens of a request; 0: the model's own limit
  std::int64_t kv_bytes = std::int64_t{256} << 20;  // of all KV blocks together
  std::int64_t adapter_bytes = std::int64_t{1024} << 20;  // of packed adapters held in memory
  std::int64_t body_bytes = std::int64_t{2} << 30;  // of requests' bodies held in memory at once
  int max_seqs = 32;                                // sequences in a step
  int token_budget = 256;                           // tokens in a step
  int max_queue = 256;                              // requests that wait for the engine
  bool openai_strict = false;                       // "strict" means OpenAI's subset of JSON Schema
  std::string log_level = "info";                   // the lowest that is logged
  std::chrono::seconds drain{30};                   // that running answers get after SIGTERM
};

// ---- of a connection

inline constexpr std::size_t kMaxHeadBytes = 16 * 1024;
inline constexpr int kMaxHeaderFields = 100;
inline constexpr int kMaxConnections = 4096;
inline constexpr int kMaxOpsConnections = 64;  // of the operations listener, apart from the others
inline constexpr std::chrono::milliseconds kAcceptPause{
    100};                                                // when a connection was not to be had
inline constexpr std::chrono::seconds kIdleTimeout{75};  // between requests
inline constexpr std::chrono::seconds kHeadTimeout{10};  // first to last byte of a head
inline constexpr std::chrono::seconds kBodyGrace{15};    // a body may take this long, and
inline constexpr std::size_t kMinBodyBytesPerSecond = 16 * 1024;  // a second for each so many bytes
inline constexpr std::chrono::seconds kWriteTimeout{30};          // without the peer taking a byte
inline constexpr std::chrono::seconds kLingerTimeout{2};      // for the peer to read our refusal
inline constexpr std::size_t kLingerBytes = 8 * 1024 * 1024;  // that we read and drop meanwhile
inline constexpr std::chrono::seconds kHeartbeat{10};         // between SSE comments in a silence
inline constexpr std::size_t kReadBytes = 16 * 1024;          // asked of the socket at once

inline constexpr std::chrono::milliseconds kOverloadRetryAfter{
    1000};                                        // told when the queue is full
inline constexpr int kClientClosedRequest = 499;  // in logs only, as nginx has it

// ---- of a request

inline constexpr std::size_t kMaxJsonBytes = 4 * 1024 * 1024;
inline constexpr std::size_t kMaxAdminBytes = 64 * 1024;
inline constexpr std::size_t kMaxUploadBytes = std::size_t{512} << 20;
inline constexpr std::size_t kMaxTokenizerFileBytes = std::size_t{64} << 20;  // of an upload
inline constexpr int kMaxUploadsOfTenant = 4;  // at a time; their bytes: body_bytes above
inline constexpr int kMaxUploads = 16;
inline constexpr std::size_t kMaxClientRequestIdChars = 128;
inline constexpr int kMaxMultipartParts = 16;
inline constexpr std::size_t kMaxDroppedChunkBytes = 4 * 1024;  // extensions and trailers
inline constexpr std::size_t kMaxPartHeadBytes = 4 * 1024;
inline constexpr std::size_t kMaxBoundaryChars = 70;  // RFC 2046

// ---- of a generation

inline constexpr int kMaxMessages = 1024;
inline constexpr int kMaxStopStrings = 4;
inline constexpr std::size_t kMaxStopChars = 256;
inline constexpr int kMaxStopTokenIds = 16;
inline constexpr int kMaxPrompts = 16;  // of one /v1/completions request
inline constexpr int kMaxChatTopLogprobs = 20;
inline constexpr int kMaxCompletionLogprobs = 5;
inline constexpr int kDefaultCompletionTokens = 16;
inline constexpr std::size_t kMaxTools = 128;
inline constexpr std::size_t kMaxToolsBytes = 256 * 1024;  // of all their definitions, as JSON
inline constexpr std::size_t kMaxToolCalls = 128;          // in one message
inline constexpr std::size_t kMaxToolCallIdChars = 256;
inline constexpr std::size_t kMaxTemplateVariableBytes =
    64 * 1024;                                           // chat_template_kwargs, as JSON
inline constexpr std::size_t kMaxTokenizeIds = 1 << 20;  // of one /v1/detokenize request

// ---- of constraints; what one may be is engine/guided/fuel.hpp's

inline constexpr int kMaxCompilesOfTenant = 16;  // new ones, under way or waiting
inline constexpr int kMaxCompiles = 256;
inline constexpr std::chrono::seconds kCompileBurst{2};  // of a thread that a tenant may use, and
inline constexpr int kCompileShareInverse = 20;          // then a twentieth of it
inline constexpr std::size_t kMaxCachedConstraints = 4096;
inline constexpr std::size_t kMaxConstraintCacheBytes = std::size_t{1} << 30;
inline constexpr int kMaxInferenceJsonDepth = 72;  // a schema's own depth, and where it stands

// ---- of a list

inline constexpr int kDefaultPageSize = 20;
inline constexpr int kMaxPageSize = 100;

}  // namespace tessera
