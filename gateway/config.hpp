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

#include "gateway/http/tls_context.hpp"
#include "tenancy/access_policy.hpp"

namespace tessera {

struct ServerConfig {
  std::filesystem::path model;                // packed file, from `tessera quantize`
  std::vector<std::string> base_aliases;      // other names that adapters may call their base
  bool trust_model = false;                   // start without hashing the model's weights
  std::string domain;                         // whose subdomains are tenants; empty: none
  TlsFiles tls;                               // none: plain HTTP
  IpSet trusted_proxies;                      // whose X-Forwarded-For is believed
  IpSet proxy_protocol;                       // whose connections begin with its header
  std::filesystem::path oidc;                 // JSON, gateway/admin/oidc.hpp; empty: none
  bool api_key_header = false;                // keys may come in `api-key`, as Azure has it
  bool webhook_http = false;                  // webhooks may have http:// URLs
  IpSet webhook_addresses;                    // that they may have though not public
  std::filesystem::path prices;               // JSON, tenancy/prices.hpp; empty: all free
  std::filesystem::path data = "data";        // the store, the admin key, the addresses
  std::string listen = "127.0.0.1:8080";      // tenants and admins
  std::string ops_listen = "127.0.0.1:9090";  // /livez /readyz /metrics
  std::string backend = "cpu";                // "cpu", "cuda" or "reference"
  std::string head = "bf16";                  // what the output head is multiplied in
  std::string kv = "f16";                     // what keys and values are cached in
  std::string tool_format = "auto";           // how the model writes calls (ToolFormat)
  int threads = 0;                            // of the CPU backend; 0: one per core
  std::string pin_threads = "auto";           // each to a core of its own: "yes", "no", or
                                              // "auto", if they are as many as the cores
  int io_threads = 1;                         // that read and write connections
  int workers = 2;                            // that parse, tokenise and validate
  int max_context = 0;                        // tokens of a request; 0: the model's own limit
  // Of all KV blocks together. On a GPU, 0: what adapters leave of its memory.
  std::int64_t kv_bytes = std::int64_t{256} << 20;
  std::int64_t adapter_bytes = std::int64_t{1024} << 20;  // of packed adapters held in memory
  // Of those that steps may read. On a GPU, 0: a part of its memory.
  std::int64_t adapter_device_bytes = std::int64_t{512} << 20;
  std::int64_t packed_bytes = std::int64_t{16} << 30;  // of packed adapters kept on disk
  std::string adapter_pages = "bf16";                  // what adapters are packed in
  int adapter_slots = 64;                              // adapters that steps may read
  int step_adapters = 16;                              // of them, in one step; the base counts too
  int adapter_loaders = 2;                             // threads that load adapters
  std::int64_t body_bytes = std::int64_t{2} << 30;     // of requests' bodies held in memory at once
  std::int64_t upload_bytes = std::int64_t{16} << 30;  // of uploads under way, on disk
  int max_seqs = 32;                                   // sequences in a step
  int token_budget = 256;                              // tokens in a step
  int max_queue = 256;                                 // requests that wait for the engine
  bool openai_strict = false;  // "strict" means OpenAI's subset of JSON Schema
  // What is run to validate an upload, our own binary; empty: uploads are validated in the server's
  // process. `serve` sets it unless --no-sandbox is given.
  std::filesystem::path sandbox_program;
  std::string log_level = "info";  // the lowest that is logged
  std::chrono::seconds drain{30};  // that running answers get after SIGTERM
};

// ---- of a connection

inline constexpr std::size_t kMaxHeadBytes = 16 * 1024;
inline constexpr int kMaxHeaderFields = 100;
inline constexpr int kMaxConnections = 16'384;
inline constexpr int kMaxConnectionsOfAddress = 8192;
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
inline constexpr int kMaxUnsentBytes = 128 * 1024;  // that the kernel holds for a slow reader

inline constexpr std::chrono::milliseconds kOverloadRetryAfter{
    1000};                                        // told when the queue is full
inline constexpr int kClientClosedRequest = 499;  // in logs only, as nginx has it

// ---- of a request

inline constexpr std::size_t kMaxJsonBytes = 4 * 1024 * 1024;
inline constexpr std::size_t kMaxAdminBytes = 64 * 1024;
inline constexpr std::size_t kMaxClientRequestIdChars = 128;
inline constexpr int kMaxMultipartParts = 16;
inline constexpr std::size_t kMaxDroppedChunkBytes = 4 * 1024;  // extensions and trailers
inline constexpr std::size_t kMaxPartHeadBytes = 4 * 1024;
inline constexpr std::size_t kMaxBoundaryChars = 70;      // RFC 2046
inline constexpr std::size_t kMaxToldPartNameChars = 64;  // of an unknown part, in the refusal

// ---- of an upload; what an adapter may be is adapters/'s, a tenant's share tenancy/limits.hpp's

inline constexpr std::uint64_t kMaxUploadBytes = std::uint64_t{2} << 30;  // of one file
inline constexpr std::uint64_t kMaxUploadBodyBytes =
    kMaxUploadBytes + (std::uint64_t{320} << 20);  // of a form with several
inline constexpr std::uint64_t kMaxTokenizerFileBytes = std::uint64_t{64} << 20;
inline constexpr std::uint64_t kMaxConfigFileBytes = std::uint64_t{4} << 20;
inline constexpr std::uint64_t kMaxAcceptanceBytes = 256 * 1024;  // JSON of the checks
inline constexpr std::uint64_t kMaxMetadataBytes = 16 * 1024;     // JSON
inline constexpr std::uint64_t kMaxFieldBytes = 1024;             // of any other field of a form
inline constexpr std::uint64_t kMaxFormBytes = 64 * 1024;         // of a form, beside its one file
inline constexpr std::size_t kStagePieceBytes = 256 * 1024;  // held of a body before it is written
inline constexpr std::uint64_t kDiskReserveBytes = std::uint64_t{1}
                                                   << 30;      // that uploads leave on the disk
inline constexpr int kMaxUploads = 64;                         // of all tenants, at a time
inline constexpr std::chrono::seconds kDefaultUploadWait{30};  // ?wait, and
inline constexpr std::chrono::seconds kMaxUploadWait{60};      // its largest value
inline constexpr std::chrono::seconds kDraftLifetime{3600};
inline constexpr std::size_t kMaxDraftsOfTenant = 8;

// ---- of files that a tenant keeps (OpenAI's Files and Uploads)

inline constexpr std::size_t kMaxFilesOfTenant = 1000;
inline constexpr std::size_t kMaxFileNameBytes = 255;
inline constexpr std::size_t kMaxPendingUploadsOfTenant = 16;
inline constexpr std::uint64_t kMaxUploadPartBytes = std::uint64_t{64} << 20;
inline constexpr std::size_t kMaxPartsOfUpload = 2048;
inline constexpr std::chrono::seconds kUploadLifetime{3600};
inline constexpr std::chrono::hours kEndedUploadKept{24};  // its object, for whoever asks again
inline constexpr std::chrono::seconds kFilesSweepPeriod{60};

// ---- of adapters on their way to memory; how they share it is adapters/host_cache.hpp's

inline constexpr int kMaxLoadsOfTenant = 8;  // at a time, and a loader less than there are
inline constexpr int kLoadsOfTenantASecond = 100;
inline constexpr int kLoadBurstOfTenant = 200;

// ---- of a generation

inline constexpr int kMaxMessages = 1024;
inline constexpr int kMaxStopStrings = 4;
inline constexpr std::size_t kMaxStopChars = 256;
inline constexpr int kMaxStopTokenIds = 16;
inline constexpr int kMaxChoices = 8;     // `n`
inline constexpr int kMaxSequences = 64;  // of one request: prompts times choices
inline constexpr std::size_t kMaxLogitBiases = 1024;
inline constexpr double kMaxLogitBias = 100.0;
inline constexpr double kMinRepetitionPenalty = 0.01;
inline constexpr double kMaxRepetitionPenalty = 100.0;
inline constexpr int kMaxBestOf = 20;
inline constexpr int kMaxPrompts = 16;                    // of one /v1/completions request
inline constexpr std::size_t kMaxEmbeddingInputs = 2048;  // of one /v1/embeddings request
inline constexpr int kMaxInFlight = kMaxSequences;        // of a request's sequences, in the engine
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

// ---- of /metrics/tenants

inline constexpr std::size_t kMaxTenantSeries = 1000;  // tenants with series of their own

// ---- of a list

inline constexpr int kDefaultPageSize = 20;
inline constexpr int kMaxPageSize = 100;

}  // namespace tessera
