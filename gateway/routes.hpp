// routes.hpp — the one table of what can be asked, by whom, and how large the question may be.
//
// A route without an access policy cannot exist: the policy has no default value, and the tables
// are checked when they are compiled. Matching is by whole segments; "{name}" matches any one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "gateway/http/event_stream.hpp"
#include "gateway/http/http.hpp"
#include "gateway/http/staged_body.hpp"
#include "gateway/http/trace_context.hpp"
#include "gateway/inference/generation.hpp"
#include "gateway/platform.hpp"
#include "storage/ids.hpp"
#include "storage/result.hpp"
#include "tenancy/tenant.hpp"

namespace tessera {

// Who may use a route. kUnset is what a forgotten field would be, and no route may have it.
enum class Access : std::uint8_t {
  kUnset,
  kPublic,           // anyone who reaches the listener: the operations listener only
  kAnyKey,           // every key that is valid, whatever its scopes
  kInference,        // api.model.request
  kAdapterRead,      // api.adapter.read
  kAdapterWrite,     // api.adapter.write
  kAdapterDownload,  // api.adapter.download
  kTenantRead,       // api.tenant.read
  kTenantWrite,      // api.tenant.write
  kKeyWrite,         // api.key.write
  kAdmin,            // api.admin
};

// What a body has to be, and where it goes.
enum class Body : std::uint8_t {
  kNone,
  kJson,     // to memory
  kForm,     // multipart/form-data, part by part to disk
  kPackage,  // a form, or one archive as it is to disk, or JSON that names a file
  kFile,     // whatever it is, of a told length, to disk
};

// A request on its way to its handler.
struct Call {
  RequestId id;
  HttpRequest request;  // its body is empty if it has been staged
  StagedBody staged = {};
  Target target;
  std::vector<std::string> arguments;  // what the pattern's {…} matched, in order
  Caller caller;                       // default for Access::kPublic
  std::chrono::steady_clock::time_point received_at;
  WallTime received_wall;
  std::optional<TraceContext> trace = {};
  std::vector<std::string> ignored_parameters = {};  // what a lenient key's request said in vain
  std::shared_ptr<KeyTurn> key_turn = {};  // of inference with an Idempotency-Key; else null
};

struct Deferred;
class Awaited;

// An answer, one that is still to be generated, one that takes more work first, one that somebody
// else is working on, or events without an end.
using Reply = std::variant<HttpResponse, std::unique_ptr<Generation>, std::unique_ptr<Deferred>,
                           std::unique_ptr<Awaited>, std::unique_ptr<EventStream>>;

// The rest of a handler, which may take long and has threads of its own. It is left out if the
// client has gone before its turn comes.
struct Deferred {
  Workers& workers;
  std::function<Result<Reply>()> work;
};

// The rest of a handler that waits for work done elsewhere, at most until a moment; no thread waits
// with it.
class Awaited {
 public:
  virtual ~Awaited() = default;

  virtual SteadyTime deadline() const = 0;
  // Calls `wake` once, from any thread, when there is something to take; at once if there is.
  virtual void start(std::function<void()> wake) = 0;
  virtual bool ready() const = 0;
  // What there is to say, on an upload worker: when it is ready, or when the deadline has passed.
  virtual Result<Reply> take() = 0;
  // Instead, if the client has gone.
  virtual void abandon() = 0;
};

// Runs on a worker (an upload on the uploads' own), so it may compute and read the disk; those of
// the operations listener run on the session's strand instead and must be quick. An Error becomes
// the error answer of its code.
using Handler = Result<Reply> (*)(Platform&, Call&);

struct Route {
  std::string_view method;
  std::string_view pattern;  // "/v1/adapters/{name}"
  Access access = Access::kUnset;
  Body body = Body::kNone;
  std::uint64_t max_body_bytes = 0;
  Handler handler = nullptr;
  std::span<const PartRule> parts = {};  // that a form may have
};

// The tables of the two listeners.
std::span<const Route> api_routes();
std::span<const Route> ops_routes();

struct Match {
  const Route* route = nullptr;
  std::vector<std::string> arguments;
};

// The answer to a URL that is not there, or not the caller's.
Error nothing_here();

// HEAD finds the route of GET: it is answered alike, without the body (RFC 9110, section 9.3.2).
// Errors: kNotFound if no pattern matches; kMethodNotAllowed if only other methods do (param then
// lists them, as the Allow header wants it).
Result<Match> match_route(std::span<const Route> routes, std::string_view method,
                          const Target& target);

// The scope that a key needs for a route of this access; nullopt: none, or for kPublic no key.
std::optional<Scope> scope_of(Access access);
// Whether `caller` may use a route of this access. Errors: kInsufficientScope.
Result<void> check_access(Access access, const Caller& caller);

}  // namespace tessera
