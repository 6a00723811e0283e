// upload_api.cpp — adapters on their way in: POST /v1/adapters and .../versions (http-api.md 2.4).
//
// The body is on disk when a handler begins. What arrived, as a form, an archive, a file that was
// put aside or a draft, becomes one IntakeRequest; its job is waited for as long as `?wait` says
// (30 seconds), and no thread waits with it:
//
//   201  a new version, with its report       200  the same content was there, or ?dry_run
//   202  not done yet: a version "validating"  422  the package is wrong; the whole report
#include <algorithm>

#include <nlohmann/json.hpp>

#include "gateway/adapters/adapter_intake.hpp"
#include "gateway/adapters/adapter_json.hpp"
#include "gateway/adapters/adapter_requests.hpp"
#include "gateway/adapters/package_request.hpp"
#include "gateway/adapters/upload_forms.hpp"
#include "gateway/api/api_json.hpp"
#include "gateway/handlers.hpp"
#include "gateway/http/error_body.hpp"
#include "storage/log.hpp"

namespace tessera {
namespace {

using nlohmann::ordered_json;

HttpResponse invalid_response(const IntakeOutcome& outcome, const RequestId& request) {
  const Findings& findings = outcome.report.findings;
  const auto faults = std::ranges::count(findings, Severity::kError, &Finding::severity);
  const auto first = std::ranges::find(findings, Severity::kError, &Finding::severity);
  const Error error{Code::kAdapterInvalid,
                    "The adapter has " + std::to_string(faults) +
                        " fault(s); the first: " + (first == findings.end() ? "" : first->message),
                    first == findings.end() ? "" : first->subject};
  ordered_json details;
  details["report"] = report_json(outcome);
  if (outcome.failed) details["version"] = version_json(*outcome.failed);
  return error_response(error, request, details);
}

// The answer to an upload: what its job came to, or that it goes on.
class UploadAnswer final : public Awaited {
 public:
  UploadAnswer(std::shared_ptr<IntakeJob> job, SteadyTime deadline, RequestId request, bool dry_run)
      : job_(std::move(job)),
        deadline_(deadline),
        request_(std::move(request)),
        dry_run_(dry_run) {}

  SteadyTime deadline() const override { return deadline_; }
  void start(std::function<void()> wake) override { job_->on_done(std::move(wake)); }
  bool ready() const override { return job_->wait(SteadyTime::min()); }
  void abandon() override { job_->abandon(); }

  Result<Reply> take() override {
    if (ready()) return answer();
    if (dry_run_) {
      job_->abandon();
      return Error{Code::kUpstreamTimeout, "The package is still being validated; ask again."};
    }
    const auto detached = job_->detach();
    if (!detached) return detached.error();
    if (*detached) return json_reply(version_json(**detached), 202);
    return answer();
  }

 private:
  Result<Reply> answer() const {
    const auto outcome = job_->outcome();
    if (!outcome) return outcome.error();
    if (outcome->published) {
      ordered_json body = version_json(outcome->published->version);
      body["report"] = report_json(*outcome);
      return json_reply(body, outcome->published->created ? 201 : 200);
    }
    if (dry_run_) return json_reply(report_json(*outcome));
    return Reply(invalid_response(*outcome, request_));
  }

  const std::shared_ptr<IntakeJob> job_;
  const SteadyTime deadline_;
  const RequestId request_;
  const bool dry_run_;
};

// How the query wants to be answered.
struct Manner {
  bool dry_run = false;
  bool allow_noop = false;
  std::chrono::seconds wait = kDefaultUploadWait;
};

Result<Manner> read_manner(const Target& target) {
  Manner manner;
  const auto dry_run = switch_parameter(target, "dry_run");
  if (!dry_run) return dry_run.error();
  const auto allow_noop = switch_parameter(target, "allow_noop");
  if (!allow_noop) return allow_noop.error();
  const auto wait = integer_parameter(target, "wait", 0, kMaxUploadWait.count());
  if (!wait) return wait.error();
  manner.dry_run = *dry_run;
  manner.allow_noop = *allow_noop;
  if (*wait) manner.wait = std::chrono::seconds(**wait);
  return manner;
}

Result<Reply> start_intake(Platform& platform, const Call& call, std::string name,
                           const Manner& manner, PackageRequest asked) {
  IntakeRequest request{.id = call.id,
                        .caller = call.caller,
                        .name = std::move(name),
                        .package = std::move(asked.package),
                        .acceptance = std::move(asked.acceptance),
                        .metadata = std::move(asked.metadata),
                        .allow_noop = manner.allow_noop,
                        .dry_run = manner.dry_run};
  if (asked.alias) request.alias = *asked.alias;
  platform.drafts->sweep(platform.clock.wall_now());
  auto job = platform.intake->start(std::move(request));
  if (!job) return job.error();
  const SteadyTime deadline = platform.clock.steady_now() + manner.wait;
  return Reply(std::make_unique<UploadAnswer>(*std::move(job), deadline, call.id, manner.dry_run));
}

// A name that has no version yet.
Result<Reply> create_name(Platform& platform, const Call& call, const std::string& name,
                          const PackageRequest& asked) {
  const auto created = platform.adapters->create({.tenant = call.caller.tenant,
                                                  .name = name,
                                                  .created_by = call.caller.key,
                                                  .now = platform.clock.wall_now(),
                                                  .quota = quota_of(call.caller.limits)},
                                                 asked.metadata);
  if (!created) return created.error();
  return json_reply(adapter_json(platform, call.caller.tenant, **created), 201);
}

ordered_json draft_json(const AdapterDraft& draft) {
  ordered_json json;
  json["id"] = draft.id;
  json["object"] = "adapter.draft";
  json["adapter"] = draft.adapter;
  json["created_at"] = unix_seconds(draft.created_at);
  json["expires_at"] = unix_seconds(draft.expires_at);
  json["files"] = ordered_json::object();
  for (const auto& [name, file] : draft.files) {
    json["files"][name] = {{"bytes", file->size()}, {"sha256", to_hex(file->sha256())}};
  }
  return json;
}

// A name of the tenant's, as the URL has it.
Result<std::string> known_name(const Platform& platform, const Call& call) {
  const std::string& name = call.arguments.at(0);
  if (auto known = platform.adapters->get(call.caller.tenant, name); !known) return known.error();
  return name;
}

}  // namespace

Result<Reply> create_adapter(Platform& platform, Call& call) {
  const auto manner = read_manner(call.target);
  if (!manner) return manner.error();
  auto asked = read_package(platform, call);
  if (!asked) return asked.error();
  std::string name = asked->name.value_or("");
  if (const auto told = call.target.parameter("name"); told && !asked->name) name = *told;
  if (name.empty()) {
    return Error{Code::kMissingRequiredParameter, "'name' is missing.", "name"};
  }
  if (!asked->has_package()) return create_name(platform, call, name, *asked);
  return start_intake(platform, call, std::move(name), *manner, *std::move(asked));
}

Result<Reply> create_adapter_version(Platform& platform, Call& call) {
  auto name = known_name(platform, call);
  if (!name) return name.error();
  const auto manner = read_manner(call.target);
  if (!manner) return manner.error();
  auto asked = read_package(platform, call);
  if (!asked) return asked.error();
  if (asked->name && *asked->name != *name) {
    return Error{Code::kInvalidValue, "'name' is not the name in the URL.", "name"};
  }
  if (!asked->has_package()) {
    return Error{Code::kMissingRequiredParameter, "'file_id' is missing.", "file_id"};
  }
  return start_intake(platform, call, *std::move(name), *manner, *std::move(asked));
}

Result<Reply> create_draft(Platform& platform, Call& call) {
  const auto name = known_name(platform, call);
  if (!name) return name.error();
  const auto draft = platform.drafts->create(actor_of(call), *name, platform.clock.wall_now());
  if (!draft) return draft.error();
  return json_reply(draft_json(*draft), 201);
}

Result<Reply> put_draft_file(Platform& platform, Call& call) {
  const std::string& file = call.arguments.at(2);
  if (auto checked = check_draft_file(file, call.staged.file->size()); !checked) {
    return checked.error();
  }
  const auto digest = check_content_digest(header(call.request.headers, "content-digest"),
                                           call.staged.file->sha256());
  if (!digest) return digest.error();
  const auto draft = platform.drafts->put(
      actor_of(call), call.arguments.at(0), call.arguments.at(1), file, call.staged.file,
      quota_of(call.caller.limits).max_bytes, platform.clock.wall_now());
  if (!draft) return draft.error();
  return json_reply(draft_json(*draft));
}

Result<Reply> complete_draft(Platform& platform, Call& call) {
  const auto manner = read_manner(call.target);
  if (!manner) return manner.error();
  const std::string& name = call.arguments.at(0);
  const std::string& id = call.arguments.at(1);
  const auto draft = platform.drafts->get(call.caller.tenant, name, id, platform.clock.wall_now());
  if (!draft) return draft.error();
  auto asked = read_draft(*draft, call.request.body);
  if (!asked) return asked.error();
  auto reply = start_intake(platform, call, name, *manner, *std::move(asked));
  if (!reply || manner->dry_run) return reply;
  const auto taken = platform.drafts->take(actor_of(call), name, id, platform.clock.wall_now());
  if (!taken) log_info("draft_gone", {{"id", id}});  // it came to its end just now
  return reply;
}

Result<Reply> cancel_draft(Platform& platform, Call& call) {
  const auto draft = platform.drafts->take(actor_of(call), call.arguments.at(0),
                                           call.arguments.at(1), platform.clock.wall_now());
  if (!draft) return draft.error();
  ordered_json json;
  json["id"] = draft->id;
  json["object"] = "adapter.draft";
  json["deleted"] = true;
  return json_reply(json);
}

}  // namespace tessera
